package main

import (
	"context"
	"errors"
	"net"

	"github.com/streamspace-dev/streamspace-edge/cluster"
	"github.com/streamspace-dev/streamspace-edge/proxy/hop"
	"github.com/streamspace-dev/streamspace-edge/proxy/tunnel"
)

func peerOf(n cluster.Node) hop.Peer { return hop.Peer{ID: n.ID, URL: n.URL, Pin: n.Pin} }

// streamPath is how a viewer of this edge comes to an agent: by a tunnel of this
// edge's own, else by one hop to a home of the agent.
type streamPath struct {
	here    func(agentID string) bool // tunnel.Hub.Connected
	open    func(ctx context.Context, agentID string, o tunnel.OpenRequest) (net.Conn, error)
	homes   func(agentID string) []cluster.Node // in the order in which they are to be tried
	dial    func(ctx context.Context, p hop.Peer, agentID string, o tunnel.OpenRequest) (net.Conn, error)
	suspect func(nodeID string)
}

// openStream goes on to the next home when one can't be reached, is leaving or has
// just lost the agent; what the agent itself says is the end.
func (p *streamPath) openStream(ctx context.Context, agentID string, o tunnel.OpenRequest) (net.Conn, error) {
	if p.here(agentID) {
		conn, err := p.open(ctx, agentID, o)
		if !elsewhere(err) {
			return conn, err
		}
	}
	var last error = tunnel.Errorf(tunnel.CodeAgentOffline, "agent %s is not connected to any edge", agentID)
	for _, n := range p.homes(agentID) {
		if n.Self || n.Draining {
			continue
		}
		conn, err := p.dial(ctx, peerOf(n), agentID, o)
		if err == nil {
			return conn, nil
		}
		var unreachable *hop.Unreachable
		if errors.As(err, &unreachable) {
			p.suspect(n.ID)
		} else if !elsewhere(err) {
			return nil, err
		}
		last = err
	}
	return nil, last
}

// elsewhere tells failures of one edge's tunnel that say nothing of another's.
func elsewhere(err error) bool {
	var t *tunnel.Error
	if !errors.As(err, &t) {
		return false
	}
	switch t.Code {
	case tunnel.CodeAgentOffline, tunnel.CodeAgentBusy, tunnel.CodeNodeDraining, tunnel.CodeUnauthorized:
		return true
	}
	return false
}

// hopOrder is the agent's homes: those with room, the least loaded first, and then
// the others. A home is full of viewers of its own; what it carries for those of
// other edges costs it less.
func hopOrder(c *cluster.Cluster) func(agentID string) []cluster.Node {
	return func(agentID string) []cluster.Node {
		nodes := c.WithRoom(agentID)
		tried := map[string]bool{}
		for _, n := range nodes {
			tried[n.ID] = true
		}
		for _, n := range c.Homes(agentID) {
			if !tried[n.ID] {
				nodes = append(nodes, n)
			}
		}
		return nodes
	}
}
