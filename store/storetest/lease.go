package storetest

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
)

func hold(t *testing.T, c store.Coord, l store.Lease, want store.Code) {
	t.Helper()
	wantCode(t, "hold", c.Hold(context.Background(), l, time.Hour), want)
}

func release(t *testing.T, c store.Coord, l store.Lease) {
	t.Helper()
	if err := c.Release(context.Background(), l.Kind, l.ID, l.Generation); err != nil {
		t.Fatal(err)
	}
}

func wantLeases(t *testing.T, c store.Coord, kind string, want ...store.Lease) {
	t.Helper()
	got, err := c.Leases(context.Background(), kind)
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "leases of "+kind, got, want)
}

// lease is one of a kind that no other test has.
func lease(generation uint64) store.Lease {
	return store.Lease{Kind: newID(), ID: "edge-1", Generation: generation, Value: []byte("a\x00\n\xff value")}
}

func leaseReleased(t *testing.T, c store.Coord) {
	one := lease(1)
	other := store.Lease{Kind: one.Kind, ID: "edge-0", Generation: 9, Value: []byte("other")}
	wantLeases(t, c, one.Kind)
	hold(t, c, one, "")
	hold(t, c, other, "")
	wantLeases(t, c, one.Kind, other, one)
	one.Value = []byte("draining")
	hold(t, c, one, "")
	wantLeases(t, c, one.Kind, other, one)
	release(t, c, other)
	wantLeases(t, c, one.Kind, one)
	release(t, c, other)
	release(t, c, one)
	wantLeases(t, c, one.Kind)
}

func leaseExpires(t *testing.T, c store.Coord) {
	one, other := lease(2), lease(2)
	other.Kind, other.ID = one.Kind, "edge-2"
	hold(t, c, other, "")
	if err := c.Hold(context.Background(), one, 2*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it expires", func() bool {
		list, err := c.Leases(context.Background(), one.Kind)
		if err != nil {
			t.Fatal(err)
		}
		return len(list) == 1
	})
	wantLeases(t, c, one.Kind, other)
	one.Generation = 1
	hold(t, c, one, "") // nobody is there whom it could hurt
	wantLeases(t, c, one.Kind, one, other)
}

// eventually asks until it is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(hang); !so(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("in vain: " + what)
		}
	}
}

func leaseFenced(t *testing.T, c store.Coord) {
	const highest = 1<<64 - 1 // generations next to each other where a float has no room for both
	older, newer := lease(highest-2), lease(highest-1)
	newer.Kind = older.Kind
	newer.Value = []byte("newer")
	hold(t, c, older, "")
	hold(t, c, newer, "")
	hold(t, c, older, store.Conflict)
	release(t, c, older)
	wantLeases(t, c, older.Kind, newer)

	release(t, c, newer)
	hold(t, c, newer, store.Conflict) // a beat that was sent before the release
	hold(t, c, older, store.Conflict)
	wantLeases(t, c, older.Kind)
	newest := newer
	newest.Generation = highest
	hold(t, c, newest, "")
	wantLeases(t, c, older.Kind, newest)

	unknown := lease(5)
	release(t, c, unknown)
	hold(t, c, unknown, store.Conflict)
}

func leaseGeneration(t *testing.T, c store.Coord) {
	one := lease(0)
	next := func() uint64 {
		generation, err := c.Generation(context.Background(), one.Kind, one.ID)
		if err != nil {
			t.Fatal(err)
		}
		return generation
	}
	for range 5 {
		before := one.Generation
		if one.Generation = next(); one.Generation <= before {
			t.Fatalf("%d after %d", one.Generation, before)
		}
		hold(t, c, one, "")
	}
	one.Generation += 1 << 40 // held by a clock ahead of ours
	hold(t, c, one, "")
	if got := next(); got <= one.Generation {
		t.Errorf("%d though %d is held", got, one.Generation)
	}
	release(t, c, one)
	if got := next(); got <= one.Generation {
		t.Errorf("%d though %d was released", got, one.Generation)
	}
}

func leaseKinds(t *testing.T, c store.Coord) {
	one, other := lease(3), lease(7)
	hold(t, c, one, "")
	hold(t, c, other, "")
	release(t, c, other)
	wantLeases(t, c, one.Kind, one)
}

func leaseInvalid(t *testing.T, c store.Coord) {
	ctx := context.Background()
	for name, l := range map[string]store.Lease{
		"no kind": {ID: "a"}, "no id": {Kind: "a"}, "a large value": {Kind: "a", ID: "b", Value: []byte(strings.Repeat("x", store.MaxLeaseValue+1))},
	} {
		wantCode(t, name, c.Hold(ctx, l, time.Hour), store.Invalid)
	}
	wantCode(t, "no ttl", c.Hold(ctx, lease(1), 0), store.Invalid)
}

func leaseEvents(t *testing.T, c store.Coord) {
	one := lease(1)
	events := c.Subscribe(t.Context())
	last := one
	changed := func(what string) {
		t.Helper()
		hold(t, c, last, "")
		e, _ := receive(t, events)
		wantEqual(t, what, e, store.Event{Type: "lease", ID: one.Kind})
	}
	changed("a first hold")
	last.Value = []byte("other")
	changed("another value")
	last.Generation++
	changed("a new generation")
	hold(t, c, last, "")
	release(t, c, last)
	release(t, c, last)
	e, _ := receive(t, events)
	wantEqual(t, "the release", e, store.Event{Type: "lease", ID: one.Kind})
	c.Publish(t.Context(), store.Event{Type: "node"})
	e, _ = receive(t, events)
	wantEqual(t, "after what changed nothing", e, store.Event{Type: "node"})
}
