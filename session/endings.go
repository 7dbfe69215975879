package session

import (
	"fmt"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// A session ends by itself when nobody used it for its IdleTimeout, or when
// its ExpiresAt has come. Either end is announced in the row, and by the event
// of that change, before it comes; use takes the announcement of the first back.

// endNotice is how long before an end that comes by itself it is announced, or
// half of the timeout when that is less: what is idle for a moment is not near
// its end.
const endNotice = time.Minute

// end is one that comes by itself.
type end struct {
	at      time.Time // by this edge's clock; zero: never
	inRow   time.Time // the same as rows have it
	because store.EndsBecause
	notice  time.Duration // it is announced so long before
}

func (e end) due(now time.Time) bool { return !e.at.IsZero() && !now.Before(e.at) }

// idleEnd is when the session ends for want of use. Only what can be used is
// idle: the desktop runs and can be reached.
func idleEnd(s *store.Session, v view) end {
	if s.IdleTimeout == 0 || s.State != store.Running || (s.Endpoint == "" && v.reach != up) {
		return end{}
	}
	from := latest(latest(here(s.LastActivity, v.now, v.ahead), v.used), v.idleFrom)
	at := from.Add(s.IdleTimeout)
	return end{at, there(at, v.now, v.ahead), store.EndsIdle, noticeOf(s.IdleTimeout)}
}

func maxDurationEnd(s *store.Session, v view) end {
	if s.ExpiresAt.IsZero() {
		return end{}
	}
	return end{here(s.ExpiresAt, v.now, v.ahead), s.ExpiresAt, store.EndsMaxDuration, noticeOf(s.MaxDuration)}
}

func noticeOf(timeout time.Duration) time.Duration { return min(endNotice, timeout/2) }

// announced tells whether the row says so. Two clocks of one host that are read one
// after the other give no instant to the microsecond.
func (e end) announced(s *store.Session) bool {
	return s.EndsBecause == e.because && s.EndsAt.Sub(e.inRow).Abs() < time.Millisecond
}

// announce is the step that makes the row say of the session's end what is
// true now: the earliest that is near. When it says so already, the step is to
// wait until that changes.
func announce(s *store.Session, v view) step {
	var near end
	var again time.Time
	for _, e := range []end{maxDurationEnd(s, v), idleEnd(s, v)} {
		notice := e.at.Add(-e.notice)
		switch {
		case e.at.IsZero():
		case v.now.Before(notice):
			again = earliest(again, notice)
		default:
			again = earliest(again, e.at)
			if near.at.IsZero() || e.at.Before(near.at) {
				near = e
			}
		}
	}
	if near.announced(s) {
		return step{again: again}
	}
	return step{do: warn, end: near}
}

// whileRunning keeps LastActivity and ends the session when it is idle.
func whileRunning(s *store.Session, v view) step {
	if idleEnd(s, v).due(v.now) {
		return step{do: become, to: ending(s), viewers: tellIdle, reason: fmt.Sprintf("idle: nobody used it for %v", s.IdleTimeout)}
	}
	if v.unstored {
		return step{do: touch}
	}
	return step{}
}

// grain is how old LastActivity may become while the session is used. The edge
// that drives it may know of use elsewhere from the row alone, and must not take
// it for idle, nor nearly so.
func (r *record) grain() time.Duration {
	if r.drives || r.row.IdleTimeout == 0 {
		return activityGrain
	}
	return min(activityGrain, r.row.IdleTimeout/4)
}

// Input says that a person used the session at that time: pressed a key, moved
// the pointer, or opened it to do so. Looking on is no use. The relay calls it
// at most once a second for each stream; it does not block, and writes to the
// store follow at most once a minute. A session that has ended, or is unknown
// here, is left alone.
func (m *Manager) Input(id string, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.live[id]
	if r == nil || !r.unended() || !at.After(r.used) {
		return
	}
	r.used = at
	m.tellUse(r, at)
	switch {
	case r.idleNear && r.drives: // take it back
		r.idleNear = false
	case !r.unstored && !at.Before(r.usedStored.Add(r.grain())):
		r.unstored = true
	default: // the look at the notice of the idle end comes anyway
		return
	}
	m.queue.kick(id)
}
