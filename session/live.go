package session

import (
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// record is what is kept in memory of one session. Guarded by Manager.mu.
type record struct {
	row   *store.Session // the latest one seen, never changed; nil before the first
	seen  time.Time      // when it was first seen as it is: other edges' clocks, and their changes, are not this one's
	begun time.Time      // when it was first seen as starting, or further, at its agent

	placed struct { // by this edge, the latest time
		agentID string
		at      time.Time
	}

	viewers int
	untold  bool      // viewers came or went and no event told it
	told    string    // what viewers are told from now on; empty: nothing
	toldAt  time.Time // when the first were told of the end

	used       time.Time // the latest Input; zero: none since this edge started
	usedStored time.Time // LastActivity of the row, by this edge's clock
	unstored   bool      // it is to be written
	idleFrom   time.Time // when this edge saw it become running: the idle time starts anew with the edge, and after the agent was away
	idleNear   bool      // the row announces an idle end

	// How often this edge was told that the row may have changed, as it is now and
	// as it was before the latest read.
	news, read uint64

	drives    bool      // this edge drove it at the latest look
	lost      bool      // it ran and is started again elsewhere: viewers of before are to go
	usedTold  time.Time // when other edges were told that it is used
	countTold time.Time // when they were told how many viewers it has here
}

// is tells whether the session was in that state when its row was last seen.
func (r *record) is(state store.State) bool { return r.row != nil && r.row.State == state }

// sameStart tells whether s is as far as the row that was last seen, or further, by
// the same start. That it was pending in between may not have been seen.
func (r *record) sameStart(s *store.Session) bool {
	switch {
	case r.row == nil || r.is(store.Pending) || r.row.AgentID != s.AgentID:
		return false
	case s.State == store.Starting:
		return r.is(store.Starting) && r.row.Refusals.Count == s.Refusals.Count
	default:
		return true
	}
}

// unended tells whether the row was seen and had not ended.
func (r *record) unended() bool { return r.row != nil && !r.row.Ended() }

// record returns the record of id, made when there is none. m.mu is held.
func (m *Manager) record(id string) *record {
	r := m.live[id]
	if r == nil {
		r = &record{}
		m.live[id] = r
	}
	return r
}

// track notes the row of a session as it was just read or written. A caller
// that is not the session's look must kick it afterwards: a look that ran at
// the same time may have seen a newer row, and then puts it right. It returns
// how many viewers the session has here.
func (m *Manager) track(s *store.Session) (viewers int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.trackRow(s)
}

// trackFirst is track if no newer row of the session can have been seen: none is at
// hand, and none was forgotten since the given count. Else it does nothing.
func (m *Manager) trackFirst(s *store.Session, forgotten uint64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.live[s.ID]; r != nil && r.row != nil || m.forgotten != forgotten {
		return false
	}
	m.trackRow(s)
	return true
}

// trackRow is track with m.mu held.
func (m *Manager) trackRow(s *store.Session) (viewers int) {
	r := m.record(s.ID)
	before := *r
	row := *s
	r.row = &row
	if before.row == nil || !before.row.UpdatedAt.Equal(s.UpdatedAt) {
		r.seen = time.Now()
	}
	r.usedStored = here(s.LastActivity, time.Now(), m.o.Store.ClockAhead())
	r.idleNear = s.EndsBecause == store.EndsIdle
	if s.State == store.Running && !before.is(store.Running) {
		r.idleFrom = time.Now()
	}
	if s.State != store.Pending && !before.sameStart(s) {
		r.begun = time.Now()
	}
	if s.State == store.Pending && (before.is(store.Running) || before.is(store.Unreachable)) {
		r.lost = true
	}
	m.count(&before, -1)
	m.count(r, +1)
	delete(m.waiting, s.ID)
	if s.State == store.Pending && s.AgentID == "" {
		m.waiting[s.ID] = true
	}
	if s.Ended() && before.unended() {
		m.kickWaiting() // there is room now
	}
	return r.viewers
}

// heardOf notes that the row may be another one than that at hand: looks read it.
func (m *Manager) heardOf(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.live[id]; r != nil {
		r.news++
	}
}

// newsOf is to be asked before a row is read, and haveRead called after.
func (m *Manager) newsOf(id string) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.live[id]; r != nil {
		return r.news
	}
	return 0
}

func (m *Manager) haveRead(id string, news uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.live[id]; r != nil {
		r.read = news
	}
}

// count adds a record to the gauges, or takes it off. m.mu is held.
func (m *Manager) count(r *record, delta int) {
	if !r.unended() {
		return
	}
	m.o.Metrics.sessions.WithLabelValues(string(r.row.State)).Add(float64(delta))
	agentID := r.row.AgentID
	if agentID == "" {
		return
	}
	a := m.member(agentID)
	a.count(r.row.Runtime, delta)
	m.o.Metrics.agentActive.WithLabelValues(agentID).Set(float64(a.active))
	m.dropUnused(agentID)
}

// forget drops the record of a session that is not in the store any more.
func (m *Manager) forget(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.live[id]; r != nil {
		m.count(r, -1)
		r.row = nil
		delete(m.waiting, id)
		m.forgetUnwatched(id)
	}
	delete(m.watched, id)
}

// forgetUnwatched drops the record of an ended session once its last viewer
// has gone. One that has an older row again, by a list that was read before the
// end, stays until the look that this asked for: what it counts would never be
// taken off. m.mu is held.
func (m *Manager) forgetUnwatched(id string) {
	if r := m.live[id]; r.viewers == 0 && !r.unended() {
		delete(m.live, id)
		m.forgotten++
	}
}

// kickWaiting asks for a look at every session that waits for room. m.mu is held.
func (m *Manager) kickWaiting() {
	for id := range m.waiting {
		m.queue.kick(id)
	}
}

// kickPlacedOn asks for a look at every session on the agent. m.mu is held.
func (m *Manager) kickPlacedOn(agentID string) {
	for id, r := range m.live {
		if r.row != nil && r.row.AgentID == agentID {
			m.queue.kick(id)
		}
	}
}
