package session

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
)

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
	c.checkKept(acknowledged)
	c.checkQuiet()
	c.close(t)
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
			h.refusing = []*store.Error{nil, nil, store.Errorf(store.NoAgent, "full here"), store.Errorf(store.Unavailable, "no ack came")}[random.IntN(4)]
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
		for agentID, a := range e.m.members {
			if a.chosen != 0 {
				t.Errorf("%s: %s is chosen by %d", e.id, agentID, a.chosen)
			}
		}
		e.m.mu.Unlock()
	}
}

// withOptions is o with the settings of another edge.
func withOptions(o, other Options) Options {
	o.RestartLost, o.PerUser = other.RestartLost, other.PerUser
	return o
}
