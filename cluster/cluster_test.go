package cluster

import (
	"bytes"
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/streamspace-dev/streamspace-edge/store"
)

func TestEdgesFindEachOther(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a := w.startMany("a")[0]
		a.sees(t, "a")
		w.startMany("b", "c")
		for _, e := range w.edges {
			e.sees(t, "a", "b", "c")
		}
		b := a.of(t, "b")
		if b.URL != "https://b.example.org" || b.Pin != "sha256:b" || b.Version != "1" || b.MaxStreams != 100 || !b.Healthy || b.Self || b.Generation == 0 {
			t.Errorf("a sees %+v", b)
		}
		if self := a.of(t, "a"); !self.Self || !self.Healthy || self.Generation == 0 {
			t.Errorf("a sees itself as %+v", self)
		}
	})
}

func TestADrainIsKnownBeforeItIsReported(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		all := w.startMany("a", "b", "c")
		all[0].AgentHere("agent", 1, true)
		settle()
		if err := all[0].Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		settle()
		for _, e := range all {
			if n := e.of(t, "a"); !n.Draining || !n.Leaving {
				t.Errorf("%s does not know of the drain", e.id)
			}
			for i := range 100 {
				for _, n := range e.WantedHomes(fmt.Sprint("agent-", i)) {
					if n.ID == "a" {
						t.Fatalf("%s sends an agent to a", e.id)
					}
				}
			}
		}
		if got := ids(all[1].Homes("agent")); len(got) != 1 || got[0] != "a" {
			t.Errorf("homes %v; the tunnel is still there", got)
		}
		all[0].stop()
		settle()
		all[1].sees(t, "b", "c")
		all[2].sees(t, "b", "c")
	})
}

func TestADrainIsReportedAtTheDeadlineWhenNobodyCanKnow(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a := w.startMany("a")[0]
		w.setAway(true)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := a.Drain(ctx); err != context.DeadlineExceeded {
			t.Errorf("error %v", err)
		}
		w.setAway(false)
		if err := a.Drain(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestLostLeasesAreBackWithinABeat: eviction and FLUSHALL change nothing for
// anybody.
func TestLostLeasesAreBackWithinABeat(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		all := w.startMany("a", "b", "c")
		for i, e := range all {
			e.AgentHere("agent", uint64(i+1), true)
		}
		settle()
		homes := ids(all[0].Homes("agent"))
		if len(homes) != 3 {
			t.Fatalf("homes %v", homes)
		}
		before := all[0].changes()
		for range 10 {
			w.flush()
			for range 25 { // a look at every tenth of a second
				time.Sleep(100 * time.Millisecond)
				synctest.Wait()
				for _, e := range all {
					e.sees(t, "a", "b", "c")
				}
				if got := ids(all[0].Homes("agent")); fmt.Sprint(got) != fmt.Sprint(homes) {
					t.Fatalf("homes %v, want %v", got, homes)
				}
			}
			if list, _ := w.coord.Leases(t.Context(), leaseKind); len(list) != 3 {
				t.Fatalf("%d leases after a beat and a half", len(list))
			}
		}
		if got := all[0].changes(); got != before {
			t.Errorf("%d changes were told", got-before)
		}
	})
}

// TestAKilledEdgeIsGone when its lease has ended, and no later than its checks
// need.
func TestAKilledEdgeIsGone(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		all := w.startMany("a", "b", "c")
		all[0].AgentHere("agent", 1, true)
		settle()
		all[0].kill()
		time.Sleep(beatsOfLease*defaultBeat + defaultBeat + time.Second)
		synctest.Wait()
		if got := all[1].Homes("agent"); len(got) != 0 {
			t.Errorf("homes %v", ids(got))
		}
		time.Sleep((beatsOfLease + 1) * defaultBeat)
		synctest.Wait()
		all[1].sees(t, "b", "c")
		all[2].sees(t, "b", "c")
	})
}

func TestASuspectedEdgeIsJudgedAtOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		all := w.startMany("a", "b")
		time.Sleep(time.Second) // the first check is over
		all[0].Suspect("b")
		all[0].Suspect("nobody")
		time.Sleep(time.Second)
		synctest.Wait()
		if !all[0].of(t, "b").Healthy {
			t.Fatal("b is well, and was only suspected")
		}
		all[1].kill()
		all[0].Suspect("b")
		time.Sleep(3 * hurry)
		synctest.Wait()
		if all[0].of(t, "b").Healthy {
			t.Error("b still counts as well")
		}
		w.answers("b", true)
		again := w.start("b")
		settle()
		if b := all[0].of(t, "b"); !b.Healthy || b.Generation != again.self().Generation {
			t.Errorf("b has started again and is seen as %+v", b)
		}
	})
}

// TestWithoutTheCoordTheViewStays and the checks decide.
func TestWithoutTheCoordTheViewStays(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		all := w.startMany("a", "b", "c")
		for i, e := range all {
			e.AgentHere("agent", uint64(i+1), true)
		}
		settle()
		w.setAway(true)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		for _, e := range all {
			e.sees(t, "a", "b", "c")
			if got := e.Homes("agent"); len(got) != 3 {
				t.Errorf("%s: homes %v", e.id, ids(got))
			}
		}
		w.answers("c", false)
		time.Sleep(2*15*time.Second + 4*time.Second)
		synctest.Wait()
		for _, e := range all[:2] {
			if e.of(t, "c").Healthy || len(e.Homes("agent")) != 2 {
				t.Errorf("%s believes in c", e.id)
			}
			if got := ids(e.WantedHomes("agent")); len(got) != 2 || got[0] == "c" || got[1] == "c" {
				t.Errorf("%s: wanted homes %v", e.id, got)
			}
		}
		w.answers("c", true)
		w.flush() // it comes back empty
		w.setAway(false)
		time.Sleep(2*15*time.Second + 4*time.Second)
		synctest.Wait()
		for _, e := range all {
			e.sees(t, "a", "b", "c")
			if got := e.Homes("agent"); len(got) != 3 {
				t.Errorf("%s: homes %v", e.id, ids(got))
			}
		}
	})
}

// TestAnEdgeThatStartsWithoutTheCoordJoinsLater.
func TestAnEdgeThatStartsWithoutTheCoordJoinsLater(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.setAway(true)
		all := w.startMany("a", "b")
		all[0].sees(t, "a")
		w.setAway(false)
		time.Sleep(defaultBeat)
		settle()
		all[0].sees(t, "a", "b")
		all[1].sees(t, "a", "b")
	})
}

// TestAFlappingEdgeDoesNotFlap: one bad check between good ones is none.
func TestAFlappingEdgeDoesNotFlap(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		turn := false
		a := w.start("a", func(o *Options) {
			o.Check = CheckConfig{Interval: 100 * time.Millisecond, Healthy: 2, Unhealthy: 2}
			o.Probe = func(ctx context.Context, n Node) error { // one goroutine: there is one peer
				turn = !turn
				if turn {
					return context.DeadlineExceeded
				}
				return nil
			}
		})
		w.start("b")
		settle()
		before := a.changes()
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := a.changes() - before; got != 0 || !a.of(t, "b").Healthy {
			t.Errorf("%d changes", got)
		}
	})
}

// TestNoClockCrossesEdges: what an edge says does not depend on the time at which
// it says it, so no edge's clock can mislead another.
func TestNoClockCrossesEdges(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.startMany("a")
		first, _ := w.coord.Leases(t.Context(), leaseKind)
		time.Sleep(time.Hour)
		synctest.Wait()
		second, _ := w.coord.Leases(t.Context(), leaseKind)
		if len(first) != 1 || len(second) != 1 || !bytes.Equal(first[0].Value, second[0].Value) {
			t.Errorf("%d and %d leases, which differ", len(first), len(second))
		}
	})
}

// TestTwoEdgesOfOneID: the second is seen, and the first says what is wrong.
func TestTwoEdgesOfOneID(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		core, logs := observer.New(zap.ErrorLevel)
		log := func(o *Options) { o.Log = zap.New(core) }
		w.start("a", log)
		watcher := w.start("w")
		settle()
		second := w.start("a", func(o *Options) {
			self := o.Self
			o.Self = func() Node { n := self(); n.URL = "https://second.example.org"; return n }
		})
		time.Sleep(defaultBeat)
		settle()
		if got := watcher.of(t, "a"); got.URL != "https://second.example.org" {
			t.Errorf("it sees %+v", got)
		}
		if logs.Len() != 1 || !bytes.Contains([]byte(logs.All()[0].Message), []byte("node.id")) {
			t.Errorf("logged %v", logs.All())
		}
		second.kill()
		w.answers("a", true)
		time.Sleep(beatsOfLease*defaultBeat + 2*defaultBeat)
		settle()
		if got := watcher.of(t, "a"); got.URL != "https://a.example.org" {
			t.Errorf("the first is alone again, and seen is %+v", got)
		}
	})
}

func TestBurstsAreAnnouncedTogether(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a := w.startMany("a")[0]
		events := w.coord.Subscribe(t.Context())
		for i := range 1000 {
			a.AgentHere(fmt.Sprint("agent-", i), 1, true)
			time.Sleep(time.Millisecond)
		}
		settle()
		if n := len(events); n < 2 || n > 24 { // a second has ten pauses; 1000 agents need two leases
			t.Errorf("%d events of a second's changes", n)
		}
	})
}

func TestLateDownOfAnOlderTunnelChangesNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		all := w.startMany("a", "b")
		all[0].AgentHere("agent", 1, true)
		all[0].AgentHere("agent", 2, true)
		all[0].AgentHere("agent", 1, false)
		settle()
		for _, e := range all {
			if got := ids(e.Homes("agent")); len(got) != 1 || got[0] != "a" {
				t.Errorf("%s: homes %v", e.id, got)
			}
		}
		all[0].AgentHere("agent", 2, false)
		settle()
		for _, e := range all {
			if got := ids(e.Homes("agent")); len(got) != 0 {
				t.Errorf("%s: homes %v", e.id, got)
			}
		}
	})
}

var _ store.Coord = (*faultyCoord)(nil)

// TestManyChangesAreToldTogether: an edge that goes takes many agents with it,
// which come to the others one by one.
func TestManyChangesAreToldTogether(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const agents = 200
		last := fmt.Sprintf("agent-%d", agents-1)
		var e *testEdge
		var lastTold atomic.Bool
		e = w.start("edge-1", func(o *Options) {
			count := o.Changed
			o.Changed = func() {
				count()
				lastTold.Store(len(e.Homes(last)) > 0)
			}
		})
		time.Sleep(time.Minute)
		before := e.changes()
		for i := range agents {
			e.AgentHere(fmt.Sprintf("agent-%d", i), 1, true)
			synctest.Wait()
			if i == 0 && e.changes() == before {
				t.Error("the first change is not told at once")
			}
			time.Sleep(time.Millisecond)
		}
		if n := e.changes() - before; n > int(agents*time.Millisecond/pause)+1 {
			t.Errorf("%d changes within %v were told by %d calls", agents, agents*time.Millisecond, n)
		}
		time.Sleep(pause)
		synctest.Wait()
		if !lastTold.Load() {
			t.Error("the last change is not told")
		}
	})
}
