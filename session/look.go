package session

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// atRest tells whether nothing is to be done for a session that runs, by the row
// that is at hand and by what is known beside it, and then when to look again. When
// an agent changes its home, or an edge goes, that is so of nearly all the sessions
// that are to be looked at, and there may be thousands.
func (m *Manager) atRest(id string) (s *store.Session, again time.Time, rests bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.live[id]
	if r == nil || !r.is(store.Running) || r.news != r.read || r.lost {
		return nil, time.Time{}, false
	}
	for agentID, l := range m.links {
		if agentID != r.row.AgentID && l.reports[id] != nil {
			return nil, time.Time{}, false
		}
	}
	st := m.limits.next(r.row, m.known(r.row, r))
	return r.row, st.again, st.do == wait
}

// look brings one session a step closer to what is desired and says when to
// look again. It is the only one that takes such steps, and the queue calls it
// for one id by one goroutine at a time.
func (m *Manager) look(ctx context.Context, id string) (again time.Time, err error) {
	defer func() {
		if err != nil && ctx.Err() == nil {
			m.o.Log.Warn("a session could not be driven on; trying again", zap.String("session", id), zap.Error(err))
		}
	}()
	if s, again, rests := m.atRest(id); rests {
		m.tellOfViewers(s)
		m.tellOfAgent(s)
		return again, nil
	}
	news := m.newsOf(id)
	s, err := m.o.Store.Session(ctx, id)
	if store.CodeOf(err) == store.NotFound {
		m.forget(id)
		return m.stopUnwanted(ctx, &store.Session{ID: id, State: store.Terminated})
	}
	if err != nil {
		return time.Time{}, err
	}
	m.track(s)
	m.haveRead(id, news)
	m.tellViewers(s)
	m.tellOfViewers(s)
	m.tellOfAgent(s)
	v, err := m.view(ctx, s)
	if err != nil {
		return time.Time{}, err
	}
	again, err = m.take(ctx, s, m.limits.next(s, v))
	if err != nil {
		return time.Time{}, err
	}
	stopAt, err := m.stopUnwanted(ctx, s)
	if err != nil {
		return time.Time{}, err
	}
	if s.Ended() {
		err = m.finishRemoval(ctx, s.AgentID)
	}
	return earliest(again, stopAt), err
}

func (m *Manager) view(ctx context.Context, s *store.Session) (view, error) {
	m.mu.Lock()
	v := m.known(s, m.record(s.ID))
	if s.Ended() {
		m.forgetUnwatched(s.ID)
	}
	m.mu.Unlock()
	if !v.drives || s.State != store.Pending || v.reach != up {
		return v, nil
	}
	agent, err := m.o.Store.Agent(ctx, s.AgentID)
	if store.CodeOf(err) == store.NotFound {
		return v, nil
	}
	v.fits = err == nil && obstacle(agent, true, demandOf(s)) == ""
	return v, err
}

// known is what of a view is in memory. m.mu is held.
func (m *Manager) known(s *store.Session, r *record) view {
	v := view{now: time.Now(), ahead: m.o.Store.ClockAhead()}
	_, v.refused = s.Refusals.By[s.AgentID]
	v.drives = m.drives(s)
	m.noteDriving(r, v.drives)
	v.begun = r.begun
	v.used, v.unstored, v.idleFrom = r.used, r.unstored, r.idleFrom
	if s.AgentID != "" {
		v.reach, v.since, v.why = m.reach(s.AgentID)
		if m.clustered() && v.reach == left && s.State != store.Pending && r.begun.After(v.since) {
			v.reach = away // an edge that has it again has placed the session there since
		}
		if m.clustered() && v.reach == away {
			// An edge that the others can't reach, or this one alone can't, may still have the agent: then it has said so in the row.
			v.since, v.doubt = latest(v.since, r.seen), doubt
		}
		if l := m.links[s.AgentID]; l != nil && l.reports[s.ID] != nil {
			if told := l.reports[s.ID]; s.State != store.Starting || !told.unanswered {
				v.report = told.Observed
			}
		}
	}
	return v
}

// take does the step; the answer is when to look again.
func (m *Manager) take(ctx context.Context, s *store.Session, st step) (time.Time, error) {
	switch st.do {
	case become:
		return time.Now(), m.become(ctx, s, st)
	case place:
		return m.replace(ctx, s)
	case start:
		return m.start(ctx, s)
	case probe:
		return time.Now(), m.probe(ctx, s)
	case touch:
		return time.Now(), m.touch(ctx, s)
	case warn:
		return time.Now(), m.warn(ctx, s, st.end)
	default:
		return st.again, nil
	}
}

// become writes a step, unless somebody changed what it was decided on: then
// the look that follows decides anew.
func (m *Manager) become(ctx context.Context, s *store.Session, st step) error {
	var runtime string
	if st.to == store.Running && s.Runtime == "" && s.AgentID != "" {
		runtime = m.runtimeGot(ctx, s)
	}
	change := func(row *store.Session) error {
		switch {
		case !same(row, s),
			st.to == store.Pending && !row.UpdatedAt.Equal(s.UpdatedAt),       // what was seen may be of an attempt before
			st.viewers == tellIdle && !row.LastActivity.Equal(s.LastActivity): // it was used on another edge
			return store.ErrUnchanged
		case s.State == store.Starting && st.to == store.Pending:
			row.Refusals = refuse(row.Refusals, s.AgentID, st.reason, false, m.storeNow())
		case st.to == store.Pending: // its agent has lost it, and may have it again
			row.AgentID = ""
		}
		row.State, row.Reason = st.to, st.reason
		switch st.to {
		case store.Stopping, store.Terminated:
			row.Desired = store.Terminated
		case store.Running:
			row.Runtime, row.Name = orElse(row.Runtime, runtime), orElse(row.Name, st.name)
		}
		return nil
	}
	_, changed, err := m.changing(st.viewers, change, func(change func(*store.Session) error) (*store.Session, error) {
		return m.o.Store.UpdateSession(ctx, s.ID, change)
	})
	if err == nil && changed && s.State == store.Starting && st.to == store.Running {
		m.o.Metrics.start.Observe(max(m.storeNow().Sub(s.CreatedAt), 0).Seconds())
	}
	return err
}

// warn writes the end that is announced, or that none is any more.
func (m *Manager) warn(ctx context.Context, s *store.Session, e end) error {
	_, _, err := m.update(ctx, s.ID, func(row *store.Session) error {
		if !same(row, s) {
			return store.ErrUnchanged
		}
		row.EndsAt, row.EndsBecause = e.inRow, e.because
		return nil
	})
	return err
}

func same(a, b *store.Session) bool {
	return a.State == b.State && a.Desired == b.Desired && a.AgentID == b.AgentID
}

// runtimeGot names what a session that asked for no runtime got; empty when
// that can't be told, which costs a word in a list and nothing else.
func (m *Manager) runtimeGot(ctx context.Context, s *store.Session) string {
	a := m.rowOf(s.AgentID)
	if a == nil {
		var err error
		if a, err = m.o.Store.Agent(ctx, s.AgentID); err != nil {
			return ""
		}
	}
	if r := runtimeFor(a, demandOf(s)); r != nil {
		return r.Name
	}
	return ""
}

func (m *Manager) probe(ctx context.Context, s *store.Session) error {
	probing, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	err := m.o.ProbeEndpoint(probing, s.Endpoint)
	switch {
	case err == nil:
		return m.become(ctx, s, step{to: store.Running})
	case ctx.Err() != nil:
		return ctx.Err()
	default:
		return m.become(ctx, s, step{to: store.Failed, reason: words(err), viewers: tellEnded})
	}
}

// stopUnwanted ends the session wherever an agent has it and should not: it is
// to end or has ended, is unknown, or lives elsewhere.
func (m *Manager) stopUnwanted(ctx context.Context, s *store.Session) (again time.Time, err error) {
	now := time.Now()
	var tell []string
	m.mu.Lock()
	var farewellEnds time.Time // zero: nobody is to hear of the end first
	if r := m.live[s.ID]; s.State == store.Stopping && r != nil && r.viewers > 0 && !r.toldAt.IsZero() {
		farewellEnds = r.toldAt.Add(farewell)
	}
	for agentID, l := range m.links {
		r := l.reports[s.ID]
		switch {
		case r == nil:
		case !alive(r.State):
			if s.Ended() || s.State == store.Pending || s.AgentID != agentID { // else the next step takes it in
				delete(l.reports, s.ID)
			}
		case wanted(s, agentID), !l.up:
		case !m.drivesAt(s.ID, agentID): // who does may not know, and no row tells of a change
			again = earliest(again, now.Add(stopAgain))
		case now.Before(farewellEnds):
			again = earliest(again, farewellEnds)
		case now.Before(r.stopped.Add(stopAgain)):
			again = earliest(again, r.stopped.Add(stopAgain))
		default:
			tell = append(tell, agentID)
		}
	}
	m.mu.Unlock()
	var errs []error
	for _, agentID := range tell {
		at, err := m.stopAt(ctx, agentID, s)
		again, errs = earliest(again, at), append(errs, err)
	}
	return again, errors.Join(errs...)
}

// wanted tells whether the session may be at that agent. A pending one may be
// anywhere: it is placed where it is found.
func wanted(s *store.Session, agentID string) bool {
	return !s.Ended() && s.Desired != store.Terminated && (s.State == store.Pending || s.AgentID == agentID)
}

func (m *Manager) stopAt(ctx context.Context, agentID string, s *store.Session) (again time.Time, err error) {
	l, _, again := m.reserve(agentID)
	if l == nil {
		return again, nil
	}
	if s.Ended() || s.AgentID != agentID {
		m.o.Log.Info("ending a desktop that nobody wants", zap.String("session", s.ID), zap.String("agent", agentID))
	}
	there := *s
	there.AgentID = agentID
	if err := m.command(ctx, l, m.o.Stop, &there); err != nil {
		return time.Time{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := l.reports[s.ID]; r != nil {
		r.stopped = time.Now()
	}
	return time.Now().Add(stopAgain), nil
}

// reserve takes one of the agent's places for a command, which command or release
// gives back, and returns the generation of its tunnel. Without a link: look again
// then; zero: when the agent is back.
func (m *Manager) reserve(agentID string) (l *link, generation uint64, again time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l = m.links[agentID]
	switch {
	case l == nil || !l.up:
		return nil, 0, time.Time{}
	case l.commands >= maxCommands:
		return nil, 0, time.Now().Add(100 * time.Millisecond)
	}
	l.commands++
	return l, l.generation, time.Time{}
}

func (m *Manager) release(l *link) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l.commands--
}

// command calls Start or Stop, bounded in time.
func (m *Manager) command(ctx context.Context, l *link, call func(context.Context, *store.Session) error, s *store.Session) error {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	defer m.release(l)
	return call(ctx, s)
}
