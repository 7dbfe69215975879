package redis

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"strconv"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/streamspace-dev/streamspace-edge/store"
)

var (
	//go:embed lua/generation.lua
	generationText   string
	generationScript = goredis.NewScript(generationText)

	//go:embed lua/hold.lua
	holdText   string
	holdScript = goredis.NewScript(holdText)

	//go:embed lua/release.lua
	releaseText   string
	releaseScript = goredis.NewScript(releaseText)

	//go:embed lua/leases.lua
	leasesText   string
	leasesScript = goredis.NewScript(leasesText)
)

// releasedFor is how long Redis remembers a release, as Coord.Release says.
const releasedFor = time.Minute

// padded makes generations compare as texts do: a number of Lua has 53 bits.
func padded(generation uint64) string { return fmt.Sprintf("%020d", generation) }

// Generation is the clock of Redis in microseconds, or one above the generation
// that is held when that is ahead: so it rises also where Redis has forgotten
// everything.
func (c *Coord) Generation(ctx context.Context, kind, id string) (generation uint64, err error) {
	err = c.ask(ctx, "generation", func(ctx context.Context) error {
		answer, err := generationScript.Run(ctx, c.client, []string{c.key("lease", kind)}, id).Slice()
		if err != nil {
			return err
		}
		clock, held := int64(0), ""
		if len(answer) == 2 {
			clock, _ = answer[0].(int64)
			held, _ = answer[1].(string)
		}
		if clock <= 0 {
			return fmt.Errorf("a generation's answer is %v", answer)
		}
		generation = uint64(clock)
		if held != "" {
			above, err := strconv.ParseUint(held, 10, 64)
			if err != nil {
				return err
			}
			generation = max(generation, above+1)
		}
		return nil
	})
	return generation, err
}

// Hold keeps to store.Coord.
func (c *Coord) Hold(ctx context.Context, l store.Lease, ttl time.Duration) error {
	if err := l.Check(ttl); err != nil {
		return err
	}
	result := 0
	err := c.ask(ctx, "hold", func(ctx context.Context) (err error) {
		result, err = holdScript.Run(ctx, c.client, []string{c.key("lease", l.Kind)}, l.ID, padded(l.Generation), ttl.Milliseconds(), l.Value).Int()
		return err
	})
	switch {
	case err != nil:
		return err
	case result == 0:
		return l.Superseded()
	case result == 2:
		c.Publish(ctx, store.Event{Type: "lease", ID: l.Kind})
	}
	return nil
}

// Release keeps to store.Coord.
func (c *Coord) Release(ctx context.Context, kind, id string, generation uint64) error {
	result := 0
	err := c.ask(ctx, "release", func(ctx context.Context) (err error) {
		result, err = releaseScript.Run(ctx, c.client, []string{c.key("lease", kind)}, id, padded(generation), releasedFor.Milliseconds()).Int()
		return err
	})
	if err == nil && result == 2 {
		c.Publish(ctx, store.Event{Type: "lease", ID: kind})
	}
	return err
}

// Leases has, beside what Redis knows, what it knew before and has lost: each
// lease stays until its own end, and time in which nobody could renew it does
// not count.
func (c *Coord) Leases(ctx context.Context, kind string) ([]store.Lease, error) {
	var entries []entry
	err := c.ask(ctx, "leases", func(ctx context.Context) error {
		answer, err := leasesScript.Run(ctx, c.client, []string{c.key("lease", kind)}).Slice()
		if err != nil {
			return err
		}
		entries, err = parseEntries(kind, answer)
		return err
	})
	if err != nil {
		c.seen.hold(kind)
		return nil, err
	}
	return c.seen.merge(kind, entries), nil
}

// entry is what Redis says of a lease.
type entry struct {
	store.Lease
	released bool
	left     time.Duration
}

// parseEntries reads the answer of leases.lua.
func parseEntries(kind string, answer []any) ([]entry, error) {
	if len(answer)%4 != 0 {
		return nil, fmt.Errorf("the leases of %s have %d parts", kind, len(answer))
	}
	entries := make([]entry, 0, len(answer)/4)
	for ; len(answer) > 0; answer = answer[4:] {
		id, ok1 := answer[0].(string)
		left, ok2 := answer[1].(int64)
		generation, ok3 := answer[2].(string)
		rest, ok4 := answer[3].(string)
		if !ok1 || !ok2 || !ok3 || !ok4 || rest == "" {
			return nil, fmt.Errorf("the lease of %s %q can't be read", kind, id)
		}
		number, err := strconv.ParseUint(generation, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("the lease of %s %q: %w", kind, id, err)
		}
		entries = append(entries, entry{
			Lease:    store.Lease{Kind: kind, ID: id, Generation: number, Value: []byte(rest[1:])},
			released: rest[0] == 'r',
			left:     min(time.Duration(left), maxLeft) * time.Millisecond,
		})
	}
	return entries, nil
}

// maxLeft, in milliseconds, is more than any lease has.
const maxLeft = 1 << 40

// seen are the leases that were in a list once, by kind and id. What expires is
// dropped by the next list.
type seen struct {
	mu    sync.Mutex
	kinds map[string]map[string]remembered
}

type remembered struct {
	store.Lease
	ttl   time.Duration // that it had left when it was seen
	until time.Time
}

func newSeen() seen { return seen{kinds: map[string]map[string]remembered{}} }

// merge tells what is held: what the entries say, and what was seen before.
func (s *seen) merge(kind string, entries []entry) []store.Lease {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	known := s.kinds[kind]
	if known == nil {
		known = map[string]remembered{}
		s.kinds[kind] = known
	}
	for _, e := range entries {
		switch before, ok := known[e.ID]; {
		case ok && before.Generation > e.Generation && before.until.After(now):
		case e.released:
			delete(known, e.ID)
		default:
			known[e.ID] = remembered{Lease: e.Lease, ttl: e.left, until: now.Add(e.left)}
		}
	}
	var held []store.Lease
	for id, l := range known {
		if !l.until.After(now) {
			delete(known, id)
			continue
		}
		one := l.Lease
		one.Value = bytes.Clone(one.Value)
		held = append(held, one)
	}
	store.SortLeases(held)
	return held
}

// hold keeps what was seen of a kind for as long as it would have been held from
// now on.
func (s *seen) hold(kind string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for id, l := range s.kinds[kind] {
		if l.until.After(now) {
			l.until = now.Add(l.ttl)
			s.kinds[kind][id] = l
		}
	}
}
