package store

import "slices"

// State is a step in a session's life.
type State string

const (
	Pending     State = "pending"     // acknowledged; no agent was told to start it, or all that were have refused
	Starting    State = "starting"    // the agent is told to start it: it may have it from now on
	Running     State = "running"     // the VNC server answers
	Hibernated  State = "hibernated"  // paused, can run again
	Unreachable State = "unreachable" // ran when its agent was last heard of
	Stopping    State = "stopping"    // the agent was told to end it
	Terminated  State = "terminated"  // ended as asked
	Failed      State = "failed"      // ended otherwise; Reason says why
)

// transitions is the one table of what may follow what. Staying in a state is
// always allowed (a new reason, say); nothing leaves an ended state.
var transitions = map[State][]State{
	Pending:     {Starting, Stopping, Terminated, Failed},
	Starting:    {Pending, Running, Stopping, Terminated, Failed},                 // Pending: the agent refused or left, so it is placed anew
	Running:     {Pending, Hibernated, Unreachable, Stopping, Terminated, Failed}, // Pending: its agent lost it, so it is started again
	Hibernated:  {Running, Unreachable, Stopping, Terminated, Failed},
	Unreachable: {Pending, Running, Stopping, Terminated, Failed},
	Stopping:    {Terminated, Failed},
	Terminated:  {},
	Failed:      {},
}

// States lists every state in the order of a session's life.
func States() []State {
	return []State{Pending, Starting, Running, Hibernated, Unreachable, Stopping, Terminated, Failed}
}

// Valid tells whether s is one of States.
func (s State) Valid() bool { _, ok := transitions[s]; return ok }

// MayBecome tells whether a session in s may be in next after one step.
func (s State) MayBecome(next State) bool {
	return s == next || slices.Contains(transitions[s], next)
}
