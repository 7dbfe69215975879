package session

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
)

func TestOneEdgeDrivesASessionAndItsViewersEndEverywhere(t *testing.T) {
	inCluster(t, 3, nil, func(t *testing.T, c *cluster) {
		h := c.join("a", c.edges[:2])
		s := c.create(c.edges[2]) // has no tunnel of it
		c.want(s.ID, store.Running, "")
		driver := c.driver(s.ID)
		if driver == c.edges[2] {
			t.Fatal("an edge without a tunnel drives")
		}
		for _, e := range c.edges {
			e.m.Viewers(s.ID, 1)
			if target, err := e.m.Target(t.Context(), s.ID); err != nil || target.AgentID != h.agent.ID {
				t.Errorf("%s: the target is %+v, %v", e.id, target, err)
			}
			if got := e.m.AgentStatus(h.agent); got != store.AgentOnline {
				t.Errorf("%s: the agent is %s", e.id, got)
			}
			if e != driver && e.starts[s.ID] != 0 || e == driver && e.starts[s.ID] != 1 {
				t.Errorf("%s started it %d times", e.id, e.starts[s.ID])
			}
		}
		if _, err := c.onlooker(s.ID).m.Stop(t.Context(), s.ID); err != nil {
			t.Fatal(err)
		}
		pass(2 * farewell)
		c.want(s.ID, store.Terminated, "")
		stops := 0
		for _, e := range c.edges {
			if got := e.cuts(); !slices.Contains(got, s.ID+" session_ended") {
				t.Errorf("%s cut %v", e.id, got)
			}
			stops += e.stops
		}
		if stops != 1 {
			t.Errorf("the agent was told %d times to stop it", stops)
		}
		c.checkQuiet()
	})
}

// TestWithoutEventsTheOthersLearnOfItAnyway: what is to be done within a beat,
// the rest within rereadEvery.
func TestWithoutEventsTheOthersLearnOfItAnyway(t *testing.T) {
	inCluster(t, 3, nil, func(t *testing.T, c *cluster) {
		h := c.join("a", c.edges[:1])
		c.setDeaf(true)
		s := c.create(c.edges[2])
		pass(recheckEvery)
		c.want(s.ID, store.Running, "")
		c.edges[1].m.Viewers(s.ID, 1)
		pass(rereadEvery)
		if c.edges[1].m.running(s.ID) == nil {
			t.Error("the row of a session that runs is not known")
		}
		if _, err := c.edges[2].m.Stop(t.Context(), s.ID); err != nil {
			t.Fatal(err)
		}
		pass(recheckEvery + farewell)
		c.want(s.ID, store.Terminated, "")
		pass(rereadEvery)
		if got, want := c.edges[1].cuts(), s.ID+" session_ended"; !slices.Contains(got, want) {
			t.Errorf("cut %v, want %s", got, want)
		}
		if got := c.runs(h); len(got) != 0 {
			t.Errorf("the agent runs %v", got)
		}
		c.checkQuiet()
	})
}

func TestAResyncReadsEverythingAgain(t *testing.T) {
	inCluster(t, 2, nil, func(t *testing.T, c *cluster) {
		c.join("a", c.edges[:1])
		c.setDeaf(true)
		s := c.create(c.edges[0])
		c.edges[1].own.Publish(t.Context(), store.Event{Type: "resync"})
		synctest.Wait()
		if c.edges[1].m.running(s.ID) == nil {
			t.Error("the session is not known")
		}
	})
}

// TestComingViewersCostTheOtherEdgesNoRead: they come by the thousand.
func TestComingViewersCostTheOtherEdgesNoRead(t *testing.T) {
	inCluster(t, 2, nil, func(t *testing.T, c *cluster) {
		c.join("a", c.edges[:1])
		s := c.create(c.edges[0])
		before := c.store.(*memory).reads()
		for n := range 1000 {
			c.edges[0].m.Viewers(s.ID, n)
			synctest.Wait()
		}
		if got := c.store.(*memory).reads() - before; got != 0 {
			t.Errorf("%d reads", got)
		}
		if got := c.edges[1].m.ViewersElsewhere(s.ID); got != 999 {
			t.Errorf("%d viewers are known elsewhere, want 999", got)
		}
	})
}

func TestViewersAreCountedOverAllEdges(t *testing.T) {
	inCluster(t, 3, nil, func(t *testing.T, c *cluster) {
		c.join("a", c.edges[:1])
		s := c.create(c.edges[0])
		want := func(when string, numbers ...int) {
			t.Helper()
			synctest.Wait()
			for i, e := range c.living() {
				if got := e.m.ViewersElsewhere(s.ID); got != numbers[i] {
					t.Errorf("%s: %s knows of %d elsewhere, want %d", when, e.id, got, numbers[i])
				}
			}
		}
		for i, e := range c.edges {
			e.m.Viewers(s.ID, i+1) // 1, 2, 3
		}
		want("at once", 5, 4, 3)
		c.edges[1].m.Viewers(s.ID, 0)
		want("some left", 3, 4, 1)
		c.setDeaf(true)
		c.edges[1].m.Viewers(s.ID, 7)
		want("a lost event", 3, 4, 1)
		c.setDeaf(false)
		pass(watchedAgain + recheckEvery)
		want("told again", 10, 4, 8)
		c.setDeaf(true)
		pass(watchedFor + recheckEvery)
		want("nobody tells any more", 0, 0, 0)
		c.setDeaf(false)
		pass(watchedAgain + recheckEvery)
		c.kill(c.edges[2])
		want("one is dead", 7, 1)
	})
}

func TestUseOnAnyEdgeKeepsASession(t *testing.T) {
	for name, test := range map[string]struct {
		deaf    bool // then the row tells of it
		timeout time.Duration
	}{
		"a short timeout":                       {false, 10 * time.Second},
		"a long timeout":                        {false, 10 * time.Minute},
		"a short timeout, and no event arrives": {true, 20 * time.Second},
		"a long timeout, and no event arrives":  {true, 10 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			inCluster(t, 2, nil, func(t *testing.T, c *cluster) {
				c.join("a", c.edges)
				s := c.create(c.edges[0], idleAfter(test.timeout))
				c.setDeaf(test.deaf)
				user := c.onlooker(s.ID)
				for range 3 * test.timeout / time.Second {
					pass(time.Second)
					user.m.Input(s.ID, time.Now())
					if got := c.session(s.ID); got.EndsBecause != "" {
						t.Fatalf("its end is announced although it is used")
					}
				}
				c.want(s.ID, store.Running, "")
				if written := c.store.(*memory).written(); test.timeout > 4*activityGrain && written > int(3*test.timeout/activityGrain)+5 {
					t.Errorf("%d writes", written)
				}
				if age := time.Since(c.session(s.ID).LastActivity); age > activityGrain {
					t.Errorf("last_activity is %v old", age)
				}
				pass(test.timeout + rereadEvery + activityGrain)
				c.want(s.ID, store.Terminated, "idle")
			})
		})
	}
}

func TestUseElsewhereTakesAnAnnouncedEndBackAtOnce(t *testing.T) {
	inCluster(t, 2, nil, func(t *testing.T, c *cluster) {
		c.join("a", c.edges)
		s := c.create(c.edges[0], idleAfter(10*time.Minute))
		pass(9*time.Minute + 30*time.Second)
		if got := c.session(s.ID); got.EndsBecause != store.EndsIdle {
			t.Fatalf("no end is announced: %+v", got)
		}
		c.onlooker(s.ID).m.Input(s.ID, time.Now())
		synctest.Wait()
		if got := c.session(s.ID); got.EndsBecause != "" {
			t.Errorf("the end is still announced for %v", got.EndsAt)
		}
	})
}

// TestUseThatTheDriverHeardOfOnlyFromOthersCounts: the row has what was used a
// moment ago, this is what lies in between.
func TestUseThatTheDriverHeardOfOnlyFromOthersCounts(t *testing.T) {
	inCluster(t, 2, nil, func(t *testing.T, c *cluster) {
		c.join("a", c.edges)
		s := c.create(c.edges[0], idleAfter(4*time.Minute))
		pass(30 * time.Second)
		user := c.onlooker(s.ID)
		user.m.Input(s.ID, time.Now()) // too soon after the start to be written
		pass(4*time.Minute - time.Second)
		c.want(s.ID, store.Running, "")
	})
}

func TestASessionThatWasUsedMeanwhileIsNotEndedAsIdle(t *testing.T) {
	inCluster(t, 1, nil, func(t *testing.T, c *cluster) {
		c.join("a", c.edges)
		s := c.create(c.edges[0], idleAfter(time.Hour))
		seen := c.session(s.ID)
		if _, err := c.store.UpdateSession(t.Context(), s.ID, func(row *store.Session) error {
			row.LastActivity = row.LastActivity.Add(time.Second)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if err := c.edges[0].m.become(t.Context(), seen, step{do: become, to: store.Stopping, viewers: tellIdle, reason: "idle"}); err != nil {
			t.Fatal(err)
		}
		c.want(s.ID, store.Running, "")
	})
}

// TestANewDriverKnowsOfUseToTheMinute: the memory of the one before is gone.
func TestANewDriverKnowsOfUseToTheMinute(t *testing.T) {
	inCluster(t, 2, nil, func(t *testing.T, c *cluster) {
		c.join("a", c.edges)
		s := c.create(c.edges[0], idleAfter(5*time.Minute))
		driver := c.driver(s.ID)
		for range 100 {
			pass(time.Second)
			driver.m.Input(s.ID, time.Now())
		}
		used := time.Now()
		c.kill(driver)
		pass(time.Until(used.Add(5*time.Minute)) - time.Second)
		c.want(s.ID, store.Running, "")
		pass(activityGrain + 2*time.Second)
		c.want(s.ID, store.Terminated, "idle")
	})
}
