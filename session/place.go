package session

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/streamspace-dev/streamspace-edge/balancer"
	"github.com/streamspace-dev/streamspace-edge/store"
)

// choose picks the agent for a session; empty and the reasons when there is none.
// It skips those that refused the session, and those in unfit for the reason
// there. Whether the choice holds is for the Store to say: another edge, or
// another request, may choose the same, and what is chosen by may be a moment
// old. Where that shows (somebody is unfit, or nobody seems to have room) the
// Store is asked for the latest. The caller calls settled with the agent's id
// when that is over.
func (m *Manager) choose(ctx context.Context, s *store.Session, unfit map[string]string) (agentID string, why tally, err error) {
	d := demandOf(s)
	if len(unfit) == 0 {
		if agentID = m.chooseKnown(d); agentID != "" {
			return agentID, nil, nil
		}
	} else {
		m.rosterOutdated()
	}
	agents, err := m.o.Store.Agents(ctx)
	if err != nil {
		return "", nil, err
	}
	counts, err := m.o.Store.ActiveSessions(ctx)
	if err != nil {
		return "", nil, err
	}
	agentID, why = m.chooseFrom(agents, counts, d, unfit)
	if agentID == "" {
		m.o.Metrics.placements.WithLabelValues(noAgent).Inc()
	}
	return agentID, why, nil
}

// chooseKnown picks by what this edge has in memory; empty when that is not enough.
func (m *Manager) chooseKnown(d *demand) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.rosterUsable() {
		return ""
	}
	m.shortlist = m.shortlist[:0]
	for _, a := range m.roster {
		if c, reason := m.consider(a.row, m.memberReachable(a), &a.load, d, nil); reason == "" {
			m.shortlist = append(m.shortlist, c)
		}
	}
	return m.pick()
}

// chooseFrom picks by what the Store has just told.
func (m *Manager) chooseFrom(agents []*store.Agent, counts map[string]map[string]int, d *demand, unfit map[string]string) (string, tally) {
	m.mu.Lock()
	defer m.mu.Unlock()
	why := tally{}
	m.shortlist = m.shortlist[:0]
	for _, a := range agents {
		l := load{active: total(counts[a.ID]), used: counts[a.ID]}
		if known := m.members[a.ID]; known != nil {
			l.chosen = known.chosen
		}
		c, reason := m.consider(a, m.reachableNow(a.ID), &l, d, unfit)
		switch {
		case reason == "":
			m.shortlist = append(m.shortlist, c)
			continue
		case reason == "full" && c.Full() && c.Active < a.Capacity:
			why[reserved]++
		}
		why[reason]++
	}
	return m.pick(), why
}

// consider makes the agent a candidate, or tells why it is none. What is being
// placed at this moment counts as load, so that requests which come together do
// not all choose the same agent, but fills nobody: it may be counted twice. m.mu
// is held.
func (m *Manager) consider(a *store.Agent, online bool, l *load, d *demand, unfit map[string]string) (balancer.Candidate, string) {
	c := balancer.Candidate{ID: a.ID, Active: l.active, Capacity: m.Room(a), Weight: m.weight(a)}
	if reason := obstacle(a, online, d); reason != "" {
		return c, reason
	}
	if _, excepted := d.Refusals.By[a.ID]; excepted {
		return c, refused
	}
	if reason := unfit[a.ID]; reason != "" {
		return c, reason
	}
	if c.Full() || !slotFree(a, d, l.used) {
		return c, "full"
	}
	if m.endpointTaken(a.ID, d) {
		return c, taken
	}
	c.Active = min(c.Active+l.chosen, c.Capacity-1)
	return c, ""
}

// pick is the picker's choice of the shortlist; empty when that is. m.mu is held.
func (m *Manager) pick() string {
	i := m.picker.Pick(m.shortlist, 0)
	if i < 0 {
		return ""
	}
	agentID := m.shortlist[i].ID
	m.member(agentID).chosen++
	return agentID
}

// settled ends what choose began.
func (m *Manager) settled(agentID string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.member(agentID).chosen--
	m.dropUnused(agentID)
}

func total(counts map[string]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

// replace finds an agent for a pending session that has none, or whose agent
// can't start it. Without one the session waits; the answer is until when.
func (m *Manager) replace(ctx context.Context, s *store.Session) (time.Time, error) {
	m.mu.Lock()
	found, undone := m.foundAt(s.ID), time.Time{}
	if placed := m.record(s.ID).placed; placed.agentID != s.AgentID {
		undone = placed.at
	}
	m.mu.Unlock()
	if again := undone.Add(placeAgain); time.Now().Before(again) {
		return again, nil
	}
	if found != "" {
		return time.Now(), m.assign(ctx, s, found, "", nil)
	}
	var agentID string
	var why tally
	for unfit := map[string]string{}; ; {
		var err error
		if agentID, why, err = m.choose(ctx, s, unfit); err != nil {
			return time.Time{}, err
		}
		if agentID == "" {
			break
		}
		if agentID == s.AgentID { // memory does not know yet that it is there no more
			m.settled(agentID)
			unfit[agentID] = "offline"
			continue
		}
		err = m.assign(ctx, s, agentID, "", m.fits(s))
		m.settled(agentID)
		var no unfitError
		if !errors.As(err, &no) {
			return time.Now(), err
		}
		unfit[agentID] = string(no)
	}
	now := time.Now()
	switch r, again := s.Refusals, here(s.Refusals.NotBefore, now, m.o.Store.ClockAhead()); {
	case why[refused] == 0: // nobody has room
	case mayMend(r) && now.Before(again):
		return again, nil
	case mayMend(r):
		return time.Now(), m.forgive(ctx, s)
	case why["full"]+why["offline"]+why["draining"] == 0:
		return time.Now(), m.become(ctx, s, step{to: store.Failed, reason: r.Latest, viewers: tellEnded})
	}
	return time.Now().Add(roomAgain), m.assign(ctx, s, "", why.String(), nil)
}

// assign writes where a pending session is to start, if it fits there.
func (m *Manager) assign(ctx context.Context, s *store.Session, agentID, reason string, fits store.Fits) error {
	change := func(row *store.Session) error {
		if !same(row, s) || (row.AgentID == agentID && row.Reason == reason) {
			return store.ErrUnchanged
		}
		row.AgentID, row.Reason = agentID, reason
		return nil
	}
	_, changed, err := m.changing("", change, func(change func(*store.Session) error) (*store.Session, error) {
		return m.o.Store.PlaceSession(ctx, s.ID, fits, change)
	})
	if err == nil && changed {
		m.notePlaced(s.ID, agentID)
	}
	if err == nil && changed && fits != nil {
		m.o.Metrics.placements.WithLabelValues(placed).Inc()
	}
	return err
}

func (m *Manager) notePlaced(id, agentID string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.record(id)
	r.placed.agentID, r.placed.at = agentID, time.Now()
}

// foundAt is an agent that has the session already although no edge learnt that
// its start was taken; empty when there is none. m.mu is held.
func (m *Manager) foundAt(id string) string {
	for agentID, l := range m.links {
		if r := l.reports[id]; l.up && r != nil && adoptable(r.State) {
			return agentID
		}
	}
	return ""
}

// mayMend tells whether an agent that refused may start the session later.
func mayMend(r store.Refusals) bool {
	for _, hopeless := range r.By {
		if !hopeless {
			return true
		}
	}
	return false
}

// forgive lets the agents that may start the session later be asked again.
func (m *Manager) forgive(ctx context.Context, s *store.Session) error {
	_, _, err := m.update(ctx, s.ID, func(row *store.Session) error {
		if !same(row, s) {
			return store.ErrUnchanged
		}
		row.Refusals.By = maps.Clone(row.Refusals.By)
		maps.DeleteFunc(row.Refusals.By, func(_ string, hopeless bool) bool { return !hopeless })
		return nil
	})
	return err
}
