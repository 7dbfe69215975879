package balancer

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/streamspace-dev/streamspace-edge/proxy/reactor"
)

// link is a connection to an upstream. A small request and its answer have one
// deadline; where a body streams, every read and write has one of its own.
type link struct {
	net.Conn // a *net.TCPConn, or a *tls.Conn over a *reactor.Transport
	wait     time.Duration
	reader   *bufio.Reader
	used     bool // it has carried a request before
	deaf     bool // it can't be written to any more
	streams  bool // a body goes through it

	announced net.Conn // the client whose it was said to be; nil: anybody's

	by     time.Time // the deadline that is set
	idleAt time.Time // when a sweep first met it without a request

	socket *reactor.RawSocket // what Conn is read and written by
	look   bool               // nothing of the request is sent, and nobody has looked whether the upstream has spoken
	whole  bool               // what is written next is the whole request
}

// extend gives what comes next the whole wait from now, to within deadlineGrain.
func (l *link) extend(now time.Time) {
	by := now.Add(l.wait)
	if by.Sub(l.by) <= deadlineGrain(l.wait) {
		return
	}
	l.by = by
	_ = l.Conn.SetDeadline(by) // fails when the connection is closed, as what comes next does
}

// deadlineGrain is how much earlier than it should a deadline may come: moving
// one for each read and write is 4% of the cost of a small request.
func deadlineGrain(wait time.Duration) time.Duration { return min(time.Second, wait/4) }

func (l *link) Read(p []byte) (int, error) {
	if l.streams {
		l.extend(time.Now())
	}
	return l.socket.Read(p)
}

func (l *link) Write(p []byte) (n int, err error) {
	if l.streams {
		l.extend(time.Now())
	}
	looked := !l.look
	l.look = false
	switch {
	case looked:
		n, err = l.socket.Write(p)
	case l.whole:
		n, err = l.socket.Ask(p)
	case hasStirred(l.Conn):
		return 0, reactor.ErrStirred
	default:
		n, err = l.socket.Write(p)
	}
	l.deaf = l.deaf || err != nil && err != reactor.ErrStirred
	return n, err
}

// cut makes what waits on the link fail, and does not wait itself, as a good bye
// of TLS might.
func (l *link) cut() {
	conn := l.Conn
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	_ = conn.Close()
}

// takeOver ends the link: the connection is the caller's, as are the bytes that
// were read of it already.
func (l *link) takeOver(bs *buffers) (conn net.Conn, ahead []byte) {
	_ = l.Conn.SetDeadline(time.Time{})
	ahead, _ = l.reader.Peek(l.reader.Buffered())
	ahead = append([]byte(nil), ahead...)
	bs.putReader(l.reader)
	l.reader = nil
	return l.Conn, ahead
}

// buffers are what exchanges borrow.
type buffers struct{ readers, writers, heads, bodies sync.Pool }

// bodyAtOnce is how much of a body that streams is read and written at once.
const bodyAtOnce = 64 << 10

// pour copies a body to its end.
func (b *buffers) pour(w io.Writer, read func([]byte) (int, error)) (written int64, err error) {
	buffer := b.bodies.Get().(*[bodyAtOnce]byte)
	defer b.bodies.Put(buffer)
	for {
		n, err := read(buffer[:])
		if n > 0 {
			m, err := w.Write(buffer[:n])
			written += int64(m)
			if err != nil {
				return written, err
			}
		}
		switch err {
		case nil:
		case io.EOF:
			return written, nil
		default:
			return written, err
		}
	}
}

func newBuffers() *buffers {
	b := &buffers{}
	b.readers.New = func() any { return bufio.NewReaderSize(nil, maxAnswerHead) }
	b.writers.New = func() any { return bufio.NewWriterSize(nil, 4<<10) }
	b.heads.New = func() any { return new([]byte) }
	b.bodies.New = func() any { return new([bodyAtOnce]byte) }
	return b
}

func (b *buffers) reader(of io.Reader) *bufio.Reader {
	r := b.readers.Get().(*bufio.Reader)
	r.Reset(of)
	return r
}

func (b *buffers) putReader(r *bufio.Reader) {
	r.Reset(nil)
	b.readers.Put(r)
}

func (b *buffers) writer(to io.Writer) *bufio.Writer {
	w := b.writers.Get().(*bufio.Writer)
	w.Reset(to)
	return w
}

func (b *buffers) putWriter(w *bufio.Writer) {
	w.Reset(nil)
	b.writers.Put(w)
}

// links are the connections to one upstream that wait for the next request.
// They don't bound how many there are; who sends requests does.
type links struct {
	dial     func(ctx context.Context, hello []byte) (net.Conn, error)
	wait     time.Duration // for one read or write
	keep     time.Duration // how long one waits for a request
	buffers  *buffers
	announce string // the version of a PROXY header; empty: none, and every client may have every connection

	mu     sync.Mutex
	idle   []*link // the newest last
	closed bool
}

// get returns the connection that was used last, so that the others can go, or
// a new one. None will do that the upstream has closed, or on which it has spoken
// since: that would be the answer to the next request, whoever's that is.
//
// later: the caller writes a request that can be written again to another one,
// and the write tells reactor.ErrStirred instead.
func (ls *links) get(ctx context.Context, client net.Conn, fresh, later bool, now time.Time) (*link, error) {
	var whose net.Conn
	if ls.announce != "" {
		whose = client
	}
	l := ls.newest(whose)
	for l != nil && (fresh || !(later && l.socket.CanAsk()) && hasStirred(l.Conn)) {
		_ = l.Close()
		l = ls.newest(whose)
	}
	if l == nil {
		var hello []byte
		if whose != nil {
			hello = announcement(ls.announce, client)
		}
		conn, err := ls.dial(ctx, hello)
		if err != nil {
			return nil, err
		}
		l, now = &link{Conn: conn, wait: ls.wait, announced: whose, socket: reactor.NewRawSocket(conn)}, time.Now()
	}
	l.look, l.whole = later && l.socket.CanAsk(), false
	l.extend(now)
	l.reader = ls.buffers.reader(l)
	return l, nil
}

func (ls *links) newest(whose net.Conn) *link {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for i := len(ls.idle) - 1; i >= 0; i-- {
		if l := ls.idle[i]; l.announced == whose {
			ls.idle = slices.Delete(ls.idle, i, i+1)
			return l
		}
	}
	return nil
}

// waiting is how many wait.
func (ls *links) waiting() int {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return len(ls.idle)
}

// put gives a connection back for the next request. One that says something
// unasked is closed: it would be taken for the next answer.
func (ls *links) put(l *link) {
	l.streams = false
	unasked := l.reader.Buffered() > 0 || l.hasMore()
	ls.buffers.putReader(l.reader)
	l.reader = nil
	l.used, l.idleAt = true, time.Time{}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if unasked || ls.closed {
		_ = l.Close()
		return
	}
	ls.idle = append(ls.idle, l)
}

// hasMore tells whether TLS holds bytes that it has taken from the socket and
// nobody has read: whoever looks at the socket does not see these.
func (l *link) hasMore() bool {
	secure, ok := l.Conn.(*tls.Conn)
	if !ok {
		return false
	}
	l.by = time.Time{}
	_ = secure.SetReadDeadline(time.Unix(1, 0)) // fails when it is closed, as the read does
	_, err := l.reader.Peek(1)
	return !isTimeout(err)
}

// drop ends a connection.
func (ls *links) drop(l *link) {
	_ = l.Close() // the caller has the reason
	ls.buffers.putReader(l.reader)
	l.reader = nil
}

// sweep closes what has waited for too long, and what is of a client that has
// gone.
func (ls *links) sweep(now time.Time) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.idle = slices.DeleteFunc(ls.idle, func(l *link) bool {
		if l.idleAt.IsZero() {
			l.idleAt = now
		}
		old := now.Sub(l.idleAt) > ls.keep || l.announced != nil && hasLeft(l.announced)
		if old {
			_ = l.Close()
		}
		return old
	})
}

// close ends those that wait, and each of the others when it is put.
func (ls *links) close() {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.closed = true
	for _, l := range ls.idle {
		_ = l.Close()
	}
	ls.idle = nil
}

// dialer connects to an upstream within limit, TLS included. hello comes before
// all else. config is nil for plain connections.
func dialer(address string, config *tls.Config, limit time.Duration) func(ctx context.Context, hello []byte) (net.Conn, error) {
	return func(ctx context.Context, hello []byte) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err != nil {
			return nil, err
		}
		if len(hello) > 0 {
			if _, err := conn.Write(hello); err != nil { // a new connection has room for it
				_ = conn.Close()
				return nil, err
			}
		}
		if config == nil {
			return conn, nil
		}
		secure := tls.Client(reactor.NewTransport(conn), config)
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, err
		}
		return secure, nil
	}
}
