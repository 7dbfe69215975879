package session

import (
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// cluster is several edges on one store, in virtual time. Agents have tunnels to
// those that a test gives them; what the edges know of each other is played.
type cluster struct {
	t     *testing.T
	store store.Store
	edges []*edge
	hosts map[string]*hostInCluster

	mu    sync.Mutex
	deaf  bool     // no event reaches another edge
	twice []string // sessions that began on one agent while another had them
}

// edge is one of the cluster's.
type edge struct {
	c   *cluster
	id  string
	m   *Manager
	own *store.Local
	end func() // of Run

	// Guarded by cluster.mu.
	dead    bool
	cut     []string       // "session reason"
	dropped []string       // agents disconnected
	blind   bool           // it takes all agents for unreachable
	starts  map[string]int // by session
	stops   int
}

// bus is an edge's Coord: the others' events are Remote.
type bus struct {
	*store.Local
	e *edge
}

func (b bus) Publish(ctx context.Context, e store.Event) {
	b.Local.Publish(ctx, e)
	b.e.c.mu.Lock()
	defer b.e.c.mu.Unlock()
	if b.e.c.deaf || b.e.dead {
		return
	}
	e.Remote = true
	for _, other := range b.e.c.edges {
		if other != b.e && !other.dead {
			other.own.Publish(ctx, e)
		}
	}
}

// inCluster runs a test against so many edges.
func inCluster(t *testing.T, edges int, change func(*Options), test func(t *testing.T, c *cluster)) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{t: t, store: openStore(t), hosts: map[string]*hostInCluster{}}
		for i := range edges {
			c.start(fmt.Sprintf("edge-%d", i), change)
		}
		synctest.Wait()
		test(t, c)
		c.close(t)
	})
}

func (c *cluster) close(t *testing.T) {
	for _, e := range c.edges {
		e.end()
		if err := e.own.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := c.store.Close(); err != nil {
		t.Error(err)
	}
}

func (c *cluster) start(id string, change func(*Options)) *edge {
	e := &edge{c: c, id: id, own: store.NewLocal(), starts: map[string]int{}}
	o := Options{
		Store: c.store, Coord: bus{e.own, e}, Node: id, Metrics: NewMetrics(prometheus.NewRegistry()),
		Drives: e.drives, Reachable: e.reachable, Alive: c.alive,
		Start: e.start, Stop: e.stopSession, EndViewers: e.endViewers,
		ProbeEndpoint: func(context.Context, string) error { return nil },
		Disconnect:    e.disconnect,
	}
	if change != nil {
		change(&o)
	}
	e.m = New(o)
	c.mu.Lock()
	c.edges = append(c.edges, e)
	c.mu.Unlock()
	ctx, cancel := context.WithCancel(c.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := e.m.Run(ctx); err != nil {
			c.t.Errorf("%s: Run: %v", id, err)
		}
	}()
	e.end = sync.OnceFunc(func() { cancel(); <-ended })
	return e
}

// kill takes the edge away amid whatever it does. The others notice after a
// while, and its agents keep what they run.
func (c *cluster) kill(e *edge) {
	c.mu.Lock()
	e.dead = true
	c.mu.Unlock()
	e.end()
	c.mu.Lock()
	for _, h := range c.hosts {
		delete(h.homes, e)
	}
	c.mu.Unlock()
	c.rethink()
}

func (c *cluster) rethink() {
	for _, e := range c.living() {
		e.m.Rethink()
	}
	synctest.Wait()
}

func (c *cluster) living() (living []*edge) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.edges {
		if !e.dead {
			living = append(living, e)
		}
	}
	return living
}

func (c *cluster) alive(node string) bool {
	return slices.ContainsFunc(c.living(), func(e *edge) bool { return e.id == node })
}

func (e *edge) reachable(agentID string) bool {
	e.c.mu.Lock()
	defer e.c.mu.Unlock()
	return len(e.homesSeen(agentID)) > 0
}

// homesSeen are the agent's as the edge knows them. c.mu is held.
func (e *edge) homesSeen(agentID string) (homes []*edge) {
	h := e.c.hosts[agentID]
	if h == nil || e.blind {
		return nil
	}
	for home := range h.homes {
		if !home.dead {
			homes = append(homes, home)
		}
	}
	return homes
}

// drives is what package cluster promises: the agent's first home, or, without
// one, the first for the session.
func (e *edge) drives(s *store.Session) bool {
	e.c.mu.Lock()
	defer e.c.mu.Unlock()
	candidates, key := e.homesSeen(s.AgentID), s.AgentID
	if len(candidates) == 0 {
		key = s.ID
		for _, other := range e.c.edges {
			if !other.dead {
				candidates = append(candidates, other)
			}
		}
	}
	return len(candidates) > 0 && slices.MaxFunc(candidates, func(a, b *edge) int {
		return int(int64(rank(key, a.id)) - int64(rank(key, b.id)))
	}) == e
}

func rank(key, node string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(key + "\x00" + node)) // never fails
	return h.Sum32()
}

// driver is the edge that drives the session now.
func (c *cluster) driver(id string) *edge {
	c.t.Helper()
	for _, e := range c.living() {
		if e.drives(c.session(id)) {
			return e
		}
	}
	c.t.Fatalf("nobody drives session %s", id)
	return nil
}

// onlooker is an edge that does not drive the session.
func (c *cluster) onlooker(id string) *edge {
	c.t.Helper()
	driver := c.driver(id)
	for _, e := range c.living() {
		if e != driver {
			return e
		}
	}
	c.t.Fatal("there is one edge only")
	return nil
}

func (e *edge) endViewers(id, reason string) {
	e.c.mu.Lock()
	e.cut = append(e.cut, id+" "+reason)
	e.c.mu.Unlock()
	e.m.Viewers(id, 0)
}

func (e *edge) disconnect(agentID string) {
	e.c.mu.Lock()
	defer e.c.mu.Unlock()
	e.dropped = append(e.dropped, agentID)
}

func (e *edge) cuts() []string {
	e.c.mu.Lock()
	defer e.c.mu.Unlock()
	return slices.Clone(e.cut)
}

func (c *cluster) setDeaf(deaf bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deaf = deaf
}

func (c *cluster) runs(h *hostInCluster) (ids []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id := range h.running {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

func (c *cluster) create(e *edge, change ...func(*store.Session)) *store.Session {
	c.t.Helper()
	ask := &store.Session{Name: "work", Org: "acme", Owner: "ann"}
	for _, f := range change {
		f(ask)
	}
	s, err := e.m.Create(c.t.Context(), ask, "")
	if err != nil {
		c.t.Fatal(err)
	}
	synctest.Wait()
	return s
}

func (c *cluster) session(id string) *store.Session {
	c.t.Helper()
	s, err := c.store.Session(c.t.Context(), id)
	if err != nil {
		c.t.Fatal(err)
	}
	return s
}

func (c *cluster) want(id string, state store.State, words string) {
	c.t.Helper()
	synctest.Wait()
	s := c.session(id)
	if s.State != state || !containsFold(s.Reason, words) || (words == "" && s.Reason != "") {
		c.t.Fatalf("session is %s (%q) on %q, want %s (%q)", s.State, s.Reason, s.AgentID, state, words)
	}
}

// checkKept wants each session that was acknowledged to run, or to have failed with
// a reason, and none to have been at two agents at once.
func (c *cluster) checkKept(acknowledged map[string]bool) {
	c.t.Helper()
	if len(c.twice) > 0 {
		c.t.Errorf("at two agents at once: %v", c.twice)
	}
	for id := range acknowledged {
		if s := c.session(id); s.State != store.Running && (s.State != store.Failed || s.Reason == "") {
			c.t.Errorf("an acknowledged session is %s (%q)", s.State, s.Reason)
		}
	}
}

// checkQuiet checks that exactly what the store says runs where it says, that
// every living edge has the same rows, and that none has anything left.
func (c *cluster) checkQuiet() {
	c.t.Helper()
	synctest.Wait()
	page, _, err := c.store.Sessions(c.t.Context(), store.SessionFilter{Limit: 1000})
	if err != nil {
		c.t.Fatal(err)
	}
	want := map[string][]string{}
	for _, s := range page {
		switch {
		case s.State == store.Running:
			want[s.AgentID] = append(want[s.AgentID], s.ID)
		case !s.Ended():
			c.t.Errorf("session %s is %s (%s) although everything works", s.ID, s.State, s.Reason)
		}
		for _, e := range c.living() {
			e.m.mu.Lock()
			r := e.m.live[s.ID]
			switch {
			case s.Ended() && r != nil && r.viewers == 0:
				c.t.Errorf("%s still has session %s, which is %s", e.id, s.ID, s.State)
			case !s.Ended() && (r == nil || r.row == nil || !r.row.UpdatedAt.Equal(s.UpdatedAt)):
				c.t.Errorf("%s has not the row of %s, which is %s", e.id, s.ID, s.State)
			}
			e.m.mu.Unlock()
		}
	}
	for _, h := range c.hosts {
		slices.Sort(want[h.agent.ID])
		if got := c.runs(h); !slices.Equal(got, want[h.agent.ID]) {
			c.t.Errorf("%s runs %v, want %v", h.agent.Name, got, want[h.agent.ID])
		}
		if h.most > h.agent.Capacity {
			c.t.Errorf("%s ran %d at once, of %d", h.agent.Name, h.most, h.agent.Capacity)
		}
	}
}
