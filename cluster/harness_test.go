package cluster

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
)

var testSecret = []byte("a secret of the test's own, 32 b")

// faultyCoord is one edge's way to the Coord that all share, with faults.
type faultyCoord struct {
	store.Coord
	world *world
	away  bool // guarded by world.mu
}

func (f *faultyCoord) shared() (store.Coord, error) {
	f.world.mu.Lock()
	defer f.world.mu.Unlock()
	if f.away || f.world.coordAway {
		return nil, store.Errorf(store.Unavailable, "the Coord is away")
	}
	return f.world.coord, nil
}

func (f *faultyCoord) Generation(ctx context.Context, kind, id string) (uint64, error) {
	c, err := f.shared()
	if err != nil {
		return 0, err
	}
	return c.Generation(ctx, kind, id)
}

func (f *faultyCoord) Hold(ctx context.Context, l store.Lease, ttl time.Duration) error {
	c, err := f.shared()
	if err != nil {
		return err
	}
	defer f.Publish(ctx, store.Event{Type: "lease", ID: l.Kind}) // where all listen, also after a flush
	return c.Hold(ctx, l, ttl)
}

func (f *faultyCoord) Release(ctx context.Context, kind, id string, generation uint64) error {
	c, err := f.shared()
	if err != nil {
		return err
	}
	defer f.Publish(ctx, store.Event{Type: "lease", ID: kind})
	return c.Release(ctx, kind, id, generation)
}

func (f *faultyCoord) Leases(ctx context.Context, kind string) ([]store.Lease, error) {
	c, err := f.shared()
	if err != nil {
		return nil, err
	}
	return c.Leases(ctx, kind)
}

// world is some edges on one Coord, in virtual time.
type world struct {
	t      *testing.T
	locals []*store.Local // every one there was

	mu        sync.Mutex
	coord     *store.Local
	coordAway bool
	dead      map[string]bool // nodes that do not answer
	edges     []*testEdge
}

type testEdge struct {
	*Cluster
	world  *world
	coord  *faultyCoord
	stop   func() // and wait
	loads  int    // streams, of maxLoad; guarded by world.mu
	max    int
	turned int // calls of Changed
}

// inWorld runs a test in virtual time.
func inWorld(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, dead: map[string]bool{}}
		w.flush()
		defer func() {
			for _, e := range w.edges {
				e.stop()
			}
			for _, l := range w.locals {
				_ = l.Close()
			}
		}()
		test(t, w)
	})
}

// flush loses all that the Coord holds.
func (w *world) flush() {
	l := store.NewLocal()
	w.locals = append(w.locals, l)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.coord = l
}

func (w *world) setAway(away bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.coordAway = away
}

// answers lets a node answer probes, or not.
func (w *world) answers(id string, answers bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dead[id] = !answers
}

func (w *world) probe(_ context.Context, n Node) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dead[n.ID] {
		return errors.New("connection refused")
	}
	return nil
}

func (w *world) start(id string, change ...func(*Options)) *testEdge {
	w.mu.Lock()
	shared := w.coord
	w.mu.Unlock()
	e := &testEdge{world: w, max: 100}
	e.coord = &faultyCoord{Coord: shared, world: w}
	o := Options{
		Coord: e.coord, Secret: testSecret, Probe: w.probe,
		Self: func() Node {
			w.mu.Lock()
			defer w.mu.Unlock()
			return Node{ID: id, URL: "https://" + id + ".example.org", Pin: "sha256:" + id, Version: "1", Streams: e.loads, MaxStreams: e.max}
		},
		Changed: func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			e.turned++
		},
	}
	for _, f := range change {
		f(&o)
	}
	e.Cluster = New(o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	e.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("Run: %v", err)
		}
	})
	w.edges = append(w.edges, e)
	return e
}

func (w *world) startMany(ids ...string) []*testEdge {
	var all []*testEdge
	for _, id := range ids {
		all = append(all, w.start(id))
	}
	settle()
	return all
}

// settle waits until what was said last is known to all: a pause before it is
// announced, and one before it is read.
func settle() {
	time.Sleep(2*pause + time.Millisecond)
	synctest.Wait()
}

// kill ends the edge without a word to anybody.
func (e *testEdge) kill() {
	e.world.mu.Lock()
	e.coord.away = true
	e.world.dead[e.id] = true
	e.world.mu.Unlock()
	e.stop()
}

func (e *testEdge) changes() int {
	e.world.mu.Lock()
	defer e.world.mu.Unlock()
	return e.turned
}

func ids(nodes []Node) []string {
	all := []string{}
	for _, n := range nodes {
		all = append(all, n.ID)
	}
	return all
}

func (e *testEdge) sees(t *testing.T, want ...string) {
	t.Helper()
	if got := ids(e.Nodes()); !slices.Equal(got, want) {
		t.Errorf("%s sees %v, want %v", e.id, got, want)
	}
}

// of is the node of that id in the view of e.
func (e *testEdge) of(t *testing.T, id string) Node {
	t.Helper()
	for _, n := range e.Nodes() {
		if n.ID == id {
			return n
		}
	}
	t.Fatalf("%s does not see %s", e.id, id)
	return Node{}
}
