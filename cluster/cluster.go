// Package cluster is what the edges of an installation know of each other: who
// is there, how loaded, whether it leaves, and which agents have a tunnel to it.
//
// Each edge keeps a lease in the Coord that says so of itself, and reads the
// leases of the others. Beside that it checks each of the others itself. From
// both it has a view, from which every edge computes the same homes of an agent
// and the same driver of a session without a word to the others.
//
// The Coord may be lost. While it is away the last view stays and the checks
// decide; when it is back and empty, a node that is missed stays in the view
// for as long as its next beats need. Only durations of this edge's own count:
// no time of day goes from one edge to another.
package cluster

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"maps"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// Node is one edge.
type Node struct {
	ID         string
	URL        string // of its own, not of the installation: "https://HOST:PORT"
	Pin        string // of its certificate's key; empty: verified by its chain
	Version    string
	Generation uint64 // of its process: a restart has a higher one
	Streams    int    // that it carries to desktops, also for viewers of other edges
	MaxStreams int    // 0: no bound
	Draining   bool   // it takes nothing new: it leaves, or an operator has drained it
	Leaving    bool   // it is about to end

	// ClockOffset is how far its clock is ahead of that which all share, as it says.
	ClockOffset time.Duration

	// What this edge knows of it.
	Healthy bool // it answers
	Self    bool
}

// Options configure a Cluster.
type Options struct {
	Coord  store.Coord
	Secret []byte      // that all edges share; at least 16 random bytes
	Log    *zap.Logger // nil: none
	// Metrics may be nil: none.
	Metrics *Metrics

	// Self is this edge as it is now, asked at each beat and Announce; the fields
	// Generation, Healthy and Self are filled in. It may not block.
	Self func() Node

	// Probe fails when the node does not answer as an edge until ctx ends.
	Probe func(ctx context.Context, n Node) error
	Check CheckConfig
	Beat  time.Duration // between two renewals of the lease, which lasts three; 0: 2 s

	// Changed is called after nodes came, went, turned well or ill, began to drain,
	// or agents' homes changed, not after load did. The first change is told at
	// once; those of the next 100 ms are one call, because an edge that goes takes
	// many agents with it. There is never more than one at once. nil: nobody wants
	// to know.
	Changed func()
}

const (
	defaultBeat  = 2 * time.Second
	beatsOfLease = 3
	// pause is the least time between two announcements, and between two lists:
	// what a burst of changes costs the Coord.
	pause = 100 * time.Millisecond
)

// Cluster is this edge's view of all. Its methods are safe for concurrent use
// and do not block, but for Run, Drain and Tell.
type Cluster struct {
	o    Options
	seal seal

	announce chan struct{} // something of this edge has changed; holds one
	changed  chan struct{} // the view has changed; holds one

	mu        sync.Mutex
	id        string            // of this edge
	started   uint64            // its generation; 0: it has none yet
	agents    map[string]uint64 // with a tunnel to this edge: its generation
	announced time.Time         // when the agents were read that the Coord took last
	leaving   bool              // this edge
	drained   map[string]bool   // node ids that an operator has drained
	blind     bool              // the Coord is away
	telling   []chan struct{}   // of Tell; closed by an announcement that has begun later
	peers     map[string]*peer  // by node id, without this edge
	known     map[string]memory
	ignored   map[string]string // leases that are not believed: why
}

// New makes the Cluster of an edge, which knows nobody before Run. It panics
// when the secret is too short to be one.
func New(o Options) *Cluster {
	if len(o.Secret) < 16 {
		panic("cluster: a secret of less than 16 bytes")
	}
	key, err := hkdf.Key(sha256.New, o.Secret, nil, "streamspace cluster lease", sha256.Size)
	if err != nil {
		panic("cluster: " + err.Error())
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	if o.Beat <= 0 {
		o.Beat = defaultBeat
	}
	o.Check = o.Check.withDefaults()
	return &Cluster{
		o: o, seal: seal{key}, id: o.Self().ID,
		announce: make(chan struct{}, 1), changed: make(chan struct{}, 1),
		agents: map[string]uint64{}, peers: map[string]*peer{}, known: map[string]memory{},
	}
}

// Run announces this edge, follows the others and checks them until ctx ends;
// then it takes back the lease and waits for all that it started. It returns nil.
// Call it once.
func (c *Cluster) Run(ctx context.Context) error {
	var running sync.WaitGroup
	running.Go(func() { c.keepLease(ctx) })
	running.Go(func() { c.follow(ctx) })
	running.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-c.changed:
				if c.o.Changed != nil {
					c.o.Changed()
				}
				sleep(ctx, pause)
			}
		}
	})
	running.Wait()
	return nil
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// notify fills a channel of one place.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Announce tells the others, soon, what Options.Self says now. Without it they
// learn of a change of load at the next beat.
func (c *Cluster) Announce() { notify(c.announce) }

// AgentHere says that a tunnel of that generation to the agent is up or down
// here. What comes late of an older generation changes nothing.
func (c *Cluster) AgentHere(agentID string, generation uint64, up bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, here := c.agents[agentID]
	switch {
	case here && generation < now, !here && !up:
		return
	case up:
		c.agents[agentID] = generation
	default:
		delete(c.agents, agentID)
	}
	if here != up {
		notify(c.announce)
		notify(c.changed)
	}
}

// Drain says that this edge leaves: no agent wants to be here from now on, and
// no other edge sends viewers. It returns when the others can know, or with
// ctx's error.
func (c *Cluster) Drain(ctx context.Context) error {
	c.mu.Lock()
	if !c.leaving {
		c.leaving = true
		notify(c.changed)
	}
	c.mu.Unlock()
	return c.Tell(ctx)
}

// Drained says which nodes, this edge among them, an operator has drained, as
// the Store has it: all edges know so also while the Coord is away. What a node
// announces of itself counts beside it, and may be there sooner.
func (c *Cluster) Drained(ids []string) {
	drained := make(map[string]bool, len(ids))
	for _, id := range ids {
		drained[id] = true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if maps.Equal(c.drained, drained) {
		return
	}
	c.drained = drained
	notify(c.announce)
	notify(c.changed)
}

// Tell announces this edge at once and returns when the others can know how it
// is now, or with ctx's error.
func (c *Cluster) Tell(ctx context.Context) error {
	told := make(chan struct{})
	c.mu.Lock()
	c.telling = append(c.telling, told)
	c.mu.Unlock()
	notify(c.announce)
	select {
	case <-told:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Announced is when the others could last learn which agents have a tunnel to this
// edge; zero: never.
func (c *Cluster) Announced() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.announced
}

// self is this edge's node. c.mu is not held.
func (c *Cluster) self() Node {
	n := c.o.Self()
	c.mu.Lock()
	defer c.mu.Unlock()
	n.ID, n.Leaving = c.id, n.Leaving || c.leaving
	n.Draining = n.Draining || n.Leaving || c.drained[c.id]
	n.Generation, n.Healthy, n.Self = c.started, true, true
	return n
}
