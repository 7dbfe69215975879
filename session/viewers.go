package session

import (
	"context"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// Viewers says that n viewers are attached to a session now, after one came or
// went.
func (m *Manager) Viewers(id string, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n == 0 && m.live[id] == nil {
		return
	}
	r := m.record(id)
	r.viewers = n
	r.countTold = time.Now()
	if r.is(store.Running) { // nothing to decide, and viewers may come by the thousand
		m.publish(r.row, n) // before the event of a later row, which needs m.mu
		return
	}
	r.untold = true
	m.queue.kick(id)
}

// tellViewers closes the viewers of a session that ends or has ended, and those
// that it had at the agent which has lost it.
func (m *Manager) tellViewers(s *store.Session) {
	m.mu.Lock()
	lost := m.record(s.ID).lost
	m.record(s.ID).lost = false
	m.mu.Unlock()
	if lost {
		m.o.EndViewers(s.ID, tellOffline)
	}
	if s.State != store.Stopping && !s.Ended() {
		return
	}
	m.mu.Lock()
	r := m.live[s.ID]
	watched, told := r != nil && r.viewers > 0, tellEnded
	if r != nil && r.told != "" {
		told = r.told
	}
	if watched && r.toldAt.IsZero() {
		r.toldAt = time.Now()
	}
	m.mu.Unlock()
	if watched {
		m.o.EndViewers(s.ID, told)
	}
}

// tellOfViewers publishes that viewers came or went: their number is not in the
// row, so no other event tells it.
func (m *Manager) tellOfViewers(s *store.Session) {
	m.mu.Lock()
	r := m.record(s.ID)
	untold, viewers := r.untold, r.viewers
	r.untold = false
	m.mu.Unlock()
	if untold {
		m.publish(s, viewers)
	}
}

// touch writes LastActivity.
func (m *Manager) touch(ctx context.Context, s *store.Session) error {
	m.mu.Lock()
	r := m.record(s.ID)
	used := r.used
	r.unstored = false
	m.mu.Unlock()
	used = there(used, time.Now(), m.o.Store.ClockAhead())
	_, _, err := m.update(ctx, s.ID, func(row *store.Session) error {
		row.LastActivity = latest(row.LastActivity, used)
		return nil
	})
	if err != nil {
		m.mu.Lock()
		m.record(s.ID).unstored = true
		m.mu.Unlock()
	}
	return err
}

// NotReady is the error of a session that exists but can't be looked at now.
type NotReady struct {
	Word string // "session_starting", "session_ended" or "agent_offline"
	Text string // for a person
}

func (e *NotReady) Error() string { return e.Text }

// Target returns a session that a viewer can be connected to now: at its
// agent, or at its endpoint. The store is asked only when the session was not
// running when it was last seen. The caller changes nothing of it. Errors:
// *NotReady, or a *store.Error with NotFound or Unavailable.
func (m *Manager) Target(ctx context.Context, id string) (*store.Session, error) {
	s := m.running(id)
	if s == nil {
		var err error
		if s, err = m.o.Store.Session(ctx, id); err != nil {
			return nil, err
		}
	}
	switch {
	case s.Ended(), s.Desired == store.Terminated:
		return nil, &NotReady{"session_ended", orElse(s.Reason, "this session has ended")}
	case s.State == store.Pending, s.State == store.Starting:
		return nil, &NotReady{"session_starting", orElse(s.Reason, "this session is starting")}
	case s.Endpoint == "" && !m.reachable(s.AgentID):
		return nil, &NotReady{tellOffline, orElse(s.Reason, "the agent of this session is away")}
	}
	return s, nil
}

// running returns the latest row seen of a session when that says it runs.
func (m *Manager) running(id string) *store.Session {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.live[id]; r != nil && r.is(store.Running) {
		return r.row
	}
	return nil
}
