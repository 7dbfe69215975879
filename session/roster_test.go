package session

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// countedStore counts the reads of all agents and of all counts.
type countedStore struct {
	store.Store
	agents, counts atomic.Int32
	away           atomic.Bool // reads of all agents fail
}

func (s *countedStore) Agents(ctx context.Context) ([]*store.Agent, error) {
	s.agents.Add(1)
	if s.away.Load() {
		return nil, store.Errorf(store.Unavailable, "the database does not answer")
	}
	return s.Store.Agents(ctx)
}

func (s *countedStore) ActiveSessions(ctx context.Context) (map[string]map[string]int, error) {
	s.counts.Add(1)
	return s.Store.ActiveSessions(ctx)
}

// inCountedWorld is inWorld with a countedStore.
func inCountedWorld(t *testing.T, test func(t *testing.T, w *world, s *countedStore)) {
	synctest.Test(t, func(t *testing.T) {
		s := &countedStore{Store: openStore(t)}
		w := newWorld(t, s)
		w.run()
		synctest.Wait()
		test(t, w, s)
		w.end()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// behind stores a session on the agent as another edge does whose events are lost.
func (w *world) behind(h *host) *store.Session {
	w.t.Helper()
	id := uuid.Must(uuid.NewV7()).String()
	s, _, err := w.store.AdmitSession(w.t.Context(), &store.Session{ID: id, AgentID: h.agent.ID, State: store.Running, Desired: store.Running}, "", store.Admission{})
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func TestAPlacementReadsNeitherAgentsNorCounts(t *testing.T) {
	inCountedWorld(t, func(t *testing.T, w *world, s *countedStore) {
		hosts := []*host{w.join("a"), w.join("b"), w.join("c")}
		agents, counts := s.agents.Load(), s.counts.Load()
		for range 30 {
			w.create()
		}
		if s.agents.Load() != agents || s.counts.Load() != counts {
			t.Errorf("30 placements read the agents %d times and the counts %d times", s.agents.Load()-agents, s.counts.Load()-counts)
		}
		for _, h := range hosts {
			if n := len(w.runs(h)); n != 10 {
				t.Errorf("%s runs %d, want 10: the load is not balanced", h.agent.Name, n)
			}
		}
	})
}

func TestAChoiceThatIsOutOfDateIsMadeAgain(t *testing.T) {
	one := func(a *store.Agent) { a.Capacity = 1 }
	for name, change := range map[string]func(w *world, a *host){
		"it has got a session": func(w *world, a *host) { w.behind(a) },
		"it is drained":        func(w *world, a *host) { w.alter(a, func(a *store.Agent) { a.Draining = true }) },
		"it has another label": func(w *world, a *host) {
			w.alter(a, func(a *store.Agent) { a.Labels = map[string]string{"zone": "attic"} })
		},
		"it lost its runtime": func(w *world, a *host) {
			w.alter(a, func(a *store.Agent) { a.Runtimes = []store.Runtime{{Name: "other"}} })
		},
		"it was deleted": func(w *world, a *host) { _ = w.store.DeleteAgent(w.t.Context(), a.agent.ID) },
		"its runtime lost a place": func(w *world, a *host) {
			w.behind(a)
			w.alter(a, func(a *store.Agent) { a.Capacity, a.Runtimes[0].Slots = 9, 1 })
		},
	} {
		t.Run(name, func(t *testing.T) {
			inCountedWorld(t, func(t *testing.T, w *world, _ *countedStore) {
				inLab := func(a *store.Agent) { a.Labels = map[string]string{"zone": "lab"} }
				a, b := w.join("a", one, inLab), w.join("b", one, inLab)
				change(w, a)
				ask := &store.Session{Runtime: "desktop", Labels: map[string]string{"zone": "lab"}}
				s, err := w.m.Create(t.Context(), ask, "")
				if err != nil || s.AgentID != b.agent.ID {
					t.Fatalf("placed at %+v, %v; want %s", s, err, b.agent.ID)
				}
				if _, err := w.m.Create(t.Context(), ask, ""); store.CodeOf(err) != store.NoAgent {
					t.Errorf("one more: %v", err)
				}
			})
		})
	}
}

func (w *world) alter(h *host, change func(*store.Agent)) {
	w.t.Helper()
	if _, err := w.store.UpdateAgent(w.t.Context(), h.agent.ID, func(a *store.Agent) error { change(a); return nil }); err != nil {
		w.t.Fatal(err)
	}
}

func TestRoomThatMemoryDoesNotKnowIsFound(t *testing.T) {
	inCountedWorld(t, func(t *testing.T, w *world, _ *countedStore) {
		a := w.join("a", func(a *store.Agent) { a.Capacity = 1 })
		s := w.create()
		if _, err := w.store.UpdateSession(t.Context(), s.ID, func(s *store.Session) error { s.State = store.Failed; return nil }); err != nil {
			t.Fatal(err)
		}
		w.mu.Lock()
		delete(a.running, s.ID)
		w.mu.Unlock()
		if w.m.Active(a.agent.ID) != 1 {
			t.Fatal("the edge knows already")
		}
		if got := w.create(); got.AgentID != a.agent.ID {
			t.Errorf("placed at %q", got.AgentID)
		}
	})
}

func TestTheRosterFollowsTheStore(t *testing.T) {
	inCountedWorld(t, func(t *testing.T, w *world, s *countedStore) {
		a := w.join("a")
		w.drop(a)
		w.alter(a, func(a *store.Agent) { a.Capacity = 3 })
		pass(rosterEvery + rosterPause)
		w.m.mu.Lock()
		if n, c := len(w.m.roster), w.m.roster[0].row.Capacity; n != 1 || c != 3 {
			t.Errorf("%d agents, a capacity of %d", n, c)
		}
		w.m.mu.Unlock()
		if err := w.store.DeleteAgent(t.Context(), a.agent.ID); err != nil {
			t.Fatal(err)
		}
		pass(rosterEvery + rosterPause)
		w.m.mu.Lock()
		defer w.m.mu.Unlock()
		if len(w.m.roster) != 0 {
			t.Errorf("a deleted agent is on the roster")
		}
	})
}

func TestWithoutTheDatabaseMemoryIsChosenByForAWhile(t *testing.T) {
	inCountedWorld(t, func(t *testing.T, w *world, s *countedStore) {
		w.join("a", func(a *store.Agent) { a.Capacity = 100 })
		s.away.Store(true)
		w.create()
		pass(rosterLife)
		_, err := w.m.Create(t.Context(), &store.Session{}, "")
		if store.CodeOf(err) != store.Unavailable {
			t.Errorf("after %s without a read: %v", rosterLife, err)
		}
		s.away.Store(false)
		pass(rosterEvery + rosterPause)
		before := s.agents.Load()
		w.create()
		if s.agents.Load() != before {
			t.Error("memory is not chosen by again")
		}
	})
}

// TestARowThatIsKnownLaterStays: the read of all agents began before it.
func TestARowThatIsKnownLaterStays(t *testing.T) {
	m := New(Options{Store: newMemory(), Coord: store.NewLocal()})
	old := []*store.Agent{{ID: "a", Capacity: 1}, {ID: "gone", Capacity: 1}}
	m.setRoster(old, 0)
	m.know(&store.Agent{ID: "a", Capacity: 2})
	m.know(&store.Agent{ID: "b", Capacity: 2})
	m.setRoster([]*store.Agent{{ID: "a", Capacity: 1}}, 0) // read before a and b were known
	for id, want := range map[string]int{"a": 2, "b": 2} {
		if a := m.members[id]; a == nil || a.row == nil || a.row.Capacity != want {
			t.Errorf("%s: %+v", id, a)
		}
	}
	if len(m.roster) != 2 || m.members["gone"] != nil {
		t.Errorf("%d on the roster, and who is gone: %v", len(m.roster), m.members["gone"])
	}
	m.setRoster([]*store.Agent{{ID: "a", Capacity: 3}}, m.rosterVersion)
	if len(m.roster) != 1 || m.members["a"].row.Capacity != 3 || m.members["b"] != nil {
		t.Errorf("a later read: %d on the roster, %+v, %v", len(m.roster), m.members["a"].row, m.members["b"])
	}
}

// TestEdgesThatHearNothingOverbookNothing: each goes by counts that are wrong.
func TestEdgesThatHearNothingOverbookNothing(t *testing.T) {
	inCluster(t, 3, nil, func(t *testing.T, c *cluster) {
		c.setDeaf(true)
		hosts := []*hostInCluster{
			c.join("a", c.edges, func(a *store.Agent) { a.Capacity = 20 }),
			c.join("b", c.edges, func(a *store.Agent) { a.Capacity, a.Runtimes = 100, []store.Runtime{{Name: "desktop", Slots: 15}} }),
		}
		time.Sleep(rosterEvery + rosterPause)
		synctest.Wait()
		for _, e := range c.edges {
			e.m.mu.Lock()
			if !e.m.rosterUsable() || len(e.m.roster) != 2 {
				t.Errorf("%s does not choose by memory", e.id)
			}
			e.m.mu.Unlock()
		}
		taken, refused := c.createAtOnce(60, store.NoAgent, func(int) *store.Session { return &store.Session{} })
		pass(time.Minute)
		if taken != 35 || refused != 25 {
			t.Errorf("%d taken, %d refused; want 35 and 25", taken, refused)
		}
		if a, b := len(c.runs(hosts[0])), len(c.runs(hosts[1])); a != 20 || b != 15 {
			t.Errorf("they run %d and %d, want 20 and 15", a, b)
		}
	})
}
