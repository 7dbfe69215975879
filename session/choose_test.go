package session

import (
	"fmt"
	"testing"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// manyAgents is an edge that has tunnels of n agents, each with ten sessions, of
// three runtimes and in four zones.
func manyAgents(b *testing.B, n int, change func(*Options)) *Manager {
	b.Helper()
	o := Options{Store: newMemory(), Coord: store.NewLocal()}
	if change != nil {
		change(&o)
	}
	m := New(o)
	for i := range n {
		a, err := o.Store.EnrolAgent(b.Context(), &store.Agent{
			ID: fmt.Sprintf("0193b5c0-7c1e-7000-8000-%012d", i), Name: fmt.Sprintf("host-%d", i), KeyHash: make([]byte, 32), Capacity: 50, Weight: 1 + i%3,
			Labels:    map[string]string{"zone": fmt.Sprintf("z%d", i%4), "gpu": fmt.Sprint(i%10 == 0), "os": "debian"},
			Runtimes:  []store.Runtime{{Name: "desktop"}, {Name: fmt.Sprintf("r%d", i%3), Slots: 20}},
			CreatedAt: time.Now(),
		})
		if err != nil {
			b.Fatal(err)
		}
		m.AgentUp(a, 1, nil)
		for j := range 10 {
			m.track(&store.Session{ID: fmt.Sprintf("%d-%d", i, j), AgentID: a.ID, State: store.Running})
		}
	}
	if err := m.readRoster(b.Context()); err != nil {
		b.Fatal(err)
	}
	m.counted = true
	for i, a := range m.roster {
		a.link.up = !m.clustered() || i%2 == 0 // the others have their tunnels elsewhere
	}
	return m
}

// BenchmarkChoose picks one of 1,000 agents.
func BenchmarkChoose(b *testing.B) {
	clustered := func(o *Options) {
		o.Drives = func(*store.Session) bool { return true }
		o.Reachable = func(string) bool { return true }
	}
	for _, c := range []struct {
		name   string
		ask    store.Session
		change func(*Options)
	}{
		{"any", store.Session{}, nil},
		{"labels", store.Session{Labels: map[string]string{"zone": "z2", "os": "debian"}}, nil},
		{"runtime", store.Session{Runtime: "r1"}, nil},
		{"labels_and_runtime", store.Session{Runtime: "r1", Labels: map[string]string{"gpu": "true", "zone": "z2"}}, nil},
		{"round_robin", store.Session{}, func(o *Options) { o.Strategy = "round_robin" }},
		{"cluster", store.Session{}, clustered},
	} {
		b.Run(c.name, func(b *testing.B) {
			m := manyAgents(b, 1000, c.change)
			m.rosterRead = time.Now().Add(time.Hour) // the benchmark may take longer than a roster lives
			ctx := b.Context()
			b.ReportAllocs()
			for b.Loop() {
				agentID, why, err := m.choose(ctx, &c.ask, nil)
				if agentID == "" {
					b.Fatal(why, err)
				}
				m.settled(agentID)
			}
		})
	}
}
