package cluster

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
)

func nodeNames(n int) []string {
	var names []string
	for i := range n {
		names = append(names, fmt.Sprint("edge-", i+1))
	}
	return names
}

// wantedOf is the wanted homes of 1,000 agents, on which all edges agree.
func wantedOf(t *testing.T, edges []*testEdge) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for i := range 1000 {
		agent := fmt.Sprint("agent-", i)
		all[agent] = ids(edges[0].WantedHomes(agent))
		for _, e := range edges[1:] {
			if got := ids(e.WantedHomes(agent)); !slices.Equal(got, all[agent]) {
				t.Fatalf("%s: %s wants %v for it, %s %v", agent, edges[0].id, all[agent], e.id, got)
			}
		}
	}
	return all
}

func TestWantedHomesAreBalanced(t *testing.T) {
	for _, n := range []int{1, 2, 3, 5, 8} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				edges := w.startMany(nodeNames(n)...)
				share := map[string]int{}
				for _, homes := range wantedOf(t, edges) {
					if len(homes) != min(2, n) || n > 1 && homes[0] == homes[1] {
						t.Fatalf("homes %v", homes)
					}
					for _, id := range homes {
						share[id]++
					}
				}
				mean := float64(1000*min(2, n)) / float64(n)
				for _, e := range edges {
					if got := float64(share[e.id]); got < 0.8*mean || got > 1.2*mean {
						t.Errorf("%s has %v agents, the mean is %v", e.id, got, mean)
					}
				}
			})
		})
	}
}

// TestOnlyTheShareOfANodeMoves when it comes or leaves.
func TestOnlyTheShareOfANodeMoves(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		edges := w.startMany(nodeNames(4)...)
		four := wantedOf(t, edges)
		newer := w.start("edge-5")
		settle()
		five := wantedOf(t, append(slices.Clone(edges), newer))
		moved := 0
		for agent, homes := range five {
			for _, id := range homes {
				if id != "edge-5" && !slices.Contains(four[agent], id) {
					t.Errorf("%s moves from %v to %v", agent, four[agent], homes)
				}
				if id == "edge-5" {
					moved++
				}
			}
		}
		if moved < 320 || moved > 480 { // 2/5 of 1,000 within a fifth
			t.Errorf("the new node gets %d of 1,000", moved)
		}
		if err := newer.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		settle()
		for agent, homes := range wantedOf(t, edges) {
			if !slices.Equal(homes, four[agent]) {
				t.Errorf("%s wants %v, before the fifth came %v", agent, homes, four[agent])
			}
		}
	})
}

// TestExactlyOneDrives in a settled view, with and without a tunnel to the agent,
// and after a node has gone.
func TestExactlyOneDrives(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		edges := w.startMany(nodeNames(3)...)
		for i := range 300 {
			agent := fmt.Sprint("agent-", i)
			for _, home := range edges[0].WantedHomes(agent) {
				for _, e := range edges {
					if e.id == home.ID && i%3 != 0 { // every third has no tunnel
						e.AgentHere(agent, 1, true)
					}
				}
			}
		}
		settle()
		check := func(alive []*testEdge) {
			t.Helper()
			share := map[string]int{}
			for i := range 300 {
				agent := fmt.Sprint("agent-", i)
				if i%10 == 0 {
					agent = "" // not placed yet
				}
				var drivers []string
				for _, e := range alive {
					if e.Drives(fmt.Sprint("session-", i), agent) {
						drivers = append(drivers, e.id)
						share[e.id]++
					}
				}
				if len(drivers) != 1 {
					t.Fatalf("session %d of agent %q is driven by %v", i, agent, drivers)
				}
				if homes := alive[0].Homes(agent); len(homes) > 0 && homes[0].ID != drivers[0] {
					t.Errorf("session %d is driven by %v, its agent's homes are %v", i, drivers, ids(homes))
				}
			}
			for _, e := range alive {
				if share[e.id] < 300/len(alive)/2 {
					t.Errorf("%s drives %d of 300", e.id, share[e.id])
				}
			}
		}
		check(edges)
		edges[0].kill()
		time.Sleep(4 * beatsOfLease * defaultBeat)
		synctest.Wait()
		check(edges[1:])
	})
}

func TestLoadIsToldAndIsNoChange(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		all := w.startMany("a", "b")
		settle()
		before := all[1].changes()
		w.mu.Lock()
		all[0].loads, all[0].max = 50, 100
		w.mu.Unlock()
		all[0].Announce()
		settle()
		if n := all[1].of(t, "a"); n.Streams != 50 || n.MaxStreams != 100 {
			t.Errorf("b was told of %d viewers of %d", n.Streams, n.MaxStreams)
		}
		if got := all[1].changes(); got != before {
			t.Error("load is told as a change")
		}
	})
}

// TestMoreAgentsThanALeaseHoldsAreInSeveral.
func TestMoreAgentsThanALeaseHoldsAreInSeveral(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		all := w.startMany("a", "b")
		var agents []string
		for i := range 2000 {
			id := uuid.NewString()
			agents = append(agents, id)
			all[0].AgentHere(id, uint64(i+1), true)
		}
		settle()
		seen := func() (n int) {
			for _, id := range agents {
				n += len(all[1].Homes(id))
			}
			return n
		}
		if n := seen(); n != 2000 {
			t.Errorf("b knows of %d", n)
		}
		if list, _ := w.coord.Leases(t.Context(), leaseKind); len(list) < 5 {
			t.Errorf("%d leases", len(list))
		}
		for i, id := range agents[10:] {
			all[0].AgentHere(id, uint64(i+11), false)
		}
		settle()
		if n := seen(); n != 10 {
			t.Errorf("b knows of %d, 10 are left", n)
		}
		all[1].sees(t, "a", "b")
	})
}

func BenchmarkDrives(b *testing.B) {
	c := New(Options{Secret: testSecret, Self: func() Node { return Node{ID: "a"} }})
	c.AgentHere("agent", 1, true)
	for _, id := range []string{"b", "c", "d", "e"} {
		c.peers[id] = &peer{head: announcement{Node: id}, agents: map[string]int{"agent": 1}}
	}
	b.ReportAllocs()
	for b.Loop() {
		c.Drives("session", "agent")
	}
}
