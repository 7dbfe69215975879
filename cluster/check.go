package cluster

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"go.uber.org/zap"
)

// CheckConfig is how the other edges are checked. Zero fields have defaults.
type CheckConfig struct {
	Interval  time.Duration // from the start of a check to that of the next, within a tenth; 0: 15 s
	Timeout   time.Duration // of one check; 0: 5 s, or Interval if that is less
	Healthy   int           // good ones in a row that make well; 0: 2
	Unhealthy int           // bad ones in a row that make ill; 0: 2
}

// Bounds of a CheckConfig.
const (
	MinCheckInterval = 100 * time.Millisecond
	MaxCheckInterval = time.Hour
)

func (c CheckConfig) withDefaults() CheckConfig {
	c.Interval = cmp.Or(c.Interval, 15*time.Second)
	c.Timeout = cmp.Or(c.Timeout, min(5*time.Second, c.Interval))
	c.Healthy = cmp.Or(c.Healthy, 2)
	c.Unhealthy = cmp.Or(c.Unhealthy, 2)
	return c
}

// Validate tells what is wrong with the first field that is.
func (c CheckConfig) Validate() error {
	c = c.withDefaults()
	switch {
	case c.Interval < MinCheckInterval || c.Interval > MaxCheckInterval:
		return fmt.Errorf("interval: %s is out of range; use %s to %s", c.Interval, MinCheckInterval, MaxCheckInterval)
	case c.Timeout < time.Millisecond || c.Timeout > c.Interval:
		return fmt.Errorf("timeout: %s is out of range; use 1ms to the interval, %s", c.Timeout, c.Interval)
	case c.Healthy < 1:
		return fmt.Errorf("healthy: %d is too small; at least 1", c.Healthy)
	case c.Unhealthy < 1:
		return fmt.Errorf("unhealthy: %d is too small; at least 1", c.Unhealthy)
	}
	return nil
}

// hurry is the time between two checks of a peer that is suspected.
const hurry = 100 * time.Millisecond

// Suspect has a node checked at once, and again until it is clear how it is: a
// connection to it has failed.
func (c *Cluster) Suspect(nodeID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.peers[nodeID]; p != nil {
		notify(p.suspect)
	}
}

// check probes the peer until ctx ends. A peer whose lease is there counts as
// well until its checks say otherwise.
func (c *Cluster) check(ctx context.Context, p *peer) {
	config := c.o.Check
	timer := time.NewTimer(rand.N(min(config.Interval, time.Second)))
	defer timer.Stop()
	row := 0 // checks in a row that contradict what is believed
	for suspected := false; ; {
		select {
		case <-ctx.Done():
			return
		case <-p.suspect:
			suspected = true
		case <-timer.C:
		}
		next := time.Now().Add(config.Interval - config.Interval/10 + rand.N(config.Interval/5))
		c.mu.Lock()
		n, down := p.node(), p.down
		c.mu.Unlock()
		err := c.probe(ctx, n)
		if ctx.Err() != nil {
			return
		}
		needed := config.Unhealthy
		if down {
			needed = config.Healthy
		}
		switch {
		case (err == nil) != down: // as it is believed
			row, suspected = 0, false
		default:
			row++
		}
		if row >= needed {
			row, suspected = 0, false
			c.turn(p, err)
		}
		if suspected {
			next = time.Now().Add(min(hurry, config.Interval))
		}
		timer.Reset(time.Until(next))
	}
}

func (c *Cluster) probe(ctx context.Context, n Node) error {
	ctx, cancel := context.WithTimeout(ctx, c.o.Check.Timeout)
	defer cancel()
	return c.o.Probe(ctx, n)
}

// turn makes a peer ill, for a reason, or well.
func (c *Cluster) turn(p *peer, reason error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.peers[p.head.Node] != p {
		return
	}
	p.down = reason != nil
	if p.down {
		c.o.Log.Warn("an edge does not answer; it gets no viewers and counts for no agent's home", zap.String("node", p.head.Node), zap.Error(reason))
	} else {
		c.o.Log.Info("an edge answers again", zap.String("node", p.head.Node))
	}
	c.tellMetrics()
	notify(c.changed)
}
