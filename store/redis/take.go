package redis

import (
	"context"
	_ "embed"
	"fmt"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/streamspace-dev/streamspace-edge/store"
)

var (
	//go:embed lua/take.lua
	takeText   string
	takeScript = goredis.NewScript(takeText)
)

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
