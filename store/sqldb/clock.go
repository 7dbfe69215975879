package sqldb

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// clockEvery is how often the database's clock is read: after a failover to a
	// host with another one, edges differ for so long.
	clockEvery = 5 * time.Second
	// clockTimeout is how long a reading may take: its error is half of that.
	clockTimeout = 500 * time.Millisecond
	// clockTolerance is what is taken for the error of a reading.
	clockTolerance = time.Second
)

// clock knows how far the database's clock is ahead of this host's. Between two
// readings the database's goes on by a clock of this host that nobody sets, so
// that a change of the host's time of day counts at once.
type clock struct {
	host hostClock

	mu    sync.Mutex
	known bool
	there time.Time     // by the database's clock,
	at    time.Duration // when the host's running time was this
	told  time.Duration // what ahead said last
}

// hostClock is this host's two clocks.
type hostClock struct {
	wall    func() time.Time     // as it is set
	running func() time.Duration // since some moment
}

func newHostClock() hostClock {
	began := time.Now()
	return hostClock{wall: time.Now, running: func() time.Duration { return time.Since(began) }}
}

// set notes that the database's clock was at there when the host had been
// running for at.
func (c *clock) set(there time.Time, at time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known, c.there, c.at = true, there, at
}

// measured is how far the database's clock is ahead; 0 before the first reading.
func (c *clock) measured() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.measure()
}

// measure is measured with c.mu held.
func (c *clock) measure() time.Duration {
	if !c.known {
		return 0
	}
	return c.there.Add(c.host.running() - c.at).Sub(c.host.wall().Round(0))
}

// ahead is measured, but stays as it is while a reading's error may be all that
// it has changed by. It begins with 0.
func (c *clock) ahead() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.measure()
	switch {
	case (now - c.told).Abs() <= clockTolerance:
	case now.Abs() <= clockTolerance:
		c.told = 0
	default:
		c.told = now.Round(time.Millisecond)
	}
	return c.told
}

// watchClock reads the clock of p's database, for the first time before it
// returns, until stop has returned.
func watchClock(ctx context.Context, p *pgPool) (c *clock, stop func()) {
	c = &clock{host: newHostClock()}
	c.look(ctx, p)
	watching, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(clockEvery)
		defer tick.Stop()
		for {
			select {
			case <-watching.Done():
				return
			case <-tick.C:
				c.look(watching, p)
			}
		}
	}()
	return c, func() { cancel(); <-done }
}

// look reads the database's clock once. What fails, or takes too long, teaches
// nothing.
func (c *clock) look(ctx context.Context, p *pgPool) {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	_ = p.attempt(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		asked := c.host.running()
		var there int64 // microseconds since 1970
		err := conn.QueryRow(ctx, "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint").Scan(&there)
		if took := c.host.running() - asked; err == nil && took <= clockTimeout {
			c.set(time.UnixMicro(there), asked+took/2)
		}
		return err
	})
}

// ClockAhead keeps to store.Store. SQLite has the clock of its host.
func (db *DB) ClockAhead() time.Duration {
	if db.clock == nil {
		return 0
	}
	return db.clock.ahead()
}

// now is the time of day by the database's clock.
func (db *DB) now() time.Time { return time.Now().Add(db.ClockAhead()) }
