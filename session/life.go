package session

import (
	"fmt"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// limits are the durations that end a session by themselves.
type limits struct {
	startTimeout time.Duration
	lostAfter    time.Duration
	restartLost  bool
}

// view is what this edge knows of a session beside its row.
type view struct {
	now    time.Time
	begun  time.Time // since when this edge has seen it as starting, or further, at its agent
	drives bool      // this edge does what is to be done

	ahead time.Duration // how far the clock of the row's times is ahead of this edge's

	reach   reach         // of the agent that the session is placed on
	since   time.Time     // away: when it went; unheard and elsewhere: until when to wait for it
	doubt   time.Duration // away: how long to wait for another edge to have it
	why     string        // away or left: in words
	fits    bool          // pending only: the agent may take it
	refused bool          // pending only: the agent refused it lately
	report  Observed      // what the agent says of it; zero: nothing

	used     time.Time // the latest Input; zero: none
	unstored bool      // LastActivity is to be written
	idleFrom time.Time // what was before does not count as idle
}

// reach is whether an agent can be told something now.
type reach int

const (
	unheard   reach = iota // the edge has just started: it may be about to connect
	elsewhere              // another edge has its tunnel, which will know before long that it drives
	up                     // it has a tunnel here
	away                   // it lost its tunnel; what ran there may still run
	left                   // it went for good: nothing of ours runs there
)

// step is the next thing to do for a session.
type step struct {
	do      deed
	to      store.State // become
	reason  string      // become: why; empty when all is well
	viewers string      // become an ended or stopping state: what the viewers are told
	name    string      // become: for a session without a name
	end     end         // warn: of what; zero: take it back
	again   time.Time   // wait: until then; zero: until something happens
}

type deed int

const (
	wait   deed = iota
	become      // write step.to and step.reason
	place       // find an agent
	start       // make it starting, and tell the agent
	probe       // ask whether its endpoint answers
	touch       // write LastActivity
	warn        // write the end that is announced
)

// What viewers are told when the edge closes them; proxy has the words.
const (
	tellEnded       = "session_ended"
	tellIdle        = "idle"
	tellMaxDuration = "max_duration"
	tellOffline     = "agent_offline"
)

// next is the whole life of a session: the one step that brings what is
// observed closer to what is desired. The table in store says which states may
// follow which; this says when they do. Stopping what should not run is not
// here: look does it for whatever an agent reports and nobody wants.
func (l limits) next(s *store.Session, v view) step {
	if s.Ended() {
		return step{}
	}
	if !v.drives {
		return lookingOn(v)
	}
	if s.Desired != store.Terminated && maxDurationEnd(s, v).due(v.now) {
		return step{do: become, to: ending(s), viewers: tellMaxDuration,
			reason: fmt.Sprintf("max_duration: it reached its longest allowed time, %v", s.MaxDuration)}
	}
	st := l.nextOfState(s, v)
	if st.do == wait && s.Desired != store.Terminated {
		announced := announce(s, v)
		announced.again = earliest(announced.again, st.again)
		return announced
	}
	return st
}

// lookingOn is what is left to an edge that does not drive the session: it alone
// knows of the use that its viewers make of it.
func lookingOn(v view) step {
	if v.unstored {
		return step{do: touch}
	}
	return step{}
}

func (l limits) nextOfState(s *store.Session, v view) step {
	switch {
	case s.Endpoint != "":
		return nextDirect(s, v)
	case s.State == store.Pending:
		return nextPending(s, v)
	case v.reach == unheard, v.reach == elsewhere:
		return step{again: v.since}
	case s.State == store.Starting:
		return l.nextStarting(s, v)
	case s.State == store.Running, s.State == store.Unreachable:
		return l.nextRunning(s, v)
	case s.State == store.Stopping:
		return l.nextStopping(s, v)
	}
	return step{}
}

// ending is the state of a session that is to end: an agent must be told,
// unless there is none.
func ending(s *store.Session) store.State {
	if s.State == store.Pending || s.Endpoint != "" {
		return store.Terminated
	}
	return store.Stopping
}

func nextDirect(s *store.Session, v view) step {
	switch s.State {
	case store.Pending:
		return step{do: become, to: store.Starting}
	case store.Starting:
		return step{do: probe}
	default:
		return whileRunning(s, v)
	}
}

func nextPending(s *store.Session, v view) step {
	switch {
	case s.Refusals.Count >= maxRefusals:
		return step{do: become, to: store.Failed, viewers: tellEnded,
			reason: fmt.Sprintf("%d attempts to start it failed; the last: %s", s.Refusals.Count, s.Refusals.Latest)}
	case s.AgentID == "":
		return step{do: place}
	case v.reach == unheard, v.reach == elsewhere:
		return step{again: v.since}
	case v.reach == up && adoptable(v.report.State):
		return step{do: become, to: store.Starting}
	case v.reach == up && v.report.State == ObservedStopping:
		return step{} // its end will be reported
	case v.reach == up && v.fits && !v.refused:
		return step{do: start}
	}
	return step{do: place}
}

func (l limits) nextStarting(s *store.Session, v view) step {
	if v.report.Lost {
		return step{do: become, to: store.Pending, reason: v.report.Reason}
	}
	if v.report.State.over() {
		return step{do: become, to: store.Failed, viewers: tellEnded, reason: orElse(v.report.Reason, "the desktop ended before it was ready")}
	}
	timeout := v.begun.Add(l.startTimeout)
	switch {
	case v.reach == left:
		return step{do: become, to: store.Pending, reason: v.why}
	case v.reach == away:
		return l.nextStartingAway(s, v, timeout)
	case v.report.State == ObservedRunning:
		return step{do: become, to: store.Running, name: nameOf(v.report.Endpoint)}
	case s.Reason != "": // its agent is back
		return step{do: become, to: store.Starting}
	case v.now.Before(timeout) && v.report.State == "": // it was never told, or its answer never came
		return step{do: start}
	case v.now.Before(timeout):
		return step{again: timeout}
	}
	why := "the desktop did not start within %v; look at the agent's log"
	if v.report.State == "" {
		why = "the agent did not answer within %v whether it starts the desktop; look at its log"
	}
	return step{do: become, to: store.Failed, viewers: tellEnded, reason: fmt.Sprintf(why, l.startTimeout)}
}

// nextStartingAway is of a session that its agent may have been told to start, and
// may run. It may not be started elsewhere before the agent has ended it by itself,
// which it does only where lost sessions are started again. Edges that have the
// agent see by the reason that this one does not, and take that back.
func (l limits) nextStartingAway(s *store.Session, v view, timeout time.Time) step {
	if sure := v.since.Add(v.doubt); v.now.Before(sure) {
		return step{again: sure}
	}
	if s.Reason == "" {
		return step{do: become, to: store.Starting, reason: orElse(v.why, "its agent is away")}
	}
	end := v.since.Add(l.lostAfter)
	if !l.restartLost {
		end = earliest(end, timeout)
	}
	if v.now.Before(end) {
		return step{again: end}
	}
	if l.restartLost {
		return step{do: become, to: store.Pending, reason: s.Reason}
	}
	return step{do: become, to: store.Failed, viewers: tellOffline,
		reason: s.Reason + "; whether it has started the desktop is not known"}
}

func (l limits) nextRunning(s *store.Session, v view) step {
	switch v.report.State { // whether the agent is still there or not
	case ObservedFailed:
		if v.report.Lost {
			return l.lost(tellOffline, v.report.Reason)
		}
		return step{do: become, to: store.Failed, viewers: tellEnded, reason: orElse(v.report.Reason, "the desktop ended by itself")}
	case ObservedEnded:
		return step{do: become, to: store.Terminated, viewers: tellEnded, reason: v.report.Reason}
	}
	switch v.reach {
	case left:
		return l.lost(tellOffline, v.why)
	case away:
		if sure := v.since.Add(v.doubt); s.State == store.Running && v.now.Before(sure) {
			return step{again: sure}
		}
		if s.State == store.Running {
			return step{do: become, to: store.Unreachable, reason: v.why}
		}
		if lost := v.since.Add(l.lostAfter); v.now.Before(lost) {
			return step{again: lost}
		}
		return l.lost(tellOffline, fmt.Sprintf("its agent did not come back within %v", l.lostAfter))
	}
	switch v.report.State {
	case "":
		return l.lost(tellEnded, "the desktop ended while its agent was away")
	case ObservedRunning:
		if s.State == store.Unreachable {
			return step{do: become, to: store.Running}
		}
	}
	return whileRunning(s, v)
}

// lost is the step of a session that ran and whose agent has it no more.
func (l limits) lost(viewers, why string) step {
	if l.restartLost {
		return step{do: become, to: store.Pending, reason: why + "; it is started again"}
	}
	return step{do: become, to: store.Failed, viewers: viewers, reason: why}
}

func (l limits) nextStopping(s *store.Session, v view) step {
	gone := step{do: become, to: store.Terminated, viewers: tellEnded, reason: s.Reason}
	switch {
	case v.reach == up && alive(v.report.State):
		return step{} // it is being told
	case v.reach == away && !v.report.State.over():
		if lost := v.since.Add(l.lostAfter); v.now.Before(lost) {
			return step{again: lost}
		}
		gone.reason = orElse(s.Reason, fmt.Sprintf("its agent did not come back within %v to confirm the end", l.lostAfter))
	}
	return gone
}

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// earliest ignores zero times.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
