package main

import (
	"context"
	"io"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/balancer"
	"github.com/streamspace-dev/streamspace-edge/cluster"
	"github.com/streamspace-dev/streamspace-edge/proxy"
	"github.com/streamspace-dev/streamspace-edge/proxy/hop"
	"github.com/streamspace-dev/streamspace-edge/proxy/tunnel"
)

// clustered tells whether this edge is one of several: they share what sessions
// there are by the database and who is there by Redis.
func (c *edgeConfig) clustered() bool { return c.Store.Postgres != nil && c.Redis != nil }

// openCluster makes the edge one of several, if the config says so.
func (e *edge) openCluster(ctx context.Context) error {
	if !e.config.clustered() {
		return nil
	}
	secret, err := e.store.Secret(ctx, "cluster")
	if err != nil {
		return err
	}
	e.places = &places{node: e.config.Node.ID, most: e.config.VNC.MaxStreams, changed: func() { e.cluster.Announce() }}
	e.sharedPlaces = newSharedPlaces(e.coord, e.config.VNC, e.log.Named("limits"))
	e.hop = hop.New(hop.Options{
		Node: e.config.Node.ID, Secret: secret, CAFile: e.config.Cluster.CAFile,
		Log: e.log.Named("hop"), Metrics: hop.NewMetrics(e.registry), Reactor: e.loops, Open: e.hub.Open,
		Carry: e.places.carry, Now: e.now,
	})
	e.homePicker = balancer.NewPicker(balancer.WeightedLeastConnections)
	e.nodeCookie = newNodeCookie(secret, func() []cluster.Node { return e.cluster.Nodes() }, e.orderedHomes)
	e.cluster = cluster.New(cluster.Options{
		Coord: e.coord, Secret: secret, Log: e.log.Named("cluster"), Metrics: cluster.NewMetrics(e.registry),
		Self: e.self, Check: e.config.Cluster.Check.options(),
		Probe:   func(ctx context.Context, n cluster.Node) error { return e.hop.Probe(ctx, peerOf(n)) },
		Changed: e.clusterChanged,
	})
	return nil
}

// self is this edge as the others are told of it.
func (e *edge) self() cluster.Node {
	carried, _ := e.places.taken()
	return cluster.Node{
		ID: e.config.Node.ID, URL: e.config.peerURL(), Pin: e.pin(), Version: version,
		Streams: carried, MaxStreams: e.config.VNC.MaxStreams, Draining: e.standsAside(), Leaving: e.draining.Load(),
		ClockOffset: e.clockOffset(),
	}
}

// pin is that of the edge's certificate; empty: TLS is off.
func (e *edge) pin() string {
	if e.certificates == nil {
		return ""
	}
	return e.certificates.pin()
}

// rehomeJitter spreads agents that are told new homes at the same time.
const rehomeJitter = 2 * time.Second

func (e *edge) clusterChanged() {
	jitter := rehomeJitter
	if e.standsAside() {
		jitter = 0
	}
	e.hub.Rehome(jitter)
	e.sessions.Rethink()
}

// wantedHomes is where the agent should have tunnels; nil without a cluster.
func (e *edge) wantedHomes(agentID string) []tunnel.Home {
	nodes := e.cluster.WantedHomes(agentID)
	homes := make([]tunnel.Home, len(nodes))
	for i, n := range nodes {
		homes[i] = tunnel.Home{Node: n.ID, URL: n.URL, Pin: n.Pin}
	}
	return homes
}

// openStream opens a stream at the session's agent, wherever its tunnel is; node
// is as for streamPath.
func (e *edge) openStream(ctx context.Context, agentID, node string, o tunnel.OpenRequest) (way, error) {
	if e.cluster == nil {
		conn, err := e.hub.Open(ctx, agentID, o)
		return way{conn: conn}, err
	}
	path := streamPath{
		here: e.hub.Connected, open: e.hub.Open, dial: e.hop.Dial, suspect: e.cluster.Suspect,
		homes: e.orderedHomes, carry: e.places.carry, passOn: e.places.passOn,
	}
	return path.openStream(ctx, agentID, node, o)
}

// orderedHomes are an agent's homes as viewers should try them.
func (e *edge) orderedHomes(agentID string) []cluster.Node {
	return hopOrder(e.cluster.Homes(agentID), e.homePicker)
}

// hopEnded tells why a stream that another edge carried has ended: it hands its
// streams over when it leaves. One that breaks off may be a sign that it has died.
func (e *edge) hopEnded(via string, cause error) proxy.Reason {
	for _, n := range e.cluster.Nodes() {
		if n.ID == via && n.Draining {
			return proxy.NodeDraining
		}
	}
	if cause != io.EOF {
		e.cluster.Suspect(via)
	}
	return ""
}

// leaveCluster has the agents that are here move before the edge goes.
func (e *edge) leaveCluster(ctx context.Context) {
	if e.cluster != nil {
		e.moveAgents(ctx, e.cluster.Drain)
	}
}

// moveAgents has tell say to the other edges that this one takes nothing new, and
// the agents that are here move: each is at another edge, or can't be, when it
// returns. That takes a third of the drain's time at most, also without Redis:
// the viewers need theirs.
func (e *edge) moveAgents(ctx context.Context, tell func(context.Context) error) {
	ctx, cancel := context.WithTimeout(ctx, e.config.Drain.Timeout.std()/3)
	defer cancel()
	e.hop.Drain()
	if err := tell(ctx); err != nil {
		e.log.Warn("the other edges could not be told that this one takes nothing new", zap.Error(err))
	}
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for e.agentsOnlyHere() > 0 {
		select {
		case <-ctx.Done():
			e.log.Warn("agents have not moved to another edge in time", zap.Int("agents", e.agentsOnlyHere()))
			return
		case <-again.C:
		}
	}
}

// handOver asks the viewers of this edge, and those of others that it carries, to
// connect elsewhere, spread over window; its own have gone when it returns.
func (e *edge) handOver(ctx context.Context, window time.Duration) {
	var carried sync.WaitGroup
	if e.hop != nil {
		carried.Go(func() { e.hop.HandOver(ctx, window) })
	}
	e.viewers.Drain(ctx, window)
	carried.Wait()
}

// agentsOnlyHere counts the agents that have a tunnel to this edge and could have
// one to another, but have not.
func (e *edge) agentsOnlyHere() (n int) {
	for _, id := range e.hub.ConnectedAgents() {
		elsewhere := false
		for _, home := range e.cluster.Homes(id) {
			elsewhere = elsewhere || !home.Self
		}
		if !elsewhere && len(e.cluster.WantedHomes(id)) > 0 {
			n++
		}
	}
	return n
}

func peerOf(n cluster.Node) hop.Peer { return hop.Peer{ID: n.ID, URL: n.URL, Pin: n.Pin} }

// hopOrder is the order in which homes of an agent are tried: the picker's among
// those that have room, then those that were full when they were last heard of,
// then those that are about to leave.
func hopOrder(homes []cluster.Node, picker *balancer.Picker) []cluster.Node {
	const unbounded = 1_000_000 // viewers that an edge without a bound has room for, by its weight
	candidates := make([]balancer.Candidate, len(homes))
	var full, leaving []cluster.Node
	for i, n := range homes {
		c := balancer.Candidate{ID: n.ID, Active: n.Streams, Capacity: max(n.MaxStreams, 0), Weight: 1}
		if c.Capacity == 0 {
			c.Weight = unbounded
		}
		switch {
		case n.Draining:
			leaving, c.Capacity = append(leaving, n), -1
		case !takesViewers(n):
			full, c.Capacity = append(full, n), -1
		}
		candidates[i] = c
	}
	order := make([]cluster.Node, 0, len(homes))
	for {
		i := picker.Pick(candidates, 0)
		if i < 0 {
			return slices.Concat(order, full, leaving)
		}
		order = append(order, homes[i])
		candidates[i].Capacity = -1
	}
}
