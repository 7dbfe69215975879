package tunnel

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"
)

// errReplaced is for a tunnel in whose place the client itself has another, to the
// same edge or to one that is a home.
var errReplaced = errors.New("this agent has another tunnel in its place")

// keepHome has a tunnel to a home, or tries to, for as long as it is one.
func (c *Client) keepHome(node string, keeper *homeKeeper) {
	var retry backoff
	var edge *dialer
	for {
		select {
		case <-keeper.poke: // what it is for is looked at now
		default:
		}
		home, wanted := c.lacksHome(node)
		if !wanted {
			return
		}
		began := time.Now()
		var err error
		if edge == nil || edge.home != home {
			edge, err = newDialer(home, c.o, c.dial)
		}
		if err == nil {
			_, err = c.visit(node, edge)
		}
		if !c.missesHome(node, keeper) {
			continue
		}
		wait, goOn := c.after(err, home.URL, time.Since(began), &retry)
		if !goOn {
			return
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-keeper.poke:
			retry.reset()
		case <-c.waiting.Done():
		}
		timer.Stop()
	}
}

// lacksHome waits until the home has no tunnel. When it is no home any more its
// keeper is forgotten; false: that, or the client ends.
func (c *Client) lacksHome(node string) (home Home, wanted bool) {
	goOn := c.await(func() bool {
		if home, wanted = c.book.wanted[node]; !wanted {
			delete(c.book.keepers, node)
			return true
		}
		return c.book.links[node] == nil
	})
	return home, wanted && goOn
}

// missesHome notes whether a home that was tried has a tunnel now, and tells
// whether it should and has not.
func (c *Client) missesHome(node string, keeper *homeKeeper) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, wanted := c.book.wanted[node]
	keeper.failed = c.book.links[node] == nil
	c.wake()
	return wanted && keeper.failed
}

// keepSeed goes to the configured addresses, one after another, whenever there
// is no tunnel and no home answers.
func (c *Client) keepSeed(seeds []*dialer) {
	var retry backoff
	for next := 0; c.await(c.isLost); {
		edge := seeds[next]
		began := time.Now()
		served, err := c.visit("", edge)
		wait, goOn := c.after(err, edge.home.URL, time.Since(began), &retry)
		if !goOn {
			return
		}
		next = (next + 1) % len(seeds)
		if served {
			next = 0
		}
		// Before the agent waits it has tried all.
		if next == 0 && !pause(c.waiting, wait) {
			return
		}
	}
}

// isLost is called with mu held.
func (c *Client) isLost() bool {
	if len(c.book.links) > 0 {
		return false
	}
	if !c.book.grace {
		return true
	}
	for node := range c.book.wanted {
		if k := c.book.keepers[node]; k != nil && !k.failed {
			return false
		}
	}
	return true
}

// visit connects to an edge, which is the home of that node or a seed (""), and
// serves the tunnel to its end. It tells whether there was one, and why it ended.
func (c *Client) visit(node string, edge *dialer) (served bool, err error) {
	l, err := c.connectTo(node, edge)
	if err != nil {
		return false, err
	}
	defer l.reports.close()
	err = l.serve(c.running)
	return true, c.departed(l, err)
}

// connectTo can be interrupted: by Leave, and by edges that do not name the home
// any more.
func (c *Client) connectTo(node string, edge *dialer) (*link, error) {
	ctx, cancel := context.WithCancel(c.running)
	defer cancel()
	if !c.dials(node, cancel) {
		return nil, errReplaced
	}
	defer c.dialed(node)
	return c.connect(ctx, node, edge)
}

func (c *Client) dials(node string, cancel context.CancelFunc) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.book.dialing[node] = cancel
	return c.needsLocked(node)
}

func (c *Client) dialed(node string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.book.dialing, node)
}

// needs tells whether a tunnel to that home, or by a seed, is still of use.
func (c *Client) needs(node string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.needsLocked(node)
}

func (c *Client) needsLocked(node string) bool {
	if node == "" {
		return len(c.book.links) == 0
	}
	_, wanted := c.book.wanted[node]
	return wanted && c.book.links[node] == nil
}

// after tells how long to wait when there is no tunnel because of err; false:
// the client ends.
func (c *Client) after(err error, address string, lasted time.Duration, retry *backoff) (wait time.Duration, goOn bool) {
	if c.waiting.Err() != nil || c.leaving.Err() != nil {
		return 0, false
	}
	if lasted >= stableAfter {
		retry.reset()
	}
	if errors.Is(err, errReplaced) {
		return retry.next(), true
	}
	if c.endsRun(err) {
		c.fail(err)
		return 0, false
	}
	wait = c.waitAfter(err, retry)
	c.o.Log.Warn("no tunnel to the edge; trying again", zap.String("edge", address), zap.Duration("in", wait), zap.Error(err))
	return wait, true
}

// endsRun tells what Run returns: see there.
func (c *Client) endsRun(err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return codeOf(err) == CodeAgentRemoved || !c.welcomed && isFatal(err)
}

func (c *Client) waitAfter(err error, retry *backoff) time.Duration {
	switch {
	case codeOf(err) == CodeSuperseded:
		c.o.Log.Error("another agent runs with this agent's identity; stop one of them, or give it a data folder of its own")
		return longest(supersededBackoff)
	case isFatal(err):
		return longest(lastBackoff)
	default:
		return retry.next()
	}
}
