package session

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
)

func TestAnAgentThatMovesFromEdgeToEdgeIsNeverAway(t *testing.T) {
	inCluster(t, 3, nil, func(t *testing.T, c *cluster) {
		h := c.join("a", c.edges[:1])
		s := c.create(c.edges[2])
		watch := c.edges[2].own.Subscribe(t.Context())
		for i := range 7 {
			from, to := c.edges[i%3], c.edges[(i+1)%3]
			c.connect(h, to)
			c.drop(h, from, false)
			pass(time.Minute)
			c.want(s.ID, store.Running, "")
		}
		for len(watch) > 0 {
			if e := <-watch; e.Type == "agent" && e.State == string(store.AgentOffline) {
				t.Errorf("told that it is offline")
			}
		}
		c.checkQuiet()
	})
}

// TestAnEdgeThatCantReachTheOthersDoesNotLoseTheirSessions, nor do they and it
// write against each other without an end.
func TestAnEdgeThatCantReachTheOthersDoesNotLoseTheirSessions(t *testing.T) {
	inCluster(t, 3, nil, func(t *testing.T, c *cluster) {
		h := c.join("a", c.edges[:1], func(a *store.Agent) { a.Capacity = 20 })
		for range 12 { // the edge takes itself for the driver of some of them
			c.create(c.edges[0])
		}
		pass(connectGrace)
		c.mu.Lock()
		c.edges[2].blind = true
		c.mu.Unlock()
		c.rethink()
		before := c.store.(*memory).written()
		const long = time.Hour
		pass(long)
		writes := c.store.(*memory).written() - before
		if most := 12*int(long/doubt)*2 + int(long/beatGrain); writes == 0 || writes > most {
			t.Errorf("%d writes in %v, want some and at most %d", writes, long, most)
		}
		c.mu.Lock()
		c.edges[2].blind = false
		c.mu.Unlock()
		c.rethink()
		pass(time.Minute)
		if got := len(c.runs(h)); got != 12 {
			t.Errorf("%d of 12 are left", got)
		}
		c.checkQuiet()
	})
}

func TestALostAgentsSessions(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprintf("restart %v", restart), func(t *testing.T) {
			inCluster(t, 3, func(o *Options) { o.RestartLost = restart }, func(t *testing.T, c *cluster) {
				lost := c.join("a", c.edges[:2])
				s := c.create(c.edges[2])
				watching := c.edges[2]
				watching.m.Viewers(s.ID, 1)
				other := c.join("b", c.edges[1:])

				pass(connectGrace)
				c.dropAll(lost)
				pass(doubt)
				c.want(s.ID, store.Unreachable, "its agent")
				pass(5 * time.Minute)
				c.connect(lost, c.edges[2]) // back first: it goes on
				c.want(s.ID, store.Running, "")
				if cut := watching.cuts(); len(cut) > 0 {
					t.Errorf("viewers cut: %v", cut)
				}

				c.dropAll(lost)
				pass(doubt + 10*time.Minute - time.Second)
				c.want(s.ID, store.Unreachable, "its agent")
				pass(2 * time.Second)
				if restart {
					c.want(s.ID, store.Running, "")
					if got := c.runs(other); !slices.Equal(got, []string{s.ID}) {
						t.Errorf("the other agent runs %v", got)
					}
				} else {
					c.want(s.ID, store.Failed, "did not come back within 10m0s")
				}
				if got, want := watching.cuts(), []string{s.ID + " agent_offline"}; !slices.Equal(got, want) {
					t.Errorf("viewers cut: %v, want %v", got, want)
				}
				c.connect(lost, c.edges[0]) // what it brings back is nobody's any more
				pass(time.Second)
				if got := c.runs(lost); len(got) != 0 {
					t.Errorf("the lost agent still runs %v", got)
				}
				c.checkQuiet()
			})
		})
	}
}

// TestALostSessionThatWaitsForRoomGoesOnWhereItWas when that agent is back first.
func TestALostSessionThatWaitsForRoomGoesOnWhereItWas(t *testing.T) {
	for back := range 3 {
		inCluster(t, 3, func(o *Options) { o.RestartLost = true }, func(t *testing.T, c *cluster) {
			h := c.join("a", c.edges[:1])
			s := c.create(c.edges[2])
			if err := c.edges[1].m.DrainAgent(t.Context(), h.agent.ID); err != nil { // it gets nothing new
				t.Fatal(err)
			}
			c.dropAll(h)
			pass(11 * time.Minute)
			c.want(s.ID, store.Pending, "no agent can take this session")
			c.connect(h, c.edges[back])
			pass(connectGrace)
			c.want(s.ID, store.Running, "")
			if len(c.runs(h)) != 1 || c.edges[0].starts[s.ID]+c.edges[1].starts[s.ID]+c.edges[2].starts[s.ID] != 1 {
				t.Errorf("it was started again: the agent runs %v", c.runs(h))
			}
			c.checkQuiet()
		})
	}
}

// TestAnAgentsLastWordsCount though the edge that heard them could not write them
// down, and the agent has gone meanwhile.
func TestAnAgentsLastWordsCount(t *testing.T) {
	for heard := range 3 {
		synctest.Test(t, func(t *testing.T) {
			shared := openStore(t)
			c := &cluster{t: t, store: shared, hosts: map[string]*hostInCluster{}}
			var fuses []*fuse
			for i := range 3 {
				f := &fuse{Store: shared, left: -1}
				fuses = append(fuses, f)
				c.start(fmt.Sprintf("edge-%d", i), func(o *Options) { o.Store = f })
			}
			synctest.Wait()
			h := c.join("a", c.edges[heard:heard+1])
			s := c.create(c.edges[0])
			pass(connectGrace)
			fuses[heard].mend(0)
			c.say(h, s.ID, ObservedEnded, "its user logged out")
			synctest.Wait()
			c.dropAll(h)
			pass(10 * time.Second)
			fuses[heard].mend(-1)
			pass(time.Minute)
			c.want(s.ID, store.Terminated, "its user logged out")
			c.close(t)
		})
	}
}

func TestAnAgentThatLeavesForGoodIsBelievedWhicheverEdgeHearsIt(t *testing.T) {
	for last := range 3 {
		inCluster(t, 3, nil, func(t *testing.T, c *cluster) {
			h := c.join("a", []*edge{c.edges[last]})
			s := c.create(c.edges[0])
			pass(time.Minute)
			c.drop(h, c.edges[last], true)
			c.want(s.ID, store.Failed, "its agent left")
		})
	}
}

func TestAnAgentIsRemovedWhicheverEdgeIsAsked(t *testing.T) {
	for asked := range 3 {
		inCluster(t, 3, nil, func(t *testing.T, c *cluster) {
			h := c.join("a", c.edges[:2])
			s := c.create(c.edges[2])
			if err := c.edges[asked].m.DeleteAgent(t.Context(), h.agent.ID); err != nil {
				t.Fatal(err)
			}
			pass(farewell)
			c.want(s.ID, store.Terminated, "its agent was removed")
			if _, err := c.store.Agent(t.Context(), h.agent.ID); store.CodeOf(err) != store.NotFound {
				t.Errorf("the agent is still stored: %v", err)
			}
			for _, e := range c.edges {
				if !slices.Contains(e.dropped, h.agent.ID) {
					t.Errorf("%s did not end its tunnel", e.id)
				}
			}
		})
	}
}

func TestAnAgentThatIsRemovedWhileEventsAreLostIsDisconnected(t *testing.T) {
	inCluster(t, 2, nil, func(t *testing.T, c *cluster) {
		stays, goes := c.join("a", c.edges[1:]), c.join("b", c.edges[1:])
		pass(time.Minute)
		c.mu.Lock()
		c.deaf = true
		c.mu.Unlock()
		if err := c.edges[0].m.DeleteAgent(t.Context(), goes.agent.ID); err != nil {
			t.Fatal(err)
		}
		pass(2 * rosterEvery)
		if dropped := c.edges[1].dropped; !slices.Contains(dropped, goes.agent.ID) || slices.Contains(dropped, stays.agent.ID) {
			t.Errorf("disconnected are %q, want %q alone", dropped, goes.agent.ID)
		}
	})
}

func TestTheReasonOfARestartTellsWhy(t *testing.T) {
	l := limits{restartLost: true}
	if st := l.lost(tellOffline, "its agent left"); st.to != store.Pending || !strings.Contains(st.reason, "its agent left; it is started again") {
		t.Errorf("%+v", st)
	}
}

// TestARemovedAgentThatIsAwayIsGoneAtOnce, also where this edge had lost it before it
// got its sessions, by another one.
func TestARemovedAgentThatIsAwayIsGoneAtOnce(t *testing.T) {
	inCluster(t, 2, nil, func(t *testing.T, c *cluster) {
		h := c.join("a", c.edges)
		c.drop(h, c.edges[0], false)
		pass(time.Second)
		s := c.create(c.edges[0])
		c.want(s.ID, store.Running, "")
		c.drop(h, c.edges[1], false)
		pass(time.Minute)
		c.want(s.ID, store.Unreachable, "its agent is away")
		if err := c.edges[0].m.DeleteAgent(t.Context(), h.agent.ID); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		c.want(s.ID, store.Terminated, "its agent was removed")
		if _, err := c.store.Agent(t.Context(), h.agent.ID); store.CodeOf(err) != store.NotFound {
			t.Errorf("the agent: %v", err)
		}
	})
}

// TestADesktopThatNobodyWantsEndsOnceTheEdgesAgree: its agent came back to an edge
// that took another one for its driver.
func TestADesktopThatNobodyWantsEndsOnceTheEdgesAgree(t *testing.T) {
	inCluster(t, 2, nil, func(t *testing.T, c *cluster) {
		h := c.join("a", c.edges[:1])
		s := c.create(c.edges[0])
		for c.edges[0].drives(&store.Session{ID: s.ID}) {
			s = c.create(c.edges[0])
		}
		c.drop(h, c.edges[0], false)
		if _, err := c.edges[0].m.Stop(t.Context(), s.ID); err != nil {
			t.Fatal(err)
		}
		pass(11 * time.Minute)
		c.want(s.ID, store.Terminated, "did not come back")
		c.mu.Lock()
		c.edges[0].blind = true
		c.mu.Unlock()
		c.connect(h, c.edges[0])
		if got := c.runs(h); !slices.Contains(got, s.ID) {
			t.Fatal("it has ended before")
		}
		c.mu.Lock()
		c.edges[0].blind = false
		c.mu.Unlock()
		c.rethink()
		pass(stopAgain + time.Second)
		if got := c.runs(h); slices.Contains(got, s.ID) {
			t.Errorf("the agent still runs %v", got)
		}
	})
}
