package session

import (
	"context"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// unended are the states of sessions that may still change.
func unended() []store.State {
	return []store.State{store.Pending, store.Starting, store.Running, store.Hibernated, store.Unreachable, store.Stopping}
}

// moving are the states of sessions for which something is to be done. Stores find
// them quickly by just these.
func moving() []store.State {
	return []store.State{store.Pending, store.Starting, store.Unreachable, store.Stopping}
}

// recheck asks for a look at sessions that the store has as unreachable, or as
// starting without their agent, although their agents have tunnels here. This
// edge writes no such row, but another one may have, which had no tunnel and has
// left since: then nothing else would ever ask for that look. Where there are
// other edges, it also finds the sessions for which something is to be done and
// whose event was lost.
func (m *Manager) recheck(ctx context.Context) error {
	began, wrong := time.Now(), false
	err := m.eachOf(ctx, moving(), func(s *store.Session) {
		doubted := s.State == store.Unreachable || s.State == store.Starting && s.Reason != ""
		isWrong := doubted && m.connected(s.AgentID)
		wrong = wrong || isWrong
		if isWrong || m.outdatedRow(s) {
			m.lookAnew(s.ID)
		}
	})
	if err == nil && !wrong {
		m.noteChecked(began)
	}
	return err
}

// outdatedRow tells whether another edge has written to the session since its row
// was last seen here.
func (m *Manager) outdatedRow(s *store.Session) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.live[s.ID]
	return m.clustered() && (r == nil || r.row == nil || !r.row.UpdatedAt.Equal(s.UpdatedAt))
}

// reread reads every session that has not ended and asks for a look at those
// that are not as they were last seen.
func (m *Manager) reread(ctx context.Context) error {
	known := map[string]store.Session{}
	m.mu.Lock()
	forgotten := m.forgotten
	for id, r := range m.live {
		if r.unended() {
			known[id] = *r.row
		}
	}
	m.mu.Unlock()
	err := m.eachOf(ctx, unended(), func(s *store.Session) {
		before, ok := known[s.ID]
		delete(known, s.ID)
		switch {
		case ok && before.UpdatedAt.Equal(s.UpdatedAt):
		case m.trackFirst(s, forgotten):
			m.queue.kick(s.ID)
		default: // what was written here meanwhile may be newer
			m.track(s)
			m.lookAnew(s.ID)
		}
	})
	if err != nil {
		return err
	}
	for id := range known { // ended, or changed its place in the list
		m.lookAnew(id)
	}
	return nil
}

// lookAnew asks for a look that reads the row.
func (m *Manager) lookAnew(id string) {
	m.heardOf(id)
	m.queue.kick(id)
}

// eachOf reads all sessions in those states.
func (m *Manager) eachOf(ctx context.Context, states []store.State, do func(*store.Session)) error {
	filter := store.SessionFilter{States: states, Limit: store.MaxPage}
	for {
		page, next, err := m.o.Store.Sessions(ctx, filter)
		if err != nil {
			return err
		}
		for _, s := range page {
			do(s)
		}
		if next == "" {
			return nil
		}
		filter.Cursor = next
	}
}
