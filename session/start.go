package session

import (
	"context"
	"errors"
	"maps"
	"time"

	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// start tells the agent to start a session, whose row says before that it is
// starting: whoever drives it next knows that the agent may have been told, and no
// session is pending at an agent that may have it. It may be told again.
//
// The tunnel is chosen before the row is read, so a command that is late, since
// this edge stood still, goes by no tunnel that is younger than what it says.
func (m *Manager) start(ctx context.Context, s *store.Session) (time.Time, error) {
	l, generation, again := m.reserve(s.AgentID)
	if l == nil {
		return again, nil
	}
	s, err := m.beginStart(ctx, s)
	if err != nil || s == nil {
		m.release(l)
		return time.Now(), err
	}
	m.assume(s, nil)
	err = m.command(ctx, l, func(ctx context.Context, s *store.Session) error { return m.o.Start(ctx, s, generation) }, s)
	switch {
	case err == nil:
		return time.Now(), nil // until when to wait for it
	case ctx.Err() != nil:
		return time.Time{}, ctx.Err()
	}
	m.assume(s, err)
	no, isRefused := errors.AsType[*Refused](err)
	if !isRefused {
		m.o.Log.Warn("it is not known whether an agent starts a session; asking it again", zap.String("session", s.ID), zap.String("agent", s.AgentID), zap.Error(err))
		return time.Now().Add(startAgain), nil
	}
	m.o.Metrics.placements.WithLabelValues(refused).Inc()
	m.o.Log.Warn("an agent did not start a session", zap.String("session", s.ID), zap.String("agent", s.AgentID), zap.Error(err))
	return time.Now(), m.refusedBy(ctx, s, no)
}

// beginStart makes the session starting, unless it is so already, and returns its
// row; nil when it is not at that agent, or not wanted, any more.
func (m *Manager) beginStart(ctx context.Context, s *store.Session) (row *store.Session, err error) {
	is := false
	row, _, err = m.update(ctx, s.ID, func(row *store.Session) error {
		is = same(row, s)
		if !is || row.State == store.Starting {
			return store.ErrUnchanged
		}
		row.State, row.Reason = store.Starting, ""
		return nil
	})
	if err != nil || !is {
		return nil, err
	}
	return row, nil
}

// refusedBy writes that the session's agent does not start it, as the row s asked.
func (m *Manager) refusedBy(ctx context.Context, s *store.Session, no *Refused) error {
	why, code := words(no.Err), store.CodeOf(no.Err)
	told := ""
	if code == store.Invalid {
		told = tellEnded
	}
	change := func(row *store.Session) error {
		switch {
		case !row.UpdatedAt.Equal(s.UpdatedAt):
			return store.ErrUnchanged
		case code == store.Invalid:
			row.State, row.Reason = store.Failed, why
		default:
			row.State, row.Reason, row.Refusals = store.Pending, why, refuse(row.Refusals, s.AgentID, why, code == store.Conflict, m.storeNow())
		}
		return nil
	}
	_, _, err := m.changing(told, change, func(change func(*store.Session) error) (*store.Session, error) {
		return m.o.Store.UpdateSession(ctx, s.ID, change)
	})
	return err
}

// Refused is an agent's answer that it does not start a session, and will not do
// so however often that command comes. The code of Err decides about this agent:
// Conflict, it can't start the session and is not asked again; Invalid, nobody
// can; any other, later perhaps.
type Refused struct{ Err *store.Error }

func (e *Refused) Error() string { return e.Err.Error() }
func (e *Refused) Unwrap() error { return e.Err }

// refuse is r with one more.
func refuse(r store.Refusals, agentID, why string, hopeless bool, now time.Time) store.Refusals {
	by := maps.Clone(r.By)
	if by == nil {
		by = map[string]bool{}
	}
	by[agentID] = hopeless
	return store.Refusals{Count: r.Count + 1, By: by, Latest: why, NotBefore: now.Add(backoff(r.Count + 1)).UTC().Truncate(time.Microsecond)}
}

// words is what of an error a session's owner is told; the cause is for the log.
func words(err error) string {
	if e, ok := errors.AsType[*store.Error](err); ok {
		return e.Text
	}
	return err.Error()
}

// assume notes that the agent has the session before it says so itself. With the
// error of the command that told it takes that back, or notes the doubt.
func (m *Manager) assume(s *store.Session, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.links[s.AgentID]
	if l == nil || !l.up {
		return
	}
	r := l.reports[s.ID]
	_, isRefused := errors.AsType[*Refused](err)
	switch {
	case err == nil && (r == nil || !alive(r.State)):
		l.reports[s.ID] = &report{Observed: Observed{Session: s.ID, State: ObservedStarting}, assumed: true}
	case err == nil:
		r.unanswered = false
	case r == nil || !r.assumed:
	case isRefused:
		delete(l.reports, s.ID)
	default:
		r.unanswered = true
	}
}
