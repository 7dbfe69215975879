package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// fence ends what runs at an agent whose lease is over, as the agent does.
func (c *cluster) fence(h *hostInCluster) {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(h.running)
}

// TestAStartWhoseAckIsLostIsAtOnePlace: the agent is cut off as it is told to start
// a session, before it takes it or after.
func TestAStartWhoseAckIsLostIsAtOnePlace(t *testing.T) {
	for _, restart := range []bool{false, true} {
		for _, taken := range []bool{false, true} {
			for _, back := range []time.Duration{3 * time.Second, 40 * time.Second, never} {
				t.Run(fmt.Sprintf("restart %v, taken %v, back after %v", restart, taken, back), func(t *testing.T) {
					inCluster(t, 3, func(o *Options) { o.RestartLost = restart }, func(t *testing.T, c *cluster) {
						loseAck(t, c, restart, taken, back)
					})
				})
			}
		}
	}
}

const never = 24 * time.Hour

func loseAck(t *testing.T, c *cluster, restart, taken bool, back time.Duration) {
	h := c.join("a", c.edges[:2])
	h.slow = 2 * time.Second
	lost := make(chan struct{})
	h.atStart = func(_ *edge, began bool) error {
		if began != taken {
			return nil
		}
		<-lost
		return errors.New("the tunnel has ended")
	}
	s := c.create(c.edges[2])
	other := c.join("b", c.edges[1:])
	c.dropAll(h)
	close(lost)
	h.atStart = nil
	pass(doubt + time.Second)
	if got := c.runs(other); len(got) > 0 {
		t.Fatalf("started elsewhere, too: %v", got)
	}
	if back < never {
		pass(back)
		c.connect(h, c.edges[0])
		pass(time.Minute)
		c.want(s.ID, store.Running, "")
		if got := c.runs(h); !slices.Equal(got, []string{s.ID}) {
			t.Errorf("its agent runs %v", got)
		}
	} else {
		pass(10*time.Minute - leaseMargin)
		if restart {
			c.fence(h)
			pass(leaseMargin + connectGrace)
			c.want(s.ID, store.Running, "")
		} else {
			c.want(s.ID, store.Failed, "whether it has started the desktop is not known")
		}
		c.connect(h, c.edges[0])
		pass(time.Minute)
	}
	if len(c.twice) > 0 {
		t.Errorf("at two agents at once: %v", c.twice)
	}
	c.checkQuiet()
}

// TestWhoTakesOverTellsTheAgentAgain: the edge that drove the session died after it
// had written that it is starting, with its command sent or not.
func TestWhoTakesOverTellsTheAgentAgain(t *testing.T) {
	for _, sent := range []bool{false, true} {
		inCluster(t, 3, nil, func(t *testing.T, c *cluster) {
			h := c.join("a", c.edges)
			c.join("b", c.edges)
			dead := make(chan struct{})
			h.slow = time.Minute / 2
			h.atStart = func(e *edge, began bool) error {
				if began == sent && e.id == rankedFirst(c, h).id {
					<-dead
					return errors.New("this edge is dead")
				}
				return nil
			}
			s := c.create(c.edges[2], func(s *store.Session) { s.Name = "" })
			if c.session(s.ID).AgentID != h.agent.ID {
				t.Fatal("it is not at the agent that the test is about")
			}
			driver := c.driver(s.ID)
			c.mu.Lock()
			h.atStart = nil
			driver.dead = true
			delete(h.homes, driver)
			c.mu.Unlock()
			close(dead)
			c.kill(driver)
			pass(time.Minute)
			c.want(s.ID, store.Running, "")
			if len(c.twice) > 0 {
				t.Errorf("at two agents at once: %v", c.twice)
			}
			c.checkQuiet()
		})
	}
}

// rankedFirst is the edge that drives the agent's sessions.
func rankedFirst(c *cluster, h *hostInCluster) *edge {
	for _, e := range c.living() {
		if e.drives(&store.Session{AgentID: h.agent.ID}) {
			return e
		}
	}
	return nil
}

// TestALateStartDoesNothing: the edge that had it to send stood still while another
// one was refused by the agent, or saw it leave, and placed the session elsewhere.
func TestALateStartDoesNothing(t *testing.T) {
	for _, left := range []bool{false, true} {
		t.Run(fmt.Sprintf("left %v", left), func(t *testing.T) {
			inCluster(t, 3, nil, func(t *testing.T, c *cluster) {
				h := c.join("a", c.edges[:2])
				goesOn := make(chan struct{})
				still := rankedFirst(c, h)
				h.atStart = func(e *edge, began bool) error {
					if e == still && !began {
						<-goesOn
					}
					return nil
				}
				s := c.create(c.edges[2])
				other := c.join("b", c.edges[2:])
				c.mu.Lock()
				still.dead = true // as the others see it
				c.mu.Unlock()
				if left {
					for _, e := range c.edges[:2] {
						if e != still {
							c.drop(h, e, true)
						}
					}
					c.mu.Lock()
					delete(h.homes, still)
					c.mu.Unlock()
				} else {
					c.mu.Lock()
					h.refusing = store.Errorf(store.NoAgent, "full here")
					c.mu.Unlock()
				}
				c.rethink()
				pass(2 * time.Second)
				if got := c.runs(other); !slices.Equal(got, []string{s.ID}) {
					t.Fatalf("the other agent runs %v", got)
				}
				c.mu.Lock()
				h.refusing, h.atStart, still.dead = nil, nil, false
				c.mu.Unlock()
				if left { // it is back, as another process
					c.connect(h, still)
				}
				close(goesOn)
				pass(time.Minute)
				if len(c.twice) > 0 {
					t.Errorf("at two agents at once: %v", c.twice)
				}
				c.want(s.ID, store.Running, "")
				if got := c.runs(other); !slices.Equal(got, []string{s.ID}) {
					t.Errorf("the other agent runs %v", got)
				}
				c.checkQuiet()
			})
		})
	}
}

// standsStill has one of the edges stand still at its next write, done or not, until
// goesOn is closed.
func standsStill(f *fuse, done bool) (goesOn chan struct{}) {
	goesOn = make(chan struct{})
	f.at = func(now bool) {
		if now == done {
			f.mend(-1)
			<-goesOn
		}
	}
	f.mend(1)
	return goesOn
}

func withFuses(fuses map[string]*fuse) func(o *Options) {
	return func(o *Options) {
		fuses[o.Node] = &fuse{Store: o.Store, left: -1}
		o.Store = fuses[o.Node]
	}
}

// TestAnEdgeThatStoodStillGoesByOldTunnelsOnly: it had written that a session is
// starting, and the agent left and is back when it goes on.
func TestAnEdgeThatStoodStillGoesByOldTunnelsOnly(t *testing.T) {
	fuses := map[string]*fuse{}
	inCluster(t, 3, withFuses(fuses), func(t *testing.T, c *cluster) {
		h := c.join("a", c.edges[:1])
		goesOn := standsStill(fuses["edge-0"], true)
		s := c.create(c.edges[2])
		c.want(s.ID, store.Starting, "")
		other := c.join("b", c.edges[2:])
		c.mu.Lock()
		c.edges[0].dead = true // as the others see it
		c.mu.Unlock()
		c.rethink()
		c.mu.Lock()
		c.edges[0].dead = false
		c.mu.Unlock()
		if _, _, err := c.edges[1].m.update(t.Context(), s.ID, func(row *store.Session) error { // it has said good-bye to another edge
			row.State, row.AgentID = store.Pending, other.agent.ID
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		c.connect(h, c.edges[0])
		c.edges[1].m.queue.kick(s.ID)
		pass(10 * time.Second)
		close(goesOn)
		pass(time.Minute)
		c.want(s.ID, store.Running, "")
		if got := c.runs(other); !slices.Equal(got, []string{s.ID}) || len(c.twice) > 0 {
			t.Errorf("the other agent runs %v, at two agents at once: %v", got, c.twice)
		}
		c.checkQuiet()
	})
}

// TestARefusalCountsForItsOwnAttempt: the edge that hears of it stood still, and the
// agent has taken the next one since.
func TestARefusalCountsForItsOwnAttempt(t *testing.T) {
	inCluster(t, 3, nil, func(t *testing.T, c *cluster) {
		h := c.join("a", c.edges[:2])
		h.slow = 30 * time.Second
		h.refusing = store.Errorf(store.NoAgent, "full here")
		still, goesOn := rankedFirst(c, h), make(chan struct{})
		h.atStart = func(e *edge, began bool) error {
			if e == still && !began {
				<-goesOn
			}
			return nil
		}
		s := c.create(c.edges[2])
		c.mu.Lock()
		still.dead = true // as the others see it
		c.mu.Unlock()
		c.rethink()
		c.want(s.ID, store.Pending, "full here")
		c.mu.Lock()
		h.refusing, h.atStart = nil, nil
		c.mu.Unlock()
		pass(5 * time.Second)
		c.want(s.ID, store.Starting, "")
		c.join("b", c.edges[2:])
		c.mu.Lock()
		still.dead = false
		c.mu.Unlock()
		close(goesOn)
		pass(time.Second)
		if n := c.session(s.ID).Refusals.Count; n != 1 {
			t.Errorf("%d refusals are counted, want the one", n)
		}
		pass(time.Minute)
		c.want(s.ID, store.Running, "")
		if got := c.runs(h); !slices.Equal(got, []string{s.ID}) || len(c.twice) > 0 {
			t.Errorf("the agent runs %v, at two agents at once: %v", got, c.twice)
		}
		c.checkQuiet()
	})
}

// TestAnEdgeThatKnowsLessDoesNotMoveAStart: it takes the agent for lost, or for gone
// for good, and the agent has come back to another edge.
func TestAnEdgeThatKnowsLessDoesNotMoveAStart(t *testing.T) {
	for _, final := range []bool{false, true} {
		t.Run(fmt.Sprintf("gone for good %v", final), func(t *testing.T) {
			inCluster(t, 3, func(o *Options) { o.RestartLost, o.LostAfter = true, leastLostAfter }, func(t *testing.T, c *cluster) {
				h := c.join("a", c.edges[:1])
				h.slow = 2 * leastLostAfter * 9 / 10
				c.drop(h, c.edges[0], final)
				pass(time.Second)
				c.connect(h, c.edges[1])
				c.mu.Lock()
				c.edges[0].blind = true
				c.mu.Unlock()
				c.rethink()
				c.join("b", c.edges[2:])
				var ids []string
				for range 12 { // edge 0 takes itself for the driver of some of them
					ids = append(ids, c.create(c.edges[1]).ID)
				}
				pass(2 * leastLostAfter)
				if len(c.twice) > 0 {
					t.Errorf("at two agents at once: %v", c.twice)
				}
				c.mu.Lock()
				c.edges[0].blind = false
				c.mu.Unlock()
				c.rethink()
				pass(time.Minute)
				for _, id := range ids {
					c.want(id, store.Running, "")
				}
				c.checkQuiet()
			})
		})
	}
}

// TestADoubtedStartIsPutRight: the edge that took its agent for lost is gone, and no
// event told of what it had written.
func TestADoubtedStartIsPutRight(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		h := w.join("a")
		w.set(h, mood{slow: 50 * time.Second})
		s := w.create()
		if _, err := w.store.UpdateSession(t.Context(), s.ID, func(row *store.Session) error {
			row.Reason = "its agent has no connection to any edge"
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		pass(recheckEvery)
		w.want(s.ID, store.Starting, "")
	})
}

// TestACreateSurvivesItsEdgeAndItsAgent: an edge dies as in
// TestACreateSurvivesItsEdgeWhereverThatDies, and an agent is cut off with it.
func TestACreateSurvivesItsEdgeAndItsAgent(t *testing.T) {
	for _, restart := range []bool{false, true} {
		for victim := range 3 {
			for step := 1; step <= 8; step++ {
				for _, before := range []bool{true, false} {
					t.Run(fmt.Sprintf("restart %v, edge %d at write %d, before %v", restart, victim, step, before), func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) { dieTogether(t, restart, victim, step, before) })
					})
				}
			}
		}
	}
}

func dieTogether(t *testing.T, restart bool, victim, step int, before bool) {
	shared := openStore(t)
	c := &cluster{t: t, store: shared, hosts: map[string]*hostInCluster{}}
	cut := make(chan struct{}, 1)
	var blows *fuse
	for i := range 3 {
		f := &fuse{Store: shared, left: -1, before: before}
		if i == victim {
			blows = f
			f.at = func(done bool) {
				if done {
					cut <- struct{}{}
				}
			}
		}
		c.start(fmt.Sprintf("edge-%d", i), func(o *Options) { o.Store, o.RestartLost = f, restart })
	}
	synctest.Wait()
	a, b := c.join("a", c.edges[:2]), c.join("b", c.edges[1:])
	a.slow, b.slow = time.Second, time.Second
	blows.mend(step)
	acknowledged := map[string]bool{}
	dead := false
	for i := range 6 {
		s, err := c.edges[i%3].m.Create(t.Context(), &store.Session{}, "")
		if err == nil {
			acknowledged[s.ID] = true
		}
		select {
		case <-cut:
			dead = true
			c.dropAll(a)
			c.kill(c.edges[victim])
		default:
			pass(300 * time.Millisecond)
		}
		if dead {
			break
		}
	}
	if !dead {
		c.dropAll(a)
		c.kill(c.edges[victim])
	}
	pass(20 * time.Second)
	c.connect(a, c.living()[0])
	pass(2 * time.Minute)
	c.checkKept(acknowledged)
	c.checkQuiet()
	c.close(t)
}

// TestAnAgentThatIsStuckIsAskedAgain, and what it may have taken is never elsewhere.
func TestAnAgentThatIsStuckIsAskedAgain(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		h := w.join("a")
		w.set(h, mood{stuck: true})
		s := w.create()
		other := w.join("b")
		pass(3 * commandTimeout)
		w.want(s.ID, store.Starting, "")
		w.set(h, mood{})
		pass(2 * commandTimeout)
		w.want(s.ID, store.Running, "")
		if got := w.runs(other); len(got) > 0 {
			t.Errorf("the other agent runs %v", got)
		}
	})
}

// TestAStopOfWhatMayHaveBeenStartedIsTold: the agent has it, and no ack came.
func TestAStopOfWhatMayHaveBeenStartedIsTold(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		h := w.join("a")
		w.m.o.Start = func(ctx context.Context, _ *store.Session, _ uint64) error { <-ctx.Done(); return ctx.Err() }
		stops := 0
		w.m.o.Stop = func(ctx context.Context, s *store.Session) error { stops++; return w.stop(ctx, s) }
		s := w.create()
		pass(commandTimeout)
		if _, err := w.m.Stop(t.Context(), s.ID); err != nil {
			t.Fatal(err)
		}
		pass(2 * commandTimeout)
		w.want(s.ID, store.Terminated, "")
		if stops != 1 || len(w.runs(h)) > 0 {
			t.Errorf("told to stop %d times", stops)
		}
	})
}
