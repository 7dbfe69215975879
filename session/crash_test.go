package session

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// fuse is a Store that fails for good after a number of writes: what an edge
// sees of its store when it is killed there.
type fuse struct {
	store.Store

	mu     sync.Mutex
	left   int             // writes until it blows; negative: never
	before bool            // blows before the last write, not after it
	at     func(done bool) // the last write, before and after
}

func (f *fuse) blown() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left == 0 {
		return store.Errorf(store.Unavailable, "the store is gone")
	}
	return nil
}

// write spends one write and does it, unless the fuse has blown.
func (f *fuse) write(do func() error) error {
	if err := f.blown(); err != nil {
		return err
	}
	f.mu.Lock()
	if f.left > 0 {
		f.left--
	}
	blows := f.left == 0
	f.mu.Unlock()
	if blows && f.at != nil {
		f.at(false)
		defer f.at(true)
	}
	if blows && f.before {
		return store.Errorf(store.Unavailable, "the store is gone")
	}
	return do()
}

func (f *fuse) mend(left int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left = left
}

func (f *fuse) AdmitSession(ctx context.Context, s *store.Session, key string, a store.Admission) (stored *store.Session, created bool, err error) {
	err = f.write(func() (err error) { stored, created, err = f.Store.AdmitSession(ctx, s, key, a); return err })
	return stored, created, err
}

func (f *fuse) UpdateSession(ctx context.Context, id string, change func(*store.Session) error) (s *store.Session, err error) {
	err = f.write(func() (err error) { s, err = f.Store.UpdateSession(ctx, id, change); return err })
	return s, err
}

func (f *fuse) PlaceSession(ctx context.Context, id string, fits store.Fits, change func(*store.Session) error) (s *store.Session, err error) {
	err = f.write(func() (err error) { s, err = f.Store.PlaceSession(ctx, id, fits, change); return err })
	return s, err
}

func (f *fuse) Session(ctx context.Context, id string) (*store.Session, error) {
	if err := f.blown(); err != nil {
		return nil, err
	}
	return f.Store.Session(ctx, id)
}

func (f *fuse) Sessions(ctx context.Context, filter store.SessionFilter) ([]*store.Session, string, error) {
	if err := f.blown(); err != nil {
		return nil, "", err
	}
	return f.Store.Sessions(ctx, filter)
}

// A session whose request was acknowledged is started, and one whose end was
// acknowledged is ended, wherever between two writes the edge is killed (or
// its store goes away and comes back).
func TestAcknowledgedIsDoneWhereverTheEdgeIsKilled(t *testing.T) {
	for _, restart := range []bool{true, false} {
		for writes := 1; writes <= 12; writes++ {
			for _, before := range []bool{true, false} {
				t.Run(fmt.Sprintf("restart %v, after %d writes, last one lost %v", restart, writes, before), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { surviveFault(t, restart, writes, before) })
				})
			}
		}
	}
}

func surviveFault(t *testing.T, restart bool, writes int, before bool) {
	f := &fuse{Store: openStore(t), left: -1, before: before}
	w := newWorld(t, f)
	w.run()
	hosts := []*host{w.join("a"), w.join("b")}
	w.set(hosts[0], mood{slow: time.Second})
	heal := func() {
		if restart {
			w.end()
		}
		f.mend(-1)
		if restart {
			w.restart() // ends the ended edge again, which does nothing
			for _, h := range hosts {
				w.connect(h)
			}
		}
		pass(time.Minute)
	}
	f.mend(writes)
	var live, stopped []string
	for i := range 3 {
		s, err := w.m.Create(t.Context(), &store.Session{}, "")
		pass(2 * time.Second)
		if err != nil {
			continue
		}
		live = append(live, s.ID)
		if i == 1 {
			if _, err := w.m.Stop(t.Context(), s.ID); err == nil {
				live, stopped = live[:len(live)-1], append(stopped, s.ID)
			}
		}
	}
	pass(2 * time.Second)
	heal()
	for _, id := range live {
		w.want(id, store.Running, "")
	}
	for _, id := range stopped {
		w.want(id, store.Terminated, "")
	}
	w.checkHosts(hosts)
	w.checkBooks()
	w.end()
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// checkHosts checks that exactly what the store says runs where it says.
func (w *world) checkHosts(hosts []*host) {
	w.t.Helper()
	want := map[string][]string{}
	for _, s := range w.all() {
		if s.State == store.Running {
			want[s.AgentID] = append(want[s.AgentID], s.ID)
		}
	}
	for _, h := range hosts {
		slices.Sort(want[h.agent.ID])
		if got := w.runs(h); !slices.Equal(got, want[h.agent.ID]) {
			w.t.Errorf("%s runs %v, want %v", h.agent.Name, got, want[h.agent.ID])
		}
	}
}

func TestAnEdgeThatRestartsDoesNotFlapStates(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		h := w.join("a")
		s := w.create()
		w.events = nil
		w.restart()
		pass(connectGrace - time.Second)
		if told := w.told(s.ID); len(told) != 0 {
			t.Errorf("events told %v", told)
		}
		w.connect(h)
		pass(time.Minute)
		if told := w.told(s.ID); !slices.Equal(told, []string{string(store.Running)}) {
			t.Errorf("events told %v, want that it runs", told)
		}
		w.want(s.ID, store.Running, "")
		if h.starts != 1 {
			t.Errorf("started %d times", h.starts)
		}
		w.checkBooks()

		w.restart()
		pass(connectGrace)
		w.want(s.ID, store.Unreachable, "has not connected since the edge started")
		w.connect(h)
		w.want(s.ID, store.Running, "")
	})
}

// TestAStartWithoutAnAckWaitsForItsAgentAfterARestart: that may run it.
func TestAStartWithoutAnAckWaitsForItsAgentAfterARestart(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, b := w.join("a"), w.join("b")
		w.m.o.Start = func(ctx context.Context, _ *store.Session, _ uint64) error { <-ctx.Done(); return ctx.Err() } // killed before the ack
		s := w.create()
		w.restart()
		its, other := a, b
		if s.AgentID == b.agent.ID {
			its, other = b, a
		}
		w.connect(other)
		w.want(s.ID, store.Starting, "")
		pass(connectGrace)
		w.want(s.ID, store.Starting, "its agent has not connected since the edge started")
		w.connect(its)
		w.want(s.ID, store.Running, "")
		if got := w.runs(its); !slices.Equal(got, []string{s.ID}) || len(w.runs(other)) > 0 {
			t.Errorf("%s runs %v, the other one %v", its.agent.Name, got, w.runs(other))
		}
		w.checkBooks()
	})
}

// Whatever happens in whatever order, once it is quiet what runs is what is
// stored, nobody is overbooked, and nothing is left behind in memory.
func TestQuietAfterAStorm(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) { storm(t, w, rand.New(rand.NewPCG(seed, 0))) })
		})
	}
}

func storm(t *testing.T, w *world, random *rand.Rand) {
	hosts := []*host{w.join("a"), w.join("b"), w.join("c", func(a *store.Agent) { a.Capacity = 2 })}
	moods := []mood{{}, {slow: 3 * time.Second}, {silent: true}, {stuck: true}, {refuse: store.Errorf(store.NoAgent, "full here")},
		{refuse: store.Errorf(store.Unavailable, "no ack came")}}
	connected := func(h *host) bool { w.mu.Lock(); defer w.mu.Unlock(); return h.generation > 0 }
	anyID := func() string {
		all := w.all()
		if len(all) == 0 {
			return ""
		}
		return all[random.IntN(len(all))].ID
	}
	for range 120 {
		h := hosts[random.IntN(len(hosts))]
		switch random.IntN(12) {
		case 0, 1, 2:
			_, _ = w.m.Create(t.Context(), &store.Session{MaxDuration: time.Duration(random.IntN(3)) * time.Hour}, "") // there may be no room
		case 3:
			if id := anyID(); id != "" {
				if _, err := w.m.Stop(t.Context(), id); err != nil {
					t.Fatal(err)
				}
			}
		case 4:
			if connected(h) {
				w.drop(h)
			} else {
				w.connect(h)
			}
		case 5:
			w.connect(h)
		case 6:
			if connected(h) && random.IntN(3) == 0 {
				w.leave(h)
			}
		case 7:
			w.set(h, moods[random.IntN(len(moods))])
		case 8:
			if running := w.runs(h); len(running) > 0 {
				w.say(h, running[0], []ObservedState{ObservedFailed, ObservedEnded}[random.IntN(2)], "it ended")
			}
		case 9:
			if id := anyID(); id != "" {
				w.m.Viewers(id, random.IntN(3))
			}
		case 10:
			if random.IntN(5) == 0 {
				w.restart()
			}
		case 11:
			pass(time.Duration(random.IntN(40)) * time.Second)
		}
	}
	for _, h := range hosts {
		w.set(h, mood{})
		if !connected(h) {
			w.connect(h)
		}
	}
	pass(5 * time.Minute)
	w.checkHosts(hosts)
	w.checkBooks()
	for _, h := range hosts {
		if n := len(w.runs(h)); n > h.agent.Capacity {
			t.Errorf("%s runs %d of %d", h.agent.Name, n, h.agent.Capacity)
		}
	}
	for _, s := range w.all() {
		if s.State != store.Running && !s.Ended() {
			t.Errorf("session %s is %s (%s) although everything works", s.ID, s.State, s.Reason)
		}
		if s.Ended() {
			w.m.Viewers(s.ID, 0)
		}
	}
	synctest.Wait()
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	for id, r := range w.m.live {
		if !r.unended() {
			t.Errorf("session %s is still in memory: %+v", id, r)
		}
	}
	if len(w.m.waiting) > 0 {
		t.Errorf("waiting: %v", w.m.waiting)
	}
	for agentID, l := range w.m.links {
		if l.commands != 0 {
			t.Errorf("%s has %d commands under way", agentID, l.commands)
		}
	}
}

// An edge that is told to leave while it still reads the sessions has no fault.
func TestAnEdgeThatEndsWhileItStartsLogsNoFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fuse{Store: openStore(t)} // every read fails, as with a context that has ended
		core, logs := observer.New(zap.WarnLevel)
		w := newWorld(t, s)
		w.o.Log = zap.New(core)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := New(w.o).Run(ctx); err != nil {
			t.Error(err)
		}
		if logs.Len() > 0 {
			t.Errorf("logged: %v", logs.All())
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}
