package redis_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
	"github.com/streamspace-dev/streamspace-edge/store/redis"
	"github.com/streamspace-dev/streamspace-edge/store/redis/redistest"
)

// hang is how long a test waits for what should come at once, only so that a
// hang becomes a failure.
const hang = time.Minute

func receive(t *testing.T, events <-chan store.Event) store.Event {
	t.Helper()
	select {
	case e, open := <-events:
		if !open {
			t.Fatal("the subscription ended")
		}
		return e
	case <-time.After(hang):
		t.Fatal("no event came")
	}
	panic("not reached")
}

// until skips events up to the one wanted.
func until(t *testing.T, events <-chan store.Event, want func(store.Event) bool) {
	t.Helper()
	for !want(receive(t, events)) {
	}
}

func isResync(e store.Event) bool { return e.Type == "resync" }

func TestEventsReachOtherEdgesWholeAndInOrder(t *testing.T) {
	server := redistest.Start(t)
	o := options(t, server.Addr)
	a, b := open(t, o), open(t, o)
	stranger := options(t, server.Addr)
	events, others := b.Subscribe(t.Context()), open(t, stranger).Subscribe(t.Context())
	ends := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	const many = 100
	for i := range many {
		a.Publish(t.Context(), store.Event{
			Type: "session", ID: strconv.Itoa(i), State: "running", Org: "acme", Owner: "ann",
			EndsAt: ends, EndsBecause: "idle", AgentUp: true,
		})
	}
	for i := range many {
		want := store.Event{
			Type: "session", ID: strconv.Itoa(i), State: "running", Org: "acme", Owner: "ann",
			EndsAt: ends, EndsBecause: "idle", AgentUp: true, Remote: true,
		}
		if got := receive(t, events); got != want {
			t.Fatalf("%+v, want %+v", got, want)
		}
	}
	if len(others) != 0 {
		t.Errorf("an installation with another prefix got %+v", <-others)
	}
}

func TestWhatAnEdgePublishesInAFloodOthersGetOrAreToldToReadAgain(t *testing.T) {
	o := options(t, redistest.Start(t).Addr)
	a, b := open(t, o), open(t, o)
	events := b.Subscribe(t.Context())
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range flood {
			a.Publish(ctx, store.Event{Type: "session", ID: strconv.Itoa(i)})
		}
		for ctx.Err() == nil { // one of these comes after all that was missed
			a.Publish(ctx, store.Event{Type: "node"})
			time.Sleep(10 * time.Millisecond)
		}
	}()
	want, missed := 0, false
	for {
		e := receive(t, events)
		if e.Type == "node" {
			break
		}
		if isResync(e) {
			missed = true
			continue
		}
		n, _ := strconv.Atoi(e.ID)
		if n < want || n > want && !missed {
			t.Fatalf("event %d came in place of %d", n, want)
		}
		want, missed = n+1, false
	}
	if want != flood && !missed {
		t.Errorf("event %d and later ones are lost without a word", want)
	}
	stop()
	<-done
}

// flood is more than any queue should hold.
const flood = 50_000

func TestWhatWasPublishedBeforeCloseReachesTheOthers(t *testing.T) {
	o := options(t, redistest.Start(t).Addr)
	a, b := open(t, o), open(t, o)
	events := b.Subscribe(t.Context())
	for i := range 200 {
		a.Publish(t.Context(), store.Event{Type: "node", ID: strconv.Itoa(i)})
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	until(t, events, func(e store.Event) bool { return e.ID == "199" })
}

func TestABucketIsSharedByAllEdges(t *testing.T) {
	o := options(t, redistest.Start(t).Addr)
	edges := []*redis.Coord{open(t, o), open(t, o), open(t, o)}
	rate := store.Rate{Count: 1, Per: time.Hour, Burst: 10}
	passed := 0
	for i := range 30 {
		taken, err := edges[i%3].Take(context.Background(), "api", rate)
		if err != nil {
			t.Fatal(err)
		}
		if taken.OK {
			passed++
		}
	}
	if passed != 10 {
		t.Errorf("%d of a burst of 10", passed)
	}
}

func TestABucketFillsByTheClockOfRedis(t *testing.T) {
	c := open(t, options(t, redistest.Start(t).Addr))
	rate := store.Rate{Count: 100, Per: time.Second, Burst: 1} // Count and Burst apart: a fill takes 10 ms
	begin, passed := time.Now(), 0
	for passed < 20 {
		taken, err := c.Take(context.Background(), "slow", rate)
		if err != nil {
			t.Fatal(err)
		}
		if taken.OK {
			passed++
		} else if taken.RetryAfter <= 0 || taken.RetryAfter > 10*time.Millisecond {
			t.Fatalf("%+v", taken)
		} else {
			time.Sleep(taken.RetryAfter)
		}
	}
	if took := time.Since(begin); took < 189*time.Millisecond { // 19 fills; a microsecond each is rounded
		t.Errorf("20 at 100 a second took %s", took)
	}
}

func TestAFastRateGivesItsWholeBurst(t *testing.T) {
	c := open(t, options(t, redistest.Start(t).Addr))
	rate := store.Rate{Count: 3, Per: time.Hour, Burst: 30}
	for i := range 30 {
		taken, err := c.Take(context.Background(), "thirds", rate)
		if err != nil || !taken.OK || taken.Remaining != 29-i {
			t.Fatalf("%d: %+v, %v", i, taken, err)
		}
	}
}

func TestEdgesSeeEachOthersLeasesComeAndGo(t *testing.T) {
	o := options(t, redistest.Start(t).Addr)
	a, b := open(t, o), open(t, o)
	events := b.Subscribe(t.Context())
	want := func(n int) {
		t.Helper()
		if got := leases(t, b); got != n {
			t.Errorf("%d leases, want %d", got, n)
		}
	}
	told := func() {
		t.Helper()
		until(t, events, func(e store.Event) bool { return e.Type == "lease" && e.ID == "node" })
	}
	want(0)
	one := store.Lease{Kind: "node", ID: "a", Generation: 1}
	hold(t, a, one)
	told()
	want(1)
	if err := a.Release(t.Context(), "node", "a", 1); err != nil {
		t.Fatal(err)
	}
	told()
	want(0)
}

func hold(t *testing.T, c store.Coord, l store.Lease) {
	t.Helper()
	if err := c.Hold(context.Background(), l, time.Hour); err != nil {
		t.Fatal(err)
	}
}

// leases asks until Redis answers.
func leases(t *testing.T, c store.Coord) (n int) {
	t.Helper()
	redistest.Eventually(t, "leases are told", func() error {
		list, err := c.Leases(context.Background(), "node")
		n = len(list)
		return err
	})
	return n
}
