package listen

import (
	"net"
	"sync"
	"time"
)

// Bounds of a connection that lingers. Idle and whole are nginx's defaults
// (lingering_timeout, lingering_time).
const (
	lingerIdle  = 5 * time.Second  // without a byte of the client's
	lingerWhole = 30 * time.Second // from the answer on
	// lingerBytes lets a client finish an upload that it will not break off: one
	// that reads nothing while it writes sees its answer only after that.
	lingerBytes = 256 << 20
	// mostLinger bounds the memory, of lingerAtOnce each, and the descriptors.
	mostLinger   = 1000
	lingerAtOnce = 16 << 10 // bytes of a read
)

// Lingering closes the connections of clients that have been answered before they
// had sent all. To close a socket of which not everything has been read resets the
// connection, which can take the answer from the client (RFC 9112 section 9.6). So
// these are told that nothing more comes and are read from, in vain, until the
// client ends, too, or a bound is reached. Its zero value is ready.
type Lingering struct {
	running sync.WaitGroup

	mu     sync.Mutex // guards the fields below
	closed bool
	open   map[net.Conn]struct{}
}

// Linger makes the connection that conn is, or has below, linger when it is
// closed. Where it is not one of this package, or has no Options.Lingering, it
// changes nothing. It is for who serves the connection, before it closes it.
func Linger(conn net.Conn) {
	for {
		if c, ok := conn.(interface{ linger() }); ok {
			c.linger()
			return
		}
		under, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			return
		}
		conn = under.NetConn()
	}
}

// take closes conn in a while, whose owner it is from now on, and returns at once.
// false: it is still the caller's, since too many linger or Close has been called.
func (l *Lingering) take(conn net.Conn) bool {
	half, ok := conn.(interface{ CloseWrite() error })
	if l == nil || !ok {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.open) >= mostLinger {
		return false
	}
	if l.open == nil {
		l.open = map[net.Conn]struct{}{}
	}
	l.open[conn] = struct{}{}
	l.running.Go(func() {
		if half.CloseWrite() == nil {
			discard(conn)
		}
		_ = conn.Close()
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.open, conn)
	})
	return true
}

// discard reads until the connection ends or a bound is reached.
func discard(conn net.Conn) {
	buffer := make([]byte, lingerAtOnce)
	end := time.Now().Add(lingerWhole)
	for left := lingerBytes; left > 0; {
		by := time.Now().Add(lingerIdle)
		if by.After(end) {
			by = end
		}
		if conn.SetReadDeadline(by) != nil {
			return
		}
		n, err := conn.Read(buffer)
		if err != nil {
			return
		}
		left -= n
	}
}

// Active is how many connections linger.
func (l *Lingering) Active() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.open)
}

// Close ends all that linger and waits for them. What is to linger afterwards is
// closed at once.
func (l *Lingering) Close() {
	l.mu.Lock()
	l.closed = true
	for conn := range l.open {
		_ = conn.Close()
	}
	l.mu.Unlock()
	l.running.Wait()
}
