package redis

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

// lose makes requests fail at once until Redis is back.
func (c *Coord) lose(err error) {
	if !c.away.CompareAndSwap(false, true) {
		return
	}
	c.o.Metrics.connected.Set(0)
	c.o.Log.Warn(whatIsWrong(err)+"; until it is mended other edges are not heard of, and rates, wrong keys and the viewers of sessions and users are counted by this edge alone", zap.Error(err))
	select {
	case c.lost <- struct{}{}:
	default:
	}
}

// whatIsWrong is why Redis is of no use, with the setting to look at where one is
// at fault.
func whatIsWrong(err error) string {
	switch {
	case goredis.IsAuthError(err):
		return "Redis, or a Sentinel, refuses this edge; give it the right redis.username and redis.password_file, or sentinel_username and sentinel_password_file"
	case goredis.IsPermissionError(err):
		return "Redis forbids its user what edges need; allow it scripts, and the keys and channels that begin with redis.key_prefix"
	case errors.Is(err, goredis.Nil): // a question for the master's address
		return "the Sentinels watch no master of the name in redis.sentinel_master"
	default:
		return "Redis does not answer"
	}
}

// unsteady is how soon after its return Redis is lost again when it answers some
// requests only.
const unsteady = 10 * time.Second

// stayConnected waits for Redis each time it was lost. The first look is at
// once, so that one bad request costs the others next to nothing; while Redis is
// unsteady it waits longer each time, up to four timeouts.
func (c *Coord) stayConnected(ctx context.Context) {
	var back time.Time
	var wait time.Duration
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.lost:
		}
		begin := time.Now()
		if begin.Sub(back) > unsteady {
			wait = 0
		} else if wait = min(max(2*wait, c.o.Timeout/4), 4*c.o.Timeout); !pause(ctx, wait) {
			return
		}
		for c.probe(ctx) != nil {
			if !pause(ctx, c.o.Timeout/2) {
				return
			}
		}
		back = time.Now()
		c.away.Store(false)
		c.o.Metrics.connected.Set(1)
		c.o.Log.Info("Redis answers again", zap.Duration("after", time.Since(begin)))
	}
}

// probe asks for a write by a script, as requests do: a replica, a server that
// loads its data, one that has no room and one that forbids scripts all answer a
// PING. Of a Cluster all masters have to be there.
func (c *Coord) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	if cluster, ok := c.client.(*goredis.ClusterClient); ok {
		err := cluster.ForEachMaster(ctx, func(ctx context.Context, master *goredis.Client) error { return master.Ping(ctx).Err() })
		if err != nil {
			return err
		}
	}
	return holdScript.Run(ctx, c.client, []string{c.key("lease", "probe")}, "probe", padded(0), time.Minute.Milliseconds(), "").Err()
}

// pause waits for d and up to a half more; it tells whether ctx goes on.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d + rand.N(d/2))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
