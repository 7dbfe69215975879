package session

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// DeleteAgent removes an agent: it takes no new sessions, those it has are
// stopped (or, when it is away, given up), and then it is disconnected and
// forgotten. It returns as soon as that is under way. A removal that is under
// way when the edge ends leaves the agent draining; deleting it again goes on.
func (m *Manager) DeleteAgent(ctx context.Context, id string) error {
	if err := m.setDraining(ctx, id, true); err != nil {
		return err
	}
	m.mu.Lock()
	l := m.links[id]
	if l == nil {
		l = m.link(id)
	}
	l.removing = true
	if !l.up { // counts only while no other edge has it
		l.left, l.why, l.since = true, "its agent was removed", time.Now()
	}
	m.kickPlacedOn(id)
	m.mu.Unlock()

	// Pending ones go to other agents by themselves.
	filter := store.SessionFilter{AgentID: id, States: []store.State{store.Starting, store.Running, store.Unreachable}, Limit: 1000}
	for {
		page, next, err := m.o.Store.Sessions(ctx, filter)
		if err != nil {
			return err
		}
		for _, s := range page {
			if _, err := m.stop(ctx, s.ID, "its agent was removed"); err != nil && store.CodeOf(err) != store.NotFound {
				return err
			}
		}
		if next == "" {
			return m.finishRemoval(ctx, id)
		}
		filter.Cursor = next
	}
}

// finishRemoval deletes an agent that is being removed and has no sessions
// left; any other agent stays as it is.
func (m *Manager) finishRemoval(ctx context.Context, id string) error {
	m.mu.Lock()
	l := m.links[id]
	removing := l != nil && l.removing
	m.mu.Unlock()
	if !removing {
		return nil
	}
	active, err := m.o.Store.ActiveSessions(ctx)
	if err != nil || total(active[id]) > 0 {
		return err
	}
	if err := m.o.Store.DeleteAgent(ctx, id); err != nil && store.CodeOf(err) != store.NotFound {
		return err
	}
	m.mu.Lock()
	if m.links[id] == l {
		m.unlink(id)
	}
	m.forgetAgent(id)
	m.mu.Unlock()
	m.o.Disconnect(id)
	m.o.Log.Info("agent removed", zap.String("agent", id))
	m.o.Coord.Publish(context.Background(), store.Event{Type: "agent", ID: id, State: agentRemoved})
	return nil
}

// agentRemoved is what the event of an agent that is no more tells.
const agentRemoved = "removed"

// forgetAgent drops what is known of an agent beside its link. m.mu is held.
func (m *Manager) forgetAgent(id string) {
	m.unknow(id)
	delete(m.reached, id)
	delete(m.gone, id)
	m.o.Metrics.forgetAgent(id)
}
