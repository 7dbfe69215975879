package cluster

import (
	"cmp"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// wantedHomes is how many edges an agent should be connected to: with one that
// fails, another has its tunnel already.
const wantedHomes = 2

// Nodes are this edge and those that live, by id. One that does not answer is
// among them for as long as it keeps its lease.
func (c *Cluster) Nodes() []Node {
	nodes := c.nodes(func(*peer) bool { return true }, true)
	slices.SortFunc(nodes, func(a, b Node) int { return cmp.Compare(a.ID, b.ID) })
	return nodes
}

// Alive tells whether the node is one of Nodes.
func (c *Cluster) Alive(nodeID string) bool {
	return slices.ContainsFunc(c.Nodes(), func(n Node) bool { return n.ID == nodeID })
}

// WantedHomes is where the agent should be connected: two nodes, or all if there
// are fewer, the best first. All edges with the same view have the same answer.
func (c *Cluster) WantedHomes(agentID string) []Node {
	nodes := slices.DeleteFunc(c.healthy(), func(n Node) bool { return n.Draining })
	sortByKey(nodes, agentID)
	return nodes[:min(wantedHomes, len(nodes))]
}

// Homes are the healthy nodes that have a tunnel to the agent, in the order in
// which the agent would want them; those that are about to leave come last.
func (c *Cluster) Homes(agentID string) []Node {
	nodes := c.homes(agentID)
	sortByKey(nodes, agentID)
	return nodes
}

// Drives tells whether this edge is the one that brings the session where it
// should be: the first home of its agent or, when that has none or agentID is
// empty, the first node by the session's id. In a view that all share it is one
// edge; while views differ it may be none or several for a moment.
func (c *Cluster) Drives(sessionID, agentID string) bool {
	if agentID != "" {
		if homes := c.homes(agentID); len(homes) > 0 {
			return firstByKey(homes, agentID).Self
		}
	}
	return firstByKey(c.healthy(), sessionID).Self
}

func (c *Cluster) healthy() []Node {
	return c.nodes(func(p *peer) bool { return !p.down }, true)
}

func (c *Cluster) homes(agentID string) []Node {
	c.mu.Lock()
	_, here := c.agents[agentID]
	c.mu.Unlock()
	return c.nodes(func(p *peer) bool { return !p.down && p.has(agentID) }, here)
}

// nodes are the peers that are wanted and, if this edge is, this edge.
func (c *Cluster) nodes(wanted func(*peer) bool, self bool) []Node {
	var nodes []Node
	if self {
		nodes = append(nodes, c.self())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.peers {
		if wanted(p) {
			n := p.node()
			n.Draining = n.Leaving || c.drained[n.ID] || n.Draining && !c.blind
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// rank is a node's throw for a key (rendezvous hashing, Thaler and Ravishankar,
// 1998): the highest wins, so a node that comes or goes moves its own share of
// the keys and no others. xxHash64 is the same on all edges and versions.
func rank(key, nodeID string) uint64 { return xxhash.Sum64String(key + "\x00" + nodeID) }

// order is negative when a comes before b for the key: nodes that leave are
// last, and equal throws are told apart by id.
func order(a, b Node, key string) int {
	if a.Draining != b.Draining {
		if a.Draining {
			return 1
		}
		return -1
	}
	return cmp.Or(cmp.Compare(rank(key, b.ID), rank(key, a.ID)), cmp.Compare(a.ID, b.ID))
}

func sortByKey(nodes []Node, key string) {
	slices.SortFunc(nodes, func(a, b Node) int { return order(a, b, key) })
}

// firstByKey wants at least one node.
func firstByKey(nodes []Node, key string) Node {
	return slices.MinFunc(nodes, func(a, b Node) int { return order(a, b, key) })
}
