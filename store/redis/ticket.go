package redis

import (
	"context"
	"crypto/rand"
	_ "embed"
	"fmt"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/streamspace-dev/streamspace-edge/store"
)

var (
	//go:embed lua/ticket.lua
	ticketText   string
	ticketScript = goredis.NewScript(ticketText)

	//go:embed lua/take.lua
	takeText   string
	takeScript = goredis.NewScript(takeText)
)

// clockSkew is how much longer than an edge's own clock says a used ticket is
// remembered, for those whose clocks are behind.
const clockSkew = time.Minute

// UseTicket asks this edge's own memory first, which no eviction reaches. What
// Redis can't promise: a use that it has lost, by eviction or with a master that
// had not told its replica, it does not know of. Such a ticket may be used a
// second time, on another edge, until it expires.
func (c *Coord) UseTicket(ctx context.Context, id string, expires time.Time) (first bool, err error) {
	if first, err = c.local.UseTicket(ctx, id, expires); err != nil || !first {
		return false, err
	}
	left := time.Until(expires) + clockSkew
	err = c.ask(ctx, "ticket", func(ctx context.Context) (err error) {
		first, err = ticketScript.Run(ctx, c.client, []string{c.key("ticket", id)}, rand.Text(), left.Milliseconds()).Bool()
		return err
	})
	return first && err == nil, err
}

// Take never fails: while Redis is away it takes from a bucket of this edge's
// own.
func (c *Coord) Take(ctx context.Context, bucket string, r store.Rate) (store.Taken, error) {
	taken, err := c.take(ctx, "take", bucket, r, 1)
	if err != nil {
		return c.local.Take(ctx, bucket, r)
	}
	return taken, nil
}

// Look never fails, as Take.
func (c *Coord) Look(ctx context.Context, bucket string, r store.Rate) (store.Taken, error) {
	taken, err := c.take(ctx, "look", bucket, r, 0)
	if err != nil {
		return c.local.Look(ctx, bucket, r)
	}
	return taken, nil
}

func (c *Coord) take(ctx context.Context, what, bucket string, r store.Rate, n int) (taken store.Taken, err error) {
	err = c.ask(ctx, what, func(ctx context.Context) error {
		each := float64(r.Per) / float64(r.Count) / float64(time.Microsecond)
		answer, err := takeScript.Run(ctx, c.client, []string{c.key("bucket", bucket)}, each, r.Burst, n).Int64Slice()
		if err != nil {
			return err
		}
		if len(answer) != 4 {
			return fmt.Errorf("a bucket's answer has %d parts", len(answer))
		}
		taken = store.Taken{
			OK: answer[0] == 1, Remaining: int(answer[1]),
			Full: time.Duration(answer[2]) * time.Microsecond, RetryAfter: time.Duration(answer[3]) * time.Microsecond,
		}
		return nil
	})
	return taken, err
}
