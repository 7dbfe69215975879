package session

import (
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// elsewhereAgain is when to ask again whether an agent that is connected to
// another edge only is still for this one to command: edges learn of each other's
// tunnels in less.
const elsewhereAgain = time.Second

// doubt is how long an agent is without any tunnel before what runs there is told
// as unreachable: it may be on its way from one edge to another.
const doubt = 5 * time.Second

// clustered tells whether there may be other edges.
func (m *Manager) clustered() bool { return m.o.Drives != nil }

// drives tells whether this edge does what is to be done for the session: it is
// the one that all agree on, or knows what nobody else does. m.mu is held.
func (m *Manager) drives(s *store.Session) bool {
	if !m.clustered() || m.o.Drives(s) {
		return true
	}
	if s.AgentID == "" {
		return s.State == store.Pending && m.foundAt(s.ID) != ""
	}
	l := m.links[s.AgentID]
	if l == nil || l.up || m.o.Reachable(s.AgentID) {
		return false
	}
	r := l.reports[s.ID]
	return l.left || r != nil && r.State.over() // the agent's last words were to this edge
}

// drivesOf is drives for many sessions: those of one agent that has tunnels are
// driven by one edge. known is kept from one call to the next. m.mu is held.
func (m *Manager) drivesOf(s *store.Session, known map[string]bool) bool {
	if drives, ok := known[s.AgentID]; ok {
		return drives
	}
	drives := m.drives(s)
	if s.AgentID != "" && m.reached[s.AgentID] {
		known[s.AgentID] = drives
	}
	return drives
}

// drivesAt tells whether this edge ends what the agent has of the session and
// should not. m.mu is held.
func (m *Manager) drivesAt(id, agentID string) bool {
	return !m.clustered() || m.o.Drives(&store.Session{ID: id, AgentID: agentID})
}

// noteDriving keeps whether this edge drives the session. Of its use who begins
// to drive it knows what is in the row, which may be as old as activityGrain.
// m.mu is held.
func (m *Manager) noteDriving(r *record, drives bool) {
	if m.clustered() && drives && !r.drives {
		known := r.usedStored.Add(activityGrain)
		if now := time.Now(); known.After(now) {
			known = now
		}
		r.idleFrom = latest(r.idleFrom, known)
	}
	r.drives = drives
}

// reachable tells whether the agent can be told something, by whichever edge.
func (m *Manager) reachable(agentID string) bool {
	return m.connected(agentID) || m.clustered() && m.o.Reachable(agentID)
}

// reachableNow is reachable for who holds m.mu.
func (m *Manager) reachableNow(agentID string) bool {
	l := m.links[agentID]
	return l != nil && l.up || m.clustered() && m.o.Reachable(agentID)
}

// noteReach tells whether any edge has a tunnel of the agent, and keeps since
// when none has. m.mu is held.
func (m *Manager) noteReach(agentID string) bool {
	if m.o.Reachable(agentID) {
		delete(m.gone, agentID)
		return true
	}
	if m.gone[agentID].IsZero() {
		m.gone[agentID] = time.Now()
	}
	return false
}

// Rethink says that the answers of Drives, Reachable or Alive may have changed:
// sessions that this edge drives from now on, or drives no more, are looked at,
// and so are those whose agents came or went.
func (m *Manager) Rethink() {
	if !m.clustered() {
		return
	}
	for _, agentID := range m.rethink() {
		m.publishAgent(agentID, store.AgentOffline)
	}
}

// rethink returns the agents that were connected here and now are nowhere.
func (m *Manager) rethink() (lost []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	turned := map[string]bool{} // by agent id: whether its reach has changed
	for id := range m.links {
		turned[id] = false
	}
	for _, r := range m.live {
		if r.unended() && r.row.AgentID != "" {
			turned[r.row.AgentID] = false
		}
	}
	for id := range turned {
		before, known := m.reached[id]
		now := m.noteReach(id)
		m.reached[id], turned[id] = now, !known || now != before
		if l := m.links[id]; before && !now && l != nil && !l.up {
			lost = append(lost, id)
		}
	}
	for id, a := range m.members {
		if _, asked := turned[id]; !asked {
			m.reached[id] = m.o.Reachable(id)
		}
		a.reached = m.reached[id]
	}
	driven := map[string]bool{} // by agent id, of agents with tunnels: whether this edge drives their sessions
	for id, r := range m.live {
		if r.unended() && (turned[r.row.AgentID] || m.drivesOf(r.row, driven) != r.drives) {
			m.queue.kick(id)
		}
	}
	m.kickWaiting()
	return lost
}
