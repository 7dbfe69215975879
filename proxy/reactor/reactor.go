// Package reactor runs the input and output of many connections on a few
// goroutines, so that a connection that waits costs neither a goroutine nor a
// buffer, and one that works costs one read and one write for each piece.
//
// A Loop belongs to one goroutine. What happens to its connections happens
// there, one thing after another: handlers need no locks and must not block. A
// handler reads into the loop's own buffer and writes what it read before it
// returns; what the other side's socket does not take waits in a pooled buffer,
// and the handler pauses its source meanwhile. So memory is held only for bytes
// that wait, and at most one buffer for each connection.
//
// On Linux sockets are watched by epoll, and TLS runs in memory between the
// socket and the handler. Other systems, and connections that are not sockets,
// use two goroutines for each connection; handlers see no difference.
package reactor

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// Reactor is a set of loops. Its methods are safe for concurrent use.
type Reactor struct {
	loops   []*Loop
	next    atomic.Uint32
	running sync.WaitGroup
}

// New starts n loops, at least one. The error comes from the operating system,
// when it has no file descriptor left. Close ends the loops.
//
// A busy loop keeps a place in Go's scheduler even while it waits, so GOMAXPROCS
// should be one more for each than the other goroutines need. places is told, by
// the loops' goroutines: 1 when one begins to, -1 when it has not for a second.
// nil: nobody needs to know.
func New(n int, places func(change int)) (*Reactor, error) {
	if places == nil {
		places = func(int) {}
	}
	return start(n, func() (poller, error) { return newPoller(places) })
}

// NewPortable starts n loops that use nothing but net.Conn's methods, as on
// systems that have no better way. Tests use it to run the portable path
// anywhere.
func NewPortable(n int) *Reactor {
	r, err := start(n, func() (poller, error) { return newNotifier(), nil })
	if err != nil {
		panic(err) // a notifier is memory only
	}
	return r
}

func start(n int, poll func() (poller, error)) (*Reactor, error) {
	r := &Reactor{}
	outboxes := newOutboxes()
	for range max(n, 1) {
		p, err := poll()
		if err != nil {
			r.Close()
			return nil, fmt.Errorf("starting an event loop: %w", err)
		}
		l := newLoop(p, outboxes)
		r.loops = append(r.loops, l)
		r.running.Go(l.run)
	}
	return r, nil
}

// Loop returns the loop for the next group of connections that work together,
// each loop in turn.
func (r *Reactor) Loop() *Loop { return r.loops[int(r.next.Add(1))%len(r.loops)] }

// Close ends the loops and waits for them. Connections that are left are
// closed without a word to their handlers.
func (r *Reactor) Close() {
	for _, l := range r.loops {
		l.stop()
	}
	r.running.Wait()
}

// ErrWait says that a connection has nothing to read now.
var ErrWait error = waitError{}

// waitError is a temporary error, so that crypto/tls goes on after it.
type waitError struct{}

func (waitError) Error() string   { return "nothing to read now" }
func (waitError) Timeout() bool   { return true }
func (waitError) Temporary() bool { return true }

// errClosed is what a use of a closed connection answers.
var errClosed = errors.New("the connection is closed")
