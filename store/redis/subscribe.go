package redis

import (
	"context"
	"errors"
	"fmt"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// resync is an event: some were lost.
var resync = store.Event{Type: "resync"}

// Reasons for it.
const (
	resyncReconnect = "reconnect"
	resyncGap       = "gap"
)

// patience is how many beats may be missing before a connection counts as dead.
const patience = 4

// Subscribe keeps to store.Coord.
func (c *Coord) Subscribe(ctx context.Context) <-chan store.Event { return c.local.Subscribe(ctx) }

// receive hands events of other edges to the subscribers of this one, over one
// connection after another, until ctx ends. connection may be nil.
func (c *Coord) receive(ctx context.Context, connection *goredis.PubSub) {
	for {
		if connection != nil {
			err := c.listen(ctx, connection)
			if ctx.Err() != nil {
				return
			}
			c.o.Log.Info("events of other edges are no longer received; connecting anew", zap.Error(err))
		}
		for connection = nil; connection == nil; {
			var err error
			if connection, err = c.subscribe(ctx); err != nil && !pause(ctx, c.o.Timeout/4) {
				return
			}
		}
		c.resync(resyncReconnect)
	}
}

func (c *Coord) resync(reason string) {
	c.o.Metrics.resyncs.WithLabelValues(reason).Inc()
	c.local.Publish(context.Background(), resync)
}

// subscribe returns once Redis has confirmed it. The caller closes it.
func (c *Coord) subscribe(ctx context.Context) (*goredis.PubSub, error) {
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	if cluster, ok := c.client.(*goredis.ClusterClient); ok {
		cluster.ReloadState(ctx) // what was subscribed to may have moved
		known, err := c.knowsSharded(ctx)
		if err != nil {
			return nil, err
		}
		c.sharded.Store(known)
	}
	var s *goredis.PubSub
	if c.sharded.Load() {
		s = c.client.SSubscribe(ctx, c.channel())
	} else {
		s = c.client.Subscribe(ctx, c.channel())
	}
	answer, err := s.ReceiveTimeout(ctx, c.o.Timeout)
	if _, ok := answer.(*goredis.Subscription); err == nil && !ok {
		err = fmt.Errorf("the answer to a subscription is %T", answer)
	}
	if err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

// knowsSharded tells whether the servers have SPUBLISH; it came with Redis 7.
func (c *Coord) knowsSharded(ctx context.Context) (bool, error) {
	answer, err := c.client.Do(ctx, "COMMAND", "INFO", "SPUBLISH").Slice()
	return len(answer) == 1 && answer[0] != nil, err
}

// listen receives until the connection fails or does not carry this edge's own
// beats: then it may be one to a server that is no longer the master.
func (c *Coord) listen(ctx context.Context, connection *goredis.PubSub) error {
	defer context.AfterFunc(ctx, func() { _ = connection.Close() })()
	defer func() { _ = connection.Close() }()
	quiet := patience * c.o.BeatEvery
	heard := newPublishers(c.id, quiet, time.Now())
	for {
		answer, err := connection.ReceiveTimeout(ctx, quiet)
		if err != nil {
			return err
		}
		m, ok := answer.(*goredis.Message)
		if !ok {
			continue
		}
		from, number, e, err := decodeMessage(m.Payload)
		if err != nil {
			c.o.Log.Warn("a message on the channel of events can't be read", zap.String("channel", m.Channel), zap.Error(err))
			continue
		}
		verdict := heard.judge(from, number, e != nil, time.Now())
		if verdict == deaf {
			return errors.New("this edge's own beats do not come back")
		}
		if verdict == gap {
			c.resync(resyncGap)
		}
		if e != nil && (verdict == gap || verdict == next) {
			c.local.Publish(ctx, *e)
		}
	}
}
