package reactor

import (
	"container/heap"
	"time"
)

// Timer calls a function on its loop. The zero value is not usable; see
// Loop.NewTimer. Its methods may only be called on the loop.
type Timer struct {
	loop  *Loop
	f     func()
	at    time.Time
	index int // in the heap; -1: not set
}

// NewTimer makes a timer that is not set. It belongs to l.
func (l *Loop) NewTimer(f func()) *Timer { return &Timer{loop: l, f: f, index: -1} }

// Set makes the timer call its function once, at t or soon after, instead of
// when it was set for before.
func (t *Timer) Set(at time.Time) {
	t.at = at
	if t.index >= 0 {
		heap.Fix(&t.loop.timers, t.index)
		return
	}
	heap.Push(&t.loop.timers, t)
}

// Stop makes the timer call nothing.
func (t *Timer) Stop() {
	if t.index >= 0 {
		heap.Remove(&t.loop.timers, t.index)
	}
}

// timers is a heap, the earliest first.
type timers []*Timer

func (ts timers) Len() int           { return len(ts) }
func (ts timers) Less(i, j int) bool { return ts[i].at.Before(ts[j].at) }
func (ts timers) Swap(i, j int) {
	ts[i], ts[j] = ts[j], ts[i]
	ts[i].index, ts[j].index = i, j
}

func (ts *timers) Push(x any) {
	t := x.(*Timer)
	t.index = len(*ts)
	*ts = append(*ts, t)
}

func (ts *timers) Pop() any {
	last := len(*ts) - 1
	t := (*ts)[last]
	(*ts)[last] = nil
	*ts = (*ts)[:last]
	t.index = -1
	return t
}

// untilNext is how long the loop may wait; negative: for ever.
func (ts timers) untilNext() time.Duration {
	if len(ts) == 0 {
		return -1
	}
	return max(time.Until(ts[0].at), 0)
}

// run calls the timers that are due at now.
func (ts *timers) run(now time.Time) {
	for len(*ts) > 0 && !(*ts)[0].at.After(now) {
		heap.Pop(ts).(*Timer).f()
	}
}
