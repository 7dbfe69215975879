package chaos

import (
	"sync"
	"time"
)

// History is what was seen of a cluster while it was in trouble.
type History struct {
	Sessions map[string]Session // by id: all that were acknowledged
	Samples  []Sample           // in the order of time
	Uses     []Use
	Wrong    []string // a line for each stream that had a wrong byte
	Final    Final
}

// Session is what its creator knows of a session that was acknowledged.
type Session struct {
	Ran     bool   // it was seen running
	Ended   bool   // its end was asked for
	Servers int    // VNC server processes that it has while it runs
	Twin    string // another id that the same idempotency key was answered with
}

// Sample is who had which sessions at one time, by the agents' own folders and
// processes.
type Sample struct {
	At       time.Time
	Holdings []Holding
}

// Holding is a session at an agent. Servers counts its VNC server processes; a
// session can also be there without one.
type Holding struct {
	Session, Agent string
	Servers        int
}

// Use is an attempt to open a stream with a ticket.
type Use struct {
	Ticket string
	At     time.Time
	Took   bool // the stream was opened
}

// Final is how things are when the last fault is long over.
type Final struct {
	States   map[string]State // of the sessions, as the API tells; absent: it knows none
	Holdings []Holding
	Gauges   []Gauge
}

// State is a session's, with its reason.
type State struct{ State, Reason string }

// Gauge is a number that a node tells beside the one that was counted.
type Gauge struct {
	Node, Name   string
	Told, Actual int
}

// Recorder lets many write one history.
type Recorder struct {
	mu sync.Mutex
	h  History
}

// Write has change add to the history.
func (r *Recorder) Write(change func(h *History)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.h.Sessions == nil {
		r.h.Sessions = map[string]Session{}
	}
	change(&r.h)
}

// Session changes what is known of one.
func (r *Recorder) Session(id string, change func(s *Session)) {
	r.Write(func(h *History) {
		s := h.Sessions[id]
		change(&s)
		h.Sessions[id] = s
	})
}

// History is the whole of it; nobody may write any more.
func (r *Recorder) History() *History { return &r.h }
