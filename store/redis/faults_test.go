package redis_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
	"github.com/streamspace-dev/streamspace-edge/store/redis"
	"github.com/streamspace-dev/streamspace-edge/store/redis/redistest"
)

func mustDo(t *testing.T, s *redistest.Server, args ...any) {
	t.Helper()
	if err := s.Client().Do(context.Background(), args...).Err(); err != nil {
		t.Fatal(err)
	}
}

// works tells whether everything goes through Redis again, between these edges
// and both ways. Events that are lost on the way must be told by a resync.
func works(t *testing.T, a, b *redis.Coord) {
	t.Helper()
	round := 0
	for _, way := range []struct{ from, to *redis.Coord }{{a, b}, {b, a}} {
		events := way.to.Subscribe(t.Context())
		redistest.Eventually(t, "an event arrives", func() error {
			round++
			way.from.Publish(t.Context(), store.Event{Type: "node", ID: fmt.Sprint(round)})
			for {
				select {
				case e := <-events:
					if e.ID == fmt.Sprint(round) && e.Remote {
						return nil
					}
				case <-time.After(100 * time.Millisecond):
					return fmt.Errorf("event %d did not come", round)
				}
			}
		})
		redistest.Eventually(t, "a bucket is taken from on both", func() error {
			round++
			bucket, rate := fmt.Sprint(t.Name(), round), store.Rate{Count: 1, Per: time.Hour, Burst: 1}
			if taken, err := way.from.Take(t.Context(), bucket, rate); err != nil || !taken.OK {
				return fmt.Errorf("%+v, %v", taken, err)
			}
			if taken, err := way.to.Take(t.Context(), bucket, rate); err != nil || taken.OK {
				return fmt.Errorf("on the other, %+v, %v", taken, err)
			}
			return nil
		})
		redistest.Eventually(t, "a lease is seen by the other", func() error {
			round++
			kind := fmt.Sprint(t.Name(), round)
			if err := way.from.Hold(t.Context(), store.Lease{Kind: kind, ID: "a", Generation: 1}, time.Hour); err != nil {
				return err
			}
			list, err := way.to.Leases(t.Context(), kind)
			if err == nil && len(list) != 1 {
				err = fmt.Errorf("%d leases", len(list))
			}
			return err
		})
		redistest.Eventually(t, "a ping is answered", func() error { return way.from.Ping(t.Context()) })
	}
}

// wantAway asks more often than there would be time for if each waited.
func wantAway(t *testing.T, c *redis.Coord) {
	t.Helper()
	redistest.Eventually(t, "Redis is known to be away", func() error {
		if err := c.Hold(t.Context(), store.Lease{Kind: "any", ID: "a"}, time.Hour); store.CodeOf(err) != store.Unavailable {
			return fmt.Errorf("hold: %v", err)
		}
		return nil
	})
	ctx := t.Context()
	for range 1000 {
		if _, err := c.Leases(ctx, "node"); store.CodeOf(err) != store.Unavailable {
			t.Fatalf("leases: %v", err)
		}
		if _, err := c.Generation(ctx, "node", "a"); store.CodeOf(err) != store.Unavailable {
			t.Fatalf("generation: %v", err)
		}
		if err := c.Release(ctx, "node", "nobody", 1); store.CodeOf(err) != store.Unavailable {
			t.Fatalf("release: %v", err)
		}
		c.Publish(ctx, store.Event{Type: "node"})
	}
	if err := c.Ping(ctx); store.CodeOf(err) != store.Unavailable {
		t.Errorf("ping: %v", err)
	}
	rate := store.Rate{Count: 1, Per: time.Hour, Burst: 2}
	for i, want := range []bool{true, true, false} {
		if taken, err := c.Take(ctx, "while-away", rate); err != nil || taken.OK != want {
			t.Errorf("take %d: %+v, %v", i+1, taken, err)
		}
	}
}

func TestAFlushHidesNobodyAndIsHealedByTheNextBeat(t *testing.T) {
	server := redistest.Start(t)
	o := options(t, server.Addr)
	a, b, late := open(t, o), open(t, o), open(t, o)
	one := store.Lease{Kind: "node", ID: "a", Generation: 7}
	two := store.Lease{Kind: "node", ID: "b", Generation: 8}
	hold(t, a, one)
	hold(t, a, two)
	if n := leases(t, b); n != 2 {
		t.Fatalf("%d leases", n)
	}
	generation, err := a.Generation(t.Context(), "node", "a")
	if err != nil {
		t.Fatal(err)
	}
	mustDo(t, server, "FLUSHALL")

	if n := leases(t, b); n != 2 {
		t.Errorf("%d leases after the flush", n)
	}
	if n := leases(t, late); n != 0 {
		t.Errorf("who has never seen them knows %d", n)
	}
	if again, err := a.Generation(t.Context(), "node", "a"); err != nil || again <= generation {
		t.Errorf("generation %d after %d, %v", again, generation, err)
	}
	hold(t, a, one)
	hold(t, a, two)
	if n := leases(t, late); n != 2 {
		t.Errorf("%d leases after the beat", n)
	}
	if err := a.Release(t.Context(), "node", "a", 7); err != nil {
		t.Fatal(err)
	}
	if n := leases(t, b); n != 1 {
		t.Errorf("%d leases after a release", n)
	}
	works(t, a, b)
}

func TestRedisKilledAndStartedAnew(t *testing.T) {
	server := redistest.Start(t)
	o := hasty(options(t, server.Addr))
	a, b := open(t, o), open(t, o)
	hold(t, a, store.Lease{Kind: "node", ID: "a", Generation: 1})
	if n := leases(t, b); n != 1 {
		t.Fatalf("%d leases", n)
	}
	events := b.Subscribe(t.Context())
	server.Kill()
	wantAway(t, a)
	wantAway(t, b)
	server.Run()
	until(t, events, isResync)
	if n := leases(t, b); n != 1 {
		t.Errorf("%d leases, want the one of before", n)
	}
	works(t, a, b)
}

func TestRedisThatDoesNotAnswer(t *testing.T) {
	server := redistest.Start(t)
	o := hasty(options(t, server.Addr))
	a, b := open(t, o), open(t, o)
	server.Pause()
	wantAway(t, a)
	wantAway(t, b)
	server.Resume()
	works(t, a, b)
}

func TestAnEdgeStartsAndEndsWithoutRedis(t *testing.T) {
	server := redistest.Start(t)
	server.Kill()
	o := hasty(options(t, server.Addr))
	a, b := open(t, o), open(t, o)
	wantAway(t, a)
	events := a.Subscribe(t.Context())
	server.Run()
	until(t, events, isResync)
	works(t, a, b)
	server.Kill()
}

func TestACallerWhoLeavesDoesNotLoseRedisForTheOthers(t *testing.T) {
	server := redistest.Start(t)
	c := open(t, options(t, server.Addr))
	left, leave := context.WithCancel(context.Background())
	leave()
	if _, err := c.Leases(left, "node"); store.CodeOf(err) != store.Unavailable {
		t.Errorf("leases for who has left: %v", err)
	}
	if n := leases(t, c); n != 0 {
		t.Errorf("%d leases", n)
	}
}

func TestASubscriptionThatRedisEndsIsToldAndTakenUpAgain(t *testing.T) {
	server := redistest.Start(t)
	o := options(t, server.Addr)
	a, b := open(t, o), open(t, o)
	events := b.Subscribe(t.Context())
	mustDo(t, server, "CLIENT", "KILL", "TYPE", "pubsub")
	until(t, events, isResync)
	works(t, a, b)
}

// TestALostEventIsNoticed plays an edge some of whose messages get lost, as those
// do which a master takes after the others have left it for its replica.
func TestALostEventIsNoticed(t *testing.T) {
	server := redistest.Start(t)
	o := options(t, server.Addr)
	events := open(t, o).Subscribe(t.Context())
	say := func(text string) {
		t.Helper()
		mustDo(t, server, "PUBLISH", o.KeyPrefix+"events", text)
	}
	want := func(want store.Event) {
		t.Helper()
		if got := receive(t, events); got != want {
			t.Fatalf("%+v, want %+v", got, want)
		}
	}
	event := func(id string) store.Event { return store.Event{Type: "node", ID: id, Remote: true} }
	resync := store.Event{Type: "resync"}
	say(`{"from": "other", "n": 7, "event": {"type": "node", "id": "7"}}`)
	want(event("7"))
	say(`{"from": "other", "n": 7}`)
	say(`not a message`)
	say(`{"from": "other", "n": 7, "event": {"type": "node", "id": "7"}}`)
	say(`{"from": "other", "n": 8, "event": {"type": "node", "id": "8"}}`)
	want(event("8"))
	say(`{"from": "other", "n": 10, "event": {"type": "node", "id": "10"}}`)
	want(resync)
	want(event("10"))
	say(`{"from": "other", "n": 11}`)
	want(resync)
	say(`{"from": "other", "n": 12, "event": {"type": "resync", "id": "x"}}`)
	want(resync)
	say(`{"from": "other", "n": 13, "event": {"type": "node", "id": "13"}}`)
	want(event("13"))
}

func TestEvictionOfEverythingDoesNoHarm(t *testing.T) {
	server := redistest.Start(t, "maxmemory 3mb", "maxmemory-policy allkeys-lru")
	o := options(t, server.Addr)
	a, b := open(t, o), open(t, o)
	one := store.Lease{Kind: "node", ID: "a", Generation: 1, Value: []byte(strings.Repeat("v", 1000))}
	hold(t, a, one)
	if n := leases(t, b); n != 1 {
		t.Fatalf("%d leases", n)
	}
	client := server.Client()
	filler := strings.Repeat("x", 10_000)
	for round := range 20 {
		for i := range 200 {
			if err := client.Set(t.Context(), fmt.Sprintf("filler-%d-%d", round, i), filler, 0).Err(); err != nil {
				t.Fatal(err)
			}
		}
		if n := leases(t, b); n != 1 {
			t.Fatalf("round %d: %d leases", round, n)
		}
		hold(t, a, one) // the next beat
		if taken, err := a.Take(t.Context(), fmt.Sprint("bucket-", round), store.Rate{Count: 1, Per: time.Hour, Burst: 1}); err != nil || !taken.OK {
			t.Fatalf("%+v, %v", taken, err)
		}
	}
	stats, err := client.Info(t.Context(), "stats").Result()
	if err != nil || strings.Contains(stats, "evicted_keys:0\r") {
		t.Fatalf("nothing was evicted: %v", err)
	}
	works(t, a, b)
}

func TestRedisWithoutRoomIsUnavailable(t *testing.T) {
	server := redistest.Start(t)
	o := options(t, server.Addr)
	c, other := open(t, o), open(t, o)
	mustDo(t, server, "CONFIG", "SET", "maxmemory", "1", "maxmemory-policy", "noeviction")
	wantAway(t, c)
	mustDo(t, server, "CONFIG", "SET", "maxmemory", "0")
	works(t, c, other)
}
