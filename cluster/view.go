package cluster

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// peer is another edge, guarded by Cluster.mu.
type peer struct {
	head   announcement   // its part 0
	parts  map[int]part   // by number; the first too
	agents map[string]int // in how many parts each is
	lost   time.Time      // since when the Coord has no lease of it; zero: it has

	down    bool               // it does not answer
	suspect chan struct{}      // check it at once; holds one
	stop    context.CancelFunc // ends its checks
}

// part is one lease of a peer.
type part struct {
	value    []byte // as it was read
	sequence uint64
	agents   []string
}

// memory is the newest that was seen of a node, longer than the node is there:
// what is older is not believed.
type memory struct {
	generation, sequence uint64
	seen                 time.Time
}

// remembered is how long a node that has gone is remembered: longer than any
// copy of a Coord lags behind, and no longer. Generations come from the Coord's
// clock; where that was set back, a node that starts anew is not seen meanwhile.
const remembered = time.Minute

func (p *peer) node() Node {
	a := p.head
	return Node{
		ID: a.Node, URL: a.URL, Pin: a.Pin, Version: a.Version, Generation: a.Generation,
		Streams: a.Streams, MaxStreams: a.MaxStreams, Draining: a.Draining, Leaving: a.Leaving, Healthy: !p.down,
		ClockOffset: time.Duration(a.ClockOffset) * time.Millisecond,
	}
}

func (p *peer) has(agentID string) bool { return p.agents[agentID] > 0 }

// take puts a part in the place of the one before it. It tells whether agents
// came or went.
func (p *peer) take(number int, new part) (changed bool) {
	old := p.parts[number]
	p.parts[number] = new
	changed = !slices.Equal(old.agents, new.agents)
	p.count(old.agents, -1)
	p.count(new.agents, 1)
	return changed
}

func (p *peer) drop(number int) (changed bool) {
	old := p.parts[number]
	delete(p.parts, number)
	p.count(old.agents, -1)
	return len(old.agents) > 0
}

func (p *peer) count(agents []string, by int) {
	for _, id := range agents {
		if p.agents[id] += by; p.agents[id] <= 0 {
			delete(p.agents, id)
		}
	}
}

// follow reads the leases at each beat, and when the Coord tells of a change,
// until ctx ends; then it waits for the checks.
func (c *Cluster) follow(ctx context.Context) {
	var checks sync.WaitGroup
	defer checks.Wait()
	events := c.o.Coord.Subscribe(ctx)
	beat := time.NewTicker(c.o.Beat)
	defer beat.Stop()
	failing := false
	for {
		if list, err := c.list(ctx); err == nil {
			c.setBlind(false)
			c.apply(ctx, list, &checks)
			if failing {
				failing = false
				c.o.Log.Info("the other edges are heard of again")
			}
		} else if ctx.Err() == nil && !failing {
			failing = true
			c.setBlind(true)
			c.o.Log.Warn("nothing new can be learned of the other edges; what is known of them stays", zap.Error(err))
		}
		sleep(ctx, pause)
		for wanted := false; !wanted; {
			select {
			case <-ctx.Done():
				return
			case <-beat.C:
				wanted = true
			case e, open := <-events:
				if !open {
					events = nil // the beats go on
					continue
				}
				wanted = e.Type == "resync" || e.Type == "lease" && e.ID == leaseKind
			}
		}
	}
}

// setBlind says whether the Coord is away. Which edges are drained the Store
// alone tells then: what they announced may have been taken back since.
func (c *Cluster) setBlind(blind bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.blind == blind {
		return
	}
	c.blind = blind
	for _, p := range c.peers {
		if p.head.Draining && !p.head.Leaving {
			notify(c.changed)
		}
	}
}

func (c *Cluster) list(ctx context.Context) ([]store.Lease, error) {
	ctx, cancel := context.WithTimeout(ctx, c.o.Beat)
	defer cancel()
	return c.o.Coord.Leases(ctx, leaseKind)
}

// apply makes the view of what the Coord has now. It starts a goroutine in
// checks for each new peer.
func (c *Cluster) apply(ctx context.Context, list []store.Lease, checks *sync.WaitGroup) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	changed := false
	here, ignored := map[string]bool{}, map[string]string{}
	for _, l := range list { // sorted: part 0 comes before the others of its node
		if c.unchanged(l) {
			here[l.ID] = true
			continue
		}
		a, err := c.seal.read(l)
		if err != nil {
			ignored[l.ID] = err.Error()
			continue
		}
		if a.Node == c.id || !c.newest(a, now) {
			continue
		}
		here[l.ID] = true
		changed = c.accept(ctx, a, l.Value, checks) || changed
	}
	c.tellIgnored(ignored)
	for id, p := range c.peers {
		changed = c.outlive(p, here[id], now) || changed
	}
	for id, m := range c.known {
		if c.peers[id] != nil {
			m.seen = now
			c.known[id] = m
		} else if now.Sub(m.seen) > remembered {
			delete(c.known, id)
		}
	}
	if changed {
		notify(c.changed)
	}
	c.tellMetrics()
}

// tellIgnored tells of each lease that is not believed once, for as long as it is
// there for the same reason.
func (c *Cluster) tellIgnored(ignored map[string]string) {
	for id, why := range ignored {
		if c.ignored[id] != why {
			c.o.Log.Warn("a lease of an edge is not believed", zap.String("lease", id), zap.String("why", why))
			c.o.Metrics.ignored.Inc()
		}
	}
	c.ignored = ignored
}

// unchanged tells leases that were read before, so that a beat costs no HMAC. It
// knows those of part 0; the others are rare.
func (c *Cluster) unchanged(l store.Lease) bool {
	p := c.peers[l.ID]
	return p != nil && p.head.Generation == l.Generation && bytes.Equal(p.parts[0].value, l.Value)
}

// newest tells whether nothing newer was seen of the node.
func (c *Cluster) newest(a announcement, now time.Time) bool {
	m := c.known[a.Node]
	if a.Generation < m.generation || a.Generation == m.generation && a.Part == 0 && a.Sequence < m.sequence {
		return false
	}
	if a.Part == 0 {
		c.known[a.Node] = memory{a.Generation, a.Sequence, now}
	}
	return true
}

// accept takes what a peer says of itself, and tells whether anything but its
// load has changed.
func (c *Cluster) accept(ctx context.Context, a announcement, value []byte, checks *sync.WaitGroup) (changed bool) {
	p := c.peers[a.Node]
	switch {
	case a.Part > 0 && (p == nil || p.head.Generation != a.Generation || a.Part >= p.head.Parts || a.Sequence < p.parts[a.Part].sequence):
		return false
	case a.Part > 0:
		return p.take(a.Part, part{value, a.Sequence, a.Agents})
	case p == nil || p.head.Generation != a.Generation || p.head.URL != a.URL || p.head.Pin != a.Pin:
		// Another process: nothing of the one before holds, its health neither.
		if p != nil {
			p.stop()
		}
		p = c.newPeer(ctx, a, checks)
		c.o.Log.Info("an edge is there", zap.String("node", a.Node), zap.String("url", a.URL), zap.Uint64("generation", a.Generation))
		changed = true
	default:
		changed = p.head.Draining != a.Draining || p.head.Leaving != a.Leaving || p.head.Version != a.Version
		p.head = a
	}
	p.head.Agents = nil // kept in the parts
	changed = p.take(0, part{value, a.Sequence, a.Agents}) || changed
	for number := range p.parts {
		if number >= a.Parts {
			changed = p.drop(number) || changed
		}
	}
	return changed
}

func (c *Cluster) newPeer(ctx context.Context, a announcement, checks *sync.WaitGroup) *peer {
	checking, stop := context.WithCancel(ctx)
	p := &peer{head: a, parts: map[int]part{}, agents: map[string]int{}, suspect: make(chan struct{}, 1), stop: stop}
	c.peers[a.Node] = p
	checks.Go(func() { c.check(checking, p) })
	return p
}

// outlive keeps a peer whose lease the Coord has lost for as long as its next
// beats need to bring it back, unless it has said that it leaves. Meanwhile it
// is checked.
func (c *Cluster) outlive(p *peer, here bool, now time.Time) (changed bool) {
	switch {
	case here:
		p.lost = time.Time{}
		return false
	case !p.head.Leaving && p.lost.IsZero():
		p.lost = now
		notify(p.suspect)
		return false
	case !p.head.Leaving && now.Sub(p.lost) < beatsOfLease*c.o.Beat:
		return false
	}
	p.stop()
	delete(c.peers, p.head.Node)
	c.o.Log.Info("an edge has gone", zap.String("node", p.head.Node), zap.Bool("leaving", p.head.Leaving))
	return true
}

// tellMetrics is called with c.mu held.
func (c *Cluster) tellMetrics() {
	healthy, unhealthy := 1, 0
	for _, p := range c.peers {
		if p.down {
			unhealthy++
		} else {
			healthy++
		}
	}
	c.o.Metrics.nodes.WithLabelValues("healthy").Set(float64(healthy))
	c.o.Metrics.nodes.WithLabelValues("unhealthy").Set(float64(unhealthy))
}
