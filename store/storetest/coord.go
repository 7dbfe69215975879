package storetest

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// TestCoord holds a Coord to its contract. open returns a new one, and closes
// it when its test ends.
func TestCoord(t *testing.T, open func(t *testing.T) store.Coord) {
	for name, test := range map[string]func(*testing.T, store.Coord){
		"a bucket gives its burst and not more":                 bucketBurst,
		"a bucket taken from at once gives its burst":           bucketRace,
		"a look at a bucket takes nothing":                      bucketLook,
		"places are had up to the bound until they are left":    placesBounded,
		"places taken at once are as many as there are":         placesRace,
		"a place ends that nobody keeps":                        placeEnds,
		"places that were lost are had again":                   placesKept,
		"a lease is there until it is released":                 leaseReleased,
		"a lease is there until it is no longer renewed":        leaseExpires,
		"an older generation changes nothing":                   leaseFenced,
		"a generation is higher than those before":              leaseGeneration,
		"leases of other kinds are others":                      leaseKinds,
		"a lease that no Coord takes is invalid":                leaseInvalid,
		"changes of leases are events":                          leaseEvents,
		"every subscriber gets every event in order":            eventsInOrder,
		"a subscription ends with its context":                  subscriptionEnds,
		"a closed coord ends subscriptions":                     coordClosed,
		"a subscriber that falls behind is told once":           subscriberBehind,
		"a slow subscriber holds up neither publisher nor peer": slowSubscriber,
		"a coord that works answers a ping":                     coordPing,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func take(t *testing.T, c store.Coord, bucket string, r store.Rate) store.Taken {
	t.Helper()
	taken, err := c.Take(context.Background(), bucket, r)
	if err != nil {
		t.Fatal(err)
	}
	return taken
}

// The rate is so slow that no test sees a bucket fill.
func bucketBurst(t *testing.T, c store.Coord) {
	bucket, rate := newID(), store.Rate{Count: 1, Per: time.Hour, Burst: 3}
	for left := 2; left >= 0; left-- {
		if got := take(t, c, bucket, rate); !got.OK || got.Remaining != left || got.RetryAfter != 0 {
			t.Errorf("%+v, want %d left", got, left)
		}
	}
	for range 2 {
		got := take(t, c, bucket, rate)
		if got.OK || got.Remaining != 0 || got.RetryAfter <= 59*time.Minute || got.RetryAfter > time.Hour || got.Full <= 2*time.Hour {
			t.Errorf("an empty bucket: %+v", got)
		}
	}
	if got := take(t, c, newID(), rate); !got.OK || got.Remaining != 2 {
		t.Errorf("another bucket: %+v", got)
	}
}

func bucketRace(t *testing.T, c store.Coord) {
	bucket, rate := newID(), store.Rate{Count: 1, Per: time.Hour, Burst: 7}
	var all sync.WaitGroup
	var got atomic.Int32
	for range 20 {
		all.Go(func() {
			if taken, err := c.Take(context.Background(), bucket, rate); err != nil {
				t.Error(err)
			} else if taken.OK {
				got.Add(1)
			}
		})
	}
	all.Wait()
	if got.Load() != 7 {
		t.Errorf("%d of a burst of 7", got.Load())
	}
}

// receive waits for the next event; ok is false when the channel is closed.
func receive(t *testing.T, events <-chan store.Event) (e store.Event, ok bool) {
	t.Helper()
	select {
	case e, ok = <-events:
		return e, ok
	case <-time.After(hang):
		t.Fatal("no event came")
		return e, false
	}
}

func eventsInOrder(t *testing.T, c store.Coord) {
	ctx := t.Context()
	subscribers := []<-chan store.Event{c.Subscribe(ctx), c.Subscribe(ctx), c.Subscribe(ctx)}
	const events = 50
	for i := range events {
		c.Publish(ctx, store.Event{Type: "session", ID: strconv.Itoa(i), State: "running", Org: "acme", Owner: "ann"})
	}
	late := c.Subscribe(ctx)
	c.Publish(ctx, store.Event{Type: "agent", ID: "last"})
	for _, s := range subscribers {
		for i := range events {
			e, _ := receive(t, s)
			wantEqual(t, "event", e, store.Event{Type: "session", ID: strconv.Itoa(i), State: "running", Org: "acme", Owner: "ann"})
		}
	}
	for _, s := range append(subscribers, late) {
		e, _ := receive(t, s)
		wantEqual(t, "last event", e, store.Event{Type: "agent", ID: "last"})
	}
}

func wantClosed(t *testing.T, events <-chan store.Event) {
	t.Helper()
	for {
		if _, ok := receive(t, events); !ok {
			return
		}
	}
}

func subscriptionEnds(t *testing.T, c store.Coord) {
	ctx, cancel := context.WithCancel(context.Background())
	ends, stays := c.Subscribe(ctx), c.Subscribe(t.Context())
	cancel()
	wantClosed(t, ends)
	c.Publish(t.Context(), store.Event{Type: "session", ID: "after"})
	if e, ok := receive(t, stays); !ok || e.ID != "after" {
		t.Errorf("the other subscriber got %+v, %v", e, ok)
	}
	wantClosed(t, c.Subscribe(ctx))
}

func coordClosed(t *testing.T, c store.Coord) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	first, second := c.Subscribe(ctx), c.Subscribe(context.Background())
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	wantClosed(t, first)
	wantClosed(t, second)
	wantClosed(t, c.Subscribe(context.Background()))
	c.Publish(context.Background(), store.Event{Type: "session"})
	if err := c.Close(); err != nil {
		t.Errorf("Close again: %v", err)
	}
}

// flood is more than any queue should hold.
const flood = 20_000

func subscriberBehind(t *testing.T, c store.Coord) {
	ctx := t.Context()
	events := c.Subscribe(ctx)
	for range 2 { // falling behind a second time is told again
		for i := range flood {
			c.Publish(ctx, store.Event{Type: "session", ID: strconv.Itoa(i)})
		}
		got := 0
		for {
			e, ok := receive(t, events)
			if !ok {
				t.Fatal("the subscription ended")
			}
			if e.Type == "resync" {
				wantEqual(t, "resync", e, store.Event{Type: "resync"})
				break
			}
			if e.ID != strconv.Itoa(got) {
				t.Fatalf("event %s came in place of %d", e.ID, got)
			}
			got++
		}
		if got == 0 || got == flood {
			t.Fatalf("the resync came after %d events", got)
		}
		select {
		case e := <-events:
			t.Fatalf("%+v came after the resync", e)
		default:
		}
		c.Publish(ctx, store.Event{Type: "session", ID: "after"})
		if e, _ := receive(t, events); e.ID != "after" {
			t.Fatalf("%+v came in place of what was published after the resync", e)
		}
	}
}

func slowSubscriber(t *testing.T, c store.Coord) {
	ctx := t.Context()
	slow, quick := c.Subscribe(ctx), c.Subscribe(ctx)
	for i := range flood {
		c.Publish(ctx, store.Event{Type: "session", ID: strconv.Itoa(i)})
		if e, _ := receive(t, quick); e.ID != strconv.Itoa(i) {
			t.Fatalf("the quick subscriber got %+v in place of %d", e, i)
		}
	}
	if e, _ := receive(t, slow); e.ID != "0" {
		t.Errorf("the slow subscriber got %+v first", e)
	}
}

func coordPing(t *testing.T, c store.Coord) {
	if err := c.Ping(context.Background()); err != nil {
		t.Fatal(err)
	}
}
