package main

import (
	"context"
	"errors"
	"net"
	"slices"

	"github.com/streamspace-dev/streamspace-edge/cluster"
	"github.com/streamspace-dev/streamspace-edge/proxy/hop"
	"github.com/streamspace-dev/streamspace-edge/proxy/tunnel"
)

// streamPath is how a viewer of this edge comes to an agent: by one hop to the
// edge that its cookie names, if that is a home of the agent with room; by a
// tunnel of this edge's own; else by one hop to a home of the agent.
type streamPath struct {
	here    func(agentID string) bool // tunnel.Hub.Connected
	open    func(ctx context.Context, agentID string, o tunnel.OpenRequest) (net.Conn, error)
	homes   func(agentID string) []cluster.Node // in the order in which they are to be tried
	dial    func(ctx context.Context, p hop.Peer, agentID string, o tunnel.OpenRequest) (net.Conn, error)
	suspect func(nodeID string)
	carry   func() (giveBack func(), err error) // a place for a stream that this edge carries
	passOn  func() (giveBack func(), err error) // and for one that another does
}

// way is a stream that is open at an agent.
type way struct {
	conn     net.Conn
	via      string // the other edge that carries it; empty: this one does
	giveBack func() // of its place at this edge, once it has ended; nil: it has none
}

// openStream goes on to the next way when one can't be reached, is full, is
// leaving or has just lost the agent; what the agent itself says is the end.
func (p *streamPath) openStream(ctx context.Context, agentID, node string, o tunnel.OpenRequest) (way, error) {
	homes := slices.DeleteFunc(p.homes(agentID), func(n cluster.Node) bool { return n.Self || n.Draining })
	var ways []func() (way, error)
	byHop := func(n cluster.Node) func() (way, error) {
		return func() (way, error) { return p.hop(ctx, n, agentID, o) }
	}
	if named := slices.IndexFunc(homes, func(n cluster.Node) bool { return n.ID == node && takesViewers(n) }); named >= 0 {
		ways = append(ways, byHop(homes[named]))
		homes = slices.Delete(homes, named, named+1)
	}
	if p.here(agentID) {
		ways = append(ways, func() (way, error) { return p.local(ctx, agentID, o) })
	}
	for _, n := range homes {
		ways = append(ways, byHop(n))
	}
	var last error = tunnel.Errorf(tunnel.CodeAgentOffline, "agent %s is not connected to any edge", agentID)
	for _, open := range ways {
		w, err := open()
		if !elsewhere(err) {
			return w, err
		}
		if !isFull(last) { // of all that may be wrong, this is what passes by itself
			last = err
		}
	}
	return way{}, last
}

func (p *streamPath) local(ctx context.Context, agentID string, o tunnel.OpenRequest) (way, error) {
	giveBack, err := p.carry()
	if err != nil {
		return way{}, err
	}
	conn, err := p.open(ctx, agentID, o)
	if err != nil {
		giveBack()
		return way{}, err
	}
	return way{conn: conn, giveBack: giveBack}, nil
}

func (p *streamPath) hop(ctx context.Context, n cluster.Node, agentID string, o tunnel.OpenRequest) (way, error) {
	giveBack, err := p.passOn()
	if err != nil {
		return way{}, err
	}
	conn, err := p.dial(ctx, peerOf(n), agentID, o)
	if err != nil {
		giveBack()
		var unreachable *hop.Unreachable
		if errors.As(err, &unreachable) {
			p.suspect(n.ID)
		}
		return way{}, err
	}
	return way{conn: conn, via: n.ID, giveBack: giveBack}, nil
}

// elsewhere tells failures of one edge, or of its tunnel, that say nothing of
// another's.
func elsewhere(err error) bool {
	var unreachable *hop.Unreachable
	if errors.As(err, &unreachable) {
		return true
	}
	var t *tunnel.Error
	if !errors.As(err, &t) {
		return false
	}
	switch t.Code {
	case tunnel.CodeAgentOffline, tunnel.CodeAgentBusy, tunnel.CodeNodeDraining, tunnel.CodeNodeFull, tunnel.CodeUnauthorized:
		return true
	}
	return false
}

func isFull(err error) bool {
	var t *tunnel.Error
	return errors.As(err, &t) && t.Code == tunnel.CodeNodeFull
}
