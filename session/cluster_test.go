package session

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
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
		pass(farewell)
		c.want(s.ID, store.Terminated, "")
		for _, e := range c.edges {
			if got := e.cuts(); !slices.Contains(got, s.ID+" session_ended") {
				t.Errorf("%s cut %v", e.id, got)
			}
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
		deaf    bool // then the row tells of it, once a minute
		timeout time.Duration
	}{
		"a short timeout":  {false, 10 * time.Second},
		"a long timeout":   {false, 10 * time.Minute},
		"no event arrives": {true, 10 * time.Minute},
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
				}
				c.want(s.ID, store.Running, "")
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

// TestARefusedSessionDoesNotCircle: each of its agents is driven by another edge.
func TestARefusedSessionDoesNotCircle(t *testing.T) {
	for _, code := range []store.Code{store.Conflict, store.NoAgent, store.Unavailable} {
		t.Run(string(code), func(t *testing.T) {
			inCluster(t, 3, nil, func(t *testing.T, c *cluster) {
				for i, name := range []string{"a", "b", "c"} {
					c.join(name, c.edges[i:i+1]).refusing = store.Errorf(code, "not here")
				}
				s := c.create(c.edges[0])
				pass(10 * time.Minute)
				c.want(s.ID, store.Failed, "not here")
				starts := 0
				for _, e := range c.edges {
					starts += e.starts[s.ID]
				}
				if starts < 3 || starts > maxRefusals {
					t.Errorf("tried %d times, want 3 to %d", starts, maxRefusals)
				}
			})
		})
	}
}

func TestEdgesThatPlaceAtOnceOverbookNothing(t *testing.T) {
	inCluster(t, 3, func(o *Options) { o.Headroom = 0.2 }, func(t *testing.T, c *cluster) {
		hosts := []*hostInCluster{
			c.join("a", c.edges[:2], func(a *store.Agent) { a.Capacity = 50 }), // room for 40
			c.join("b", c.edges[1:], func(a *store.Agent) { a.Capacity, a.Runtimes = 100, []store.Runtime{{Name: "desktop", Slots: 30}} }),
			c.join("c", c.edges[2:], func(a *store.Agent) { a.Capacity, a.Weight = 25, 4 }), // room for 20
		}
		taken, refused := c.createAtOnce(200, store.NoAgent, func(int) *store.Session { return &store.Session{} })
		pass(10 * time.Second)
		if taken != 90 || refused != 110 {
			t.Errorf("%d taken, %d refused; want 90 and 110", taken, refused)
		}
		for i, want := range []int{40, 30, 20} {
			if got := len(c.runs(hosts[i])); got != want {
				t.Errorf("%s runs %d, want %d", hosts[i].agent.Name, got, want)
			}
		}
		c.checkQuiet()
	})
}

func TestEdgesThatPlaceAtOnceGiveNoEndpointTwice(t *testing.T) {
	inCluster(t, 3, nil, func(t *testing.T, c *cluster) {
		c.join("a", c.edges, func(a *store.Agent) {
			a.Runtimes = []store.Runtime{{Name: "consoles", Endpoints: []string{"vm-0", "vm-1", "vm-2"}}}
		})
		taken, refused := c.createAtOnce(9, store.NoAgent, func(i int) *store.Session {
			return &store.Session{Labels: map[string]string{EndpointLabel: fmt.Sprintf("vm-%d", i%3)}}
		})
		if taken != 3 || refused != 6 {
			t.Errorf("%d taken, %d refused; want 3 and 6", taken, refused)
		}
	})
}

func TestNoUserGetsMoreSessionsThanAllowed(t *testing.T) {
	inCluster(t, 3, func(o *Options) { o.PerUser = 2 }, func(t *testing.T, c *cluster) {
		c.join("a", c.edges, func(a *store.Agent) { a.Capacity = 100 })
		taken, refused := c.createAtOnce(30, store.Limit, func(i int) *store.Session {
			s := &store.Session{Org: "acme", Owner: fmt.Sprintf("user-%d", i%3)}
			if i%2 == 0 {
				s.Endpoint = "10.0.0.1:5900" // those of the edge itself count, too
			}
			return s
		})
		if taken != 6 || refused != 24 {
			t.Errorf("%d taken, %d refused; want 6 and 24", taken, refused)
		}
		ask := &store.Session{Org: "acme", Owner: "user-0"}
		_, err := c.edges[0].m.Create(t.Context(), ask, "")
		if want := "this user has 2 sessions that have not ended, and limits.sessions_per_user allows 2; end one first"; err == nil || err.Error() != want {
			t.Errorf("got %v, want %q", err, want)
		}
		page, _, err := c.store.Sessions(t.Context(), store.SessionFilter{Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range page {
			if s.Owner != "user-0" {
				continue
			}
			if _, err := c.edges[1].m.Stop(t.Context(), s.ID); err != nil {
				t.Fatal(err)
			}
			pass(farewell)
			break
		}
		if _, err := c.edges[2].m.Create(t.Context(), ask, ""); err != nil {
			t.Errorf("after one has ended: %v", err)
		}
	})
}

// createAtOnce asks all edges in turn, and returns how many got a session and how
// many were refused with that code.
func (c *cluster) createAtOnce(times int, code store.Code, ask func(i int) *store.Session) (taken, refused int) {
	c.t.Helper()
	var asking sync.WaitGroup
	errs := make([]error, times)
	for i := range times {
		asking.Go(func() { _, errs[i] = c.edges[i%len(c.edges)].m.Create(c.t.Context(), ask(i), "") })
	}
	asking.Wait()
	synctest.Wait()
	for _, err := range errs {
		switch store.CodeOf(err) {
		case "":
			taken++
		case code:
			refused++
		default:
			c.t.Error(err)
		}
	}
	return taken, refused
}

// TestACreateSurvivesItsEdgeWhereverThatDies: of the edge that is asked, and of
// the one that drives, the store answers no more from its nth use on, before that
// use or after it.
func TestACreateSurvivesItsEdgeWhereverThatDies(t *testing.T) {
	for victim := range 3 {
		for step := 1; step <= 8; step++ {
			for _, before := range []bool{true, false} {
				t.Run(fmt.Sprintf("edge %d at write %d, before %v", victim, step, before), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { dieAmidCreate(t, victim, step, before) })
				})
			}
		}
	}
}

func dieAmidCreate(t *testing.T, victim, step int, before bool) {
	shared := openStore(t)
	c := &cluster{t: t, store: shared, hosts: map[string]*hostInCluster{}}
	var fuses []*fuse
	for i := range 3 {
		f := &fuse{Store: shared, left: -1, before: before}
		fuses = append(fuses, f)
		c.start(fmt.Sprintf("edge-%d", i), func(o *Options) { o.Store = f })
	}
	synctest.Wait()
	c.join("a", c.edges[:2]).slow = time.Second
	c.join("b", c.edges[1:]).slow = time.Second
	fuses[victim].mend(step)
	acknowledged := map[string]bool{}
	for i := range 6 {
		s, err := c.edges[i%3].m.Create(t.Context(), &store.Session{}, "")
		if err == nil {
			acknowledged[s.ID] = true
		}
		pass(300 * time.Millisecond)
	}
	c.kill(c.edges[victim])
	pass(2 * time.Minute)
	if len(c.twice) > 0 {
		t.Errorf("ran on two agents at once: %v", c.twice)
	}
	for id := range acknowledged {
		if s := c.session(id); s.State != store.Running && (s.State != store.Failed || s.Reason == "") {
			t.Errorf("an acknowledged session is %s (%q)", s.State, s.Reason)
		}
	}
	c.checkQuiet()
	for _, e := range c.edges {
		e.stop(t)
	}
	if err := shared.Close(); err != nil {
		t.Error(err)
	}
}

// Whatever happens in whatever order, once it is quiet what runs is what is
// stored, no agent ever ran more than its room, and all edges know the same.
func TestAClusterIsQuietAfterAStorm(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inCluster(t, 3, func(o *Options) { o.RestartLost, o.PerUser = seed%2 == 0, 12 }, func(t *testing.T, c *cluster) {
				stormCluster(t, c, rand.New(rand.NewPCG(seed, 0)))
			})
		})
	}
}

func stormCluster(t *testing.T, c *cluster, random *rand.Rand) {
	hosts := []*hostInCluster{
		c.join("a", c.edges[:2]), c.join("b", c.edges[1:]),
		c.join("c", c.edges[2:], func(a *store.Agent) { a.Capacity = 2 }),
	}
	anyID := func() string {
		page, _, err := c.store.Sessions(t.Context(), store.SessionFilter{Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			return ""
		}
		return page[random.IntN(len(page))].ID
	}
	connected := func(h *hostInCluster, e *edge) bool { c.mu.Lock(); defer c.mu.Unlock(); return h.homes[e] != 0 }
	born := len(c.edges)
	for range 150 {
		living := c.living()
		h, e := hosts[random.IntN(len(hosts))], living[random.IntN(len(living))]
		switch random.IntN(11) {
		case 0, 1, 2:
			_, err := e.m.Create(t.Context(), &store.Session{Owner: "ann", MaxDuration: time.Duration(random.IntN(3)) * time.Hour}, "")
			if code := store.CodeOf(err); err != nil && code != store.NoAgent && code != store.Limit {
				t.Fatal(err)
			}
		case 3:
			if id := anyID(); id != "" {
				if _, err := e.m.Stop(t.Context(), id); err != nil {
					t.Fatal(err)
				}
			}
		case 4, 5:
			if connected(h, e) {
				c.drop(h, e, false)
			} else {
				c.connect(h, e)
			}
		case 6:
			c.mu.Lock()
			h.slow = time.Duration(random.IntN(4)) * time.Second
			h.refusing = []error{nil, nil, store.Errorf(store.NoAgent, "full here"), store.Errorf(store.Unavailable, "no ack came")}[random.IntN(4)]
			c.mu.Unlock()
		case 7:
			if running := c.runs(h); len(running) > 0 {
				c.say(h, running[0], []ObservedState{ObservedFailed, ObservedEnded}[random.IntN(2)], "it ended")
			}
		case 8:
			if id := anyID(); id != "" {
				e.m.Viewers(id, random.IntN(3))
				e.m.Input(id, time.Now())
			}
		case 9:
			switch random.IntN(4) {
			case 0:
				c.setDeaf(true)
			case 1:
				c.setDeaf(false)
			case 2:
				c.kill(e)
				c.start(fmt.Sprintf("edge-%d", born), func(o *Options) { *o = withOptions(*o, e.m.o) })
				born++
				c.rethink()
			}
		case 10:
			pass(time.Duration(random.IntN(40)) * time.Second)
		}
	}
	c.setDeaf(false)
	for _, h := range hosts {
		c.mu.Lock()
		h.refusing, h.slow = nil, 0
		c.mu.Unlock()
		for _, e := range c.living()[:2] {
			if !connected(h, e) {
				c.connect(h, e)
			}
		}
	}
	for _, e := range c.living() {
		e.own.Publish(t.Context(), store.Event{Type: "resync"})
	}
	pass(5 * time.Minute)
	for _, e := range c.living() {
		e.m.mu.Lock()
		ids := make([]string, 0, len(e.m.live))
		for id, r := range e.m.live {
			if !r.unended() {
				ids = append(ids, id)
			}
		}
		e.m.mu.Unlock()
		for _, id := range ids {
			e.m.Viewers(id, 0)
		}
	}
	synctest.Wait()
	c.checkQuiet()
	for _, e := range c.living() {
		e.m.mu.Lock()
		for agentID, l := range e.m.links {
			if l.commands != 0 {
				t.Errorf("%s: %s has %d commands under way", e.id, agentID, l.commands)
			}
		}
		if len(e.m.chosen) > 0 {
			t.Errorf("%s: chosen: %v", e.id, e.m.chosen)
		}
		e.m.mu.Unlock()
	}
}

// withOptions is o with the settings of another edge.
func withOptions(o, other Options) Options {
	o.RestartLost, o.PerUser = other.RestartLost, other.PerUser
	return o
}

func TestTheReasonOfARestartTellsWhy(t *testing.T) {
	l := limits{restartLost: true}
	if st := l.lost(tellOffline, "its agent left"); st.to != store.Pending || !strings.Contains(st.reason, "its agent left; it is started again") {
		t.Errorf("%+v", st)
	}
}
