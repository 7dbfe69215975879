package cluster

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// wantsAgents tells whether the edge would send any agent to the node.
func (e *testEdge) wantsAgents(node string) bool {
	for i := range 100 {
		if slices.Contains(ids(e.WantedHomes(fmt.Sprint("agent-", i))), node) {
			return true
		}
	}
	return false
}

// TestADrainedEdgeStays, also when the Coord loses all; only one that leaves is
// gone with its lease.
func TestADrainedEdgeStays(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		all := w.startMany("a", "b", "c")
		all[0].AgentHere("agent", 1, true)
		all[0].Drained([]string{"a"}) // the others have not read the store yet
		if err := all[0].Tell(t.Context()); err != nil {
			t.Fatal(err)
		}
		settle()
		for _, e := range all {
			if n := e.of(t, "a"); !n.Draining || n.Leaving {
				t.Errorf("%s sees %+v", e.id, n)
			}
			if e.wantsAgents("a") {
				t.Errorf("%s sends agents to a", e.id)
			}
		}
		w.flush()
		for range 25 { // a look at every tenth of a second
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
			if got := ids(all[1].Homes("agent")); !slices.Equal(got, []string{"a"}) {
				t.Fatalf("homes %v, want a: it is still there", got)
			}
		}
		all[0].Drained(nil)
		settle()
		for _, e := range all {
			if e.of(t, "a").Draining || !e.wantsAgents("a") {
				t.Errorf("%s does not know that a is back: %+v", e.id, e.of(t, "a"))
			}
		}
	})
}

// TestWithoutTheCoordADrainIsKnown: by what each edge reads in the store.
func TestWithoutTheCoordADrainIsKnown(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		all := w.startMany("a", "b")
		w.setAway(true)
		before := all[1].changes()
		for range 3 {
			for _, e := range all {
				e.Drained([]string{"a", "nobody"})
			}
		}
		settle()
		for _, e := range all {
			if !e.of(t, "a").Draining || e.of(t, "b").Draining || e.wantsAgents("a") {
				t.Errorf("%s sees %+v", e.id, e.Nodes())
			}
		}
		if n := all[1].changes() - before; n != 1 {
			t.Errorf("%d changes were told", n)
		}
		for _, e := range all {
			e.Drained([]string{})
		}
		settle()
		if all[1].of(t, "a").Draining || !all[1].wantsAgents("a") {
			t.Errorf("b sees %+v", all[1].Nodes())
		}
	})
}

// TestWithoutTheCoordAResumedEdgeIsBack, although its lease said last that it is
// drained.
func TestWithoutTheCoordAResumedEdgeIsBack(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		all := w.startMany("a", "b", "c")
		for _, e := range all {
			e.Drained([]string{"a"})
		}
		if err := all[2].Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		settle()
		w.setAway(true)
		time.Sleep(2 * defaultBeat)
		settle()
		if !all[1].of(t, "a").Draining {
			t.Error("b forgets that a is drained when the Coord goes")
		}
		for _, e := range all {
			e.Drained(nil)
		}
		settle()
		if all[1].of(t, "a").Draining || !all[1].wantsAgents("a") {
			t.Errorf("b sees %+v", all[1].Nodes())
		}
		if !all[1].of(t, "c").Draining || all[1].wantsAgents("c") {
			t.Errorf("who leaves is not back: %+v", all[1].Nodes())
		}
		w.setAway(false)
		time.Sleep(2 * defaultBeat)
		settle()
		if all[1].of(t, "a").Draining {
			t.Errorf("b sees %+v", all[1].Nodes())
		}
	})
}

// TestWhoTellsIsAnsweredByItsOwnAnnouncement, not by one that had begun before.
func TestWhoTellsIsAnsweredByItsOwnAnnouncement(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		all := w.startMany("a", "b")
		for i := range 20 {
			want := i % 2
			w.mu.Lock()
			all[0].loads = want
			w.mu.Unlock()
			if err := all[0].Tell(t.Context()); err != nil {
				t.Fatal(err)
			}
			settle()
			if n := all[1].of(t, "a").Streams; n != want {
				t.Fatalf("b knows of %d streams, a has told %d", n, want)
			}
		}
		w.setAway(true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := all[0].Tell(ctx); err != context.DeadlineExceeded {
			t.Errorf("error %v", err)
		}
	})
}
