package redis

import (
	"context"
	_ "embed"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

var (
	//go:embed lua/place.lua
	placeText   string
	placeScript = goredis.NewScript(placeText)

	//go:embed lua/keep.lua
	keepText string // sent whole: within a pipeline nobody can be asked whether it is known

	//go:embed lua/count.lua
	countText   string
	countScript = goredis.NewScript(countText)
)

// TakePlace keeps to store.Coord. A request that is sent again because its answer
// was lost finds the holder's place taken by the holder.
func (c *Coord) TakePlace(ctx context.Context, group, holder string, most int, ttl time.Duration) (taken bool, err error) {
	err = c.ask(ctx, "place", func(ctx context.Context) (err error) {
		taken, err = placeScript.Run(ctx, c.client, []string{c.key("places", group)}, most, ttl.Milliseconds(), holder).Bool()
		return err
	})
	return taken && err == nil, err
}

// groupsAtOnce bounds a pipeline of KeepPlaces and LeavePlaces.
const groupsAtOnce = 500

// KeepPlaces keeps to store.Coord.
func (c *Coord) KeepPlaces(ctx context.Context, held map[string][]string, ttl time.Duration) error {
	return c.eachGroup(ctx, "keep", held, func(p goredis.Pipeliner, group string, holders []any) {
		p.Eval(ctx, keepText, []string{c.key("places", group)}, append([]any{ttl.Milliseconds()}, holders...)...)
	})
}

// LeavePlaces keeps to store.Coord.
func (c *Coord) LeavePlaces(ctx context.Context, held map[string][]string) error {
	return c.eachGroup(ctx, "leave", held, func(p goredis.Pipeliner, group string, holders []any) {
		p.ZRem(ctx, c.key("places", group), holders...)
	})
}

// eachGroup sends one command for each group, many at a time.
func (c *Coord) eachGroup(ctx context.Context, what string, held map[string][]string, command func(p goredis.Pipeliner, group string, holders []any)) error {
	groups := make([]string, 0, len(held))
	for group := range held {
		groups = append(groups, group)
	}
	for len(groups) > 0 {
		some := groups[:min(groupsAtOnce, len(groups))]
		groups = groups[len(some):]
		err := c.ask(ctx, what, func(ctx context.Context) error {
			_, err := c.client.Pipelined(ctx, func(p goredis.Pipeliner) error {
				for _, group := range some {
					holders := make([]any, len(held[group]))
					for i, holder := range held[group] {
						holders[i] = holder
					}
					command(p, group, holders)
				}
				return nil
			})
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Places keeps to store.Coord.
func (c *Coord) Places(ctx context.Context, group string) (held int, err error) {
	err = c.ask(ctx, "places", func(ctx context.Context) (err error) {
		held, err = countScript.Run(ctx, c.client, []string{c.key("places", group)}).Int()
		return err
	})
	return held, err
}
