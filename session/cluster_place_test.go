package session

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
)

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

// TestSessionsThatWaitGetNoMoreThanTheRoomThatComes: all edges place them at once.
func TestSessionsThatWaitGetNoMoreThanTheRoomThatComes(t *testing.T) {
	inCluster(t, 3, func(o *Options) { o.RestartLost = true }, func(t *testing.T, c *cluster) {
		first := c.join("a", c.edges, func(a *store.Agent) { a.Capacity = 20 })
		for range 20 {
			c.create(c.edges[0])
		}
		pass(time.Minute)
		c.mu.Lock()
		first.running = map[string]ObservedState{}
		c.mu.Unlock()
		for _, e := range c.edges {
			c.drop(first, e, true)
		}
		synctest.Wait()
		second := c.join("b", c.edges, func(a *store.Agent) { a.Capacity = 7 })
		pass(time.Minute)
		page, _, err := c.store.Sessions(t.Context(), store.SessionFilter{AgentID: second.agent.ID, Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		if len(page) != 7 {
			t.Errorf("%d were placed, of 7", len(page))
		}
		if got := len(c.runs(second)); got != 7 || second.most > 7 {
			t.Errorf("it runs %d and ran %d at once, of 7", got, second.most)
		}
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

// TestEdgesThatDifferDoNotWriteWithoutEnd: one takes the agent for gone to which
// another one gives the session, as the edge that has its tunnel stands still.
func TestEdgesThatDifferDoNotWriteWithoutEnd(t *testing.T) {
	differ := func(o *Options) {
		there := o.Node == "edge-1"
		o.Drives = func(*store.Session) bool { return true }
		o.Reachable = func(string) bool { return there }
	}
	inCluster(t, 2, differ, func(t *testing.T, c *cluster) {
		h := c.join("a", nil)
		if _, err := c.store.EnrolAgent(t.Context(), h.agent); err != nil {
			t.Fatal(err)
		}
		pass(connectGrace)
		writes := c.edges[1].own.Subscribe(t.Context())
		s, err := c.edges[1].m.Create(t.Context(), &store.Session{}, "")
		if err != nil {
			t.Fatal(err)
		}
		seen := 0
		for end := time.After(10 * time.Second); seen < 1000; {
			select {
			case e := <-writes:
				if e.ID == s.ID {
					seen++
				}
				continue
			case <-end:
			}
			break
		}
		if seen > 40 {
			t.Errorf("%d writes within 10 s", seen)
		}
	})
}
