package reactor

import (
	"net"
	"sync"
	"time"
)

const (
	// BufferSize is the size in bytes of a loop's buffer, which handlers read
	// into: one Read of MinRead and what a handler puts before and behind it.
	BufferSize = 72 << 10

	// cipherRead is how much of a TLS connection is read from its socket at a
	// time. With the record that may lie incomplete in the TLS layer it decrypts
	// to less than MinRead, so that one Conn.Read takes all of it.
	cipherRead = 48 << 10

	// MinRead is the room that Conn.Read needs, in bytes: cipherRead and one
	// record of TLS (RFC 8446 section 5.2: 16 KiB, 256 bytes and a header).
	MinRead = cipherRead + 17<<10

	// WorthMoving is what a socket has to hold, in bytes, for Conn.Move's three
	// system calls to be cheaper than Read, Write and a copy (measured).
	WorthMoving = 32 << 10

	// MaxMove is the most that one Move passes on, in bytes. With plain bulk it
	// takes 0.84 of the CPU that 256 KiB take, and 0.56 of what 64 KiB take
	// (measured).
	MaxMove = 1 << 20
)

// readiness is what a poller tells of a connection.
type readiness uint8

const (
	readable readiness = 1 << iota
	writable
	broken // both directions have ended, or the connection has failed
)

// poller waits for connections to become ready.
type poller interface {
	// wait returns after timeout (negative: never), after wake, or with events.
	wait(timeout time.Duration)
	// tell gives the events of the last wait to l.dispatch.
	tell(l *Loop)
	// wake makes wait return. Any goroutine may call it.
	wake()
	// adopt takes conn over, or returns nil when it can't watch its kind.
	adopt(conn net.Conn, c *Conn) source
	close()
}

// Loop runs the handlers of its connections, its timers and the functions given
// to Do, one at a time. Only Do may be called from other goroutines.
type Loop struct {
	poll poller

	mu      sync.Mutex // guards the fields below
	posted  []func()
	stopped bool

	// The loop's goroutine owns the rest.
	now    time.Time
	timers timers
	conns  map[*Conn]struct{}
	taken  []func() // posted is swapped with it
	buffer [BufferSize]byte
	cipher [cipherRead]byte
	sealed []byte // TLS records on their way to a socket
	outbox *sync.Pool
	pumps  sync.WaitGroup // goroutines of connections without a poller
}

func newLoop(p poller, outboxes *sync.Pool) *Loop {
	return &Loop{poll: p, now: time.Now(), conns: make(map[*Conn]struct{}), outbox: outboxes}
}

// Do runs f on the loop, soon and after what was given to Do before. It does not
// wait. It tells whether f will run: not after Reactor.Close.
func (l *Loop) Do(f func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return false
	}
	l.posted = append(l.posted, f)
	if len(l.posted) == 1 {
		l.poll.wake()
	}
	return true
}

// Now is the time at which this turn of the loop began.
func (l *Loop) Now() time.Time { return l.now }

// Buffer is memory for the handler that runs, until it returns.
func (l *Loop) Buffer() *[BufferSize]byte { return &l.buffer }

func (l *Loop) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
	l.poll.wake()
}

func (l *Loop) run() {
	for l.turn() {
	}
	for c := range l.conns {
		c.Close()
	}
	l.pumps.Wait()
	l.poll.close()
}

// turn waits for events and handles them. false: the loop was stopped.
func (l *Loop) turn() bool {
	l.poll.wait(l.timers.untilNext())
	l.now = time.Now()
	l.poll.tell(l)

	l.mu.Lock()
	l.posted, l.taken = l.taken[:0], l.posted
	stopped := l.stopped
	l.mu.Unlock()
	for i, f := range l.taken {
		f()
		l.taken[i] = nil
	}
	l.timers.run(l.now)
	return !stopped
}

// dispatch tells a connection's handler what the poller has found.
func (l *Loop) dispatch(c *Conn, r readiness) {
	if r&writable != 0 {
		c.flushed()
	}
	if c.closed {
		return
	}
	switch {
	case !c.paused && r&(readable|broken) != 0:
		c.tellReadable()
	case r&broken != 0:
		c.lost()
	}
}
