package session

import (
	"context"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// useTold is how often at most other edges are told that a session is used.
const useTold = time.Second

// listen takes in what other edges publish, until ctx or the Coord ends. A lost
// event is made good by recheck and reread.
func (m *Manager) listen(ctx context.Context, events <-chan store.Event) {
	for {
		select {
		case <-ctx.Done():
			return
		case e, open := <-events:
			if !open {
				return
			}
			m.hear(e)
		}
	}
}

func (m *Manager) hear(e store.Event) {
	switch {
	case e.Type == "resync":
		select {
		case m.outdated <- struct{}{}:
		default:
		}
	case !e.Remote: // its own
	case e.Type == "session":
		m.hearOfSession(e)
	case e.Type == "viewers":
		m.noteWatched(e)
	case e.Type == "activity":
		m.usedElsewhere(e.ID)
	case e.Type == "agent":
		m.hearOfAgent(e)
	}
}

// hearOfSession asks for a look at a session whose row another edge has written.
// Most events only tell of viewers.
func (m *Manager) hearOfSession(e store.Event) {
	m.noteWatched(e)
	m.noteTold(e.ID, e.Told)
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.live[e.ID]
	unknown := r == nil || r.row == nil
	over := store.State(e.State) == store.Terminated || store.State(e.State) == store.Failed
	if unknown && !over || !unknown && r.row.UpdatedAt.Before(e.Updated) {
		m.record(e.ID).news++ // the look forgets it when there is no such session
		m.queue.kick(e.ID)
	}
}

// usedElsewhere notes that a person uses the session on another edge. By this
// edge's clock: the others' may differ.
func (m *Manager) usedElsewhere(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.live[id]
	if r == nil || !r.unended() {
		return
	}
	r.used = latest(r.used, time.Now())
	if r.idleNear && r.drives {
		r.idleNear = false
		m.queue.kick(id) // take it back
	}
}

// tellUse tells the edge that drives the session of its use here. m.mu is held.
func (m *Manager) tellUse(r *record, at time.Time) {
	if !m.clustered() || r.drives || r.row.IdleTimeout == 0 || at.Before(r.usedTold.Add(useTold)) {
		return
	}
	r.usedTold = at
	m.o.Coord.Publish(context.Background(), store.Event{Type: "activity", ID: r.row.ID})
}

// hearOfAgent takes in what an operator or a tunnel did to an agent on another
// edge.
func (m *Manager) hearOfAgent(e store.Event) {
	m.mu.Lock()
	for id, r := range m.live {
		if r.is(store.Pending) && r.row.AgentID == e.ID {
			m.queue.kick(id)
		}
	}
	m.kickWaiting()
	m.mu.Unlock()
	m.rosterOutdated()
	if e.State == agentRemoved {
		m.dismiss(e.ID)
	}
}

// dismiss forgets an agent that another edge has removed, and ends its tunnel.
func (m *Manager) dismiss(agentID string) {
	m.mu.Lock()
	m.unlink(agentID)
	m.forgetAgent(agentID)
	m.mu.Unlock()
	m.o.Disconnect(agentID)
}
