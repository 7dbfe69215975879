package reactor

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// Transport is a connection that TLS runs over, before and after a loop takes
// it. Before, it is the connection it embeds; after, it is memory: TLS reads
// what the loop has read from the socket, and the loop sends what TLS writes.
//
//	listener := tls.NewListener(reactor.Listen(tcp), config)
//	conn := tls.Client(reactor.NewTransport(tcp), config)
type Transport struct {
	net.Conn
	// First, unless nil, sees the first bytes that arrive, before TLS does, and
	// may answer them on conn. Its error is Read's.
	First    func(conn net.Conn, arrived []byte) error
	socket   *RawSocket // what Conn is read and written by, before
	loop     *Loop      // nil before
	incoming []byte     // of the loop's; all of it is read in the same turn
	ended    bool       // nothing follows incoming
	cut      bool       // TLS has met the end of the connection below

	holding sync.Mutex
	held    *[]byte // what TLS writes until release; nil: it is sent at once

	entering sync.Mutex // guards Conn between enter and NetConn, which others call, too
}

// maxRecord is how many bytes one record of TLS carries (RFC 8446 section 5.1).
const maxRecord = 16 << 10

// maxHeld bounds what is kept for one system call.
const maxHeld = 128 << 10

// hold keeps what TLS writes, in the empty buffer, until release.
func (t *Transport) hold(buffer *[]byte) {
	t.holding.Lock()
	defer t.holding.Unlock()
	t.held = buffer
}

// release sends what was kept, and gives the buffer back.
func (t *Transport) release() error {
	t.holding.Lock()
	defer t.holding.Unlock()
	held := t.held
	t.held = nil
	_, err := t.socket.Write(*held)
	*held = (*held)[:0]
	return err
}

// writeSocket sends p, or keeps it.
func (t *Transport) writeSocket(p []byte) (int, error) {
	t.holding.Lock()
	defer t.holding.Unlock()
	if t.held == nil {
		return t.socket.Write(p)
	}
	*t.held = append(*t.held, p...)
	if len(*t.held) < maxHeld {
		return len(p), nil
	}
	_, err := t.socket.Write(*t.held)
	*t.held = (*t.held)[:0]
	return len(p), err
}

// NewTransport lets a loop run the TLS connection that will be made over conn,
// a TCP or UNIX socket, or what offers one by a method Socket() net.Conn.
func NewTransport(conn net.Conn) *Transport {
	return &Transport{Conn: conn, socket: NewRawSocket(conn)}
}

func (t *Transport) enter(l *Loop) {
	t.entering.Lock()
	defer t.entering.Unlock()
	t.loop, t.Conn, t.socket = l, nil, nil
}

func (t *Transport) Read(p []byte) (int, error) {
	if t.loop == nil {
		return t.readSocket(p)
	}
	n := copy(p, t.incoming)
	t.incoming = t.incoming[n:]
	switch {
	case n > 0:
		return n, nil
	case t.ended:
		t.cut = true
		return 0, io.EOF
	default:
		return 0, ErrWait
	}
}

func (t *Transport) readSocket(p []byte) (int, error) {
	n, err := t.socket.Read(p)
	if first := t.First; first != nil && n > 0 {
		t.First = nil
		if refused := first(t.Conn, p[:n]); refused != nil {
			return 0, refused
		}
	}
	t.cut = t.cut || err == io.EOF
	return n, err
}

// endOf tells the end of a TLS connection that its peer has announced from one
// that only came. crypto/tls takes both for io.EOF when no record is cut, but
// after an announcement it does not go on reading (RFC 8446 section 6.1: without
// one, what was sent may be more).
func (t *Transport) endOf(err error) error {
	if err == io.EOF && t.cut {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (t *Transport) Write(p []byte) (int, error) {
	if t.loop == nil {
		return t.writeSocket(p)
	}
	t.loop.sealed = append(t.loop.sealed, p...)
	return len(p), nil
}

// Close of a transport that a loop has taken is Conn.Close's.
func (t *Transport) Close() error {
	if t.loop == nil {
		return t.Conn.Close()
	}
	return nil
}

func (t *Transport) SetDeadline(at time.Time) error { return t.deadline(at, net.Conn.SetDeadline) }
func (t *Transport) SetReadDeadline(at time.Time) error {
	return t.deadline(at, net.Conn.SetReadDeadline)
}
func (t *Transport) SetWriteDeadline(at time.Time) error {
	return t.deadline(at, net.Conn.SetWriteDeadline)
}

func (t *Transport) deadline(at time.Time, set func(net.Conn, time.Time) error) error {
	if t.loop == nil {
		return set(t.Conn, at)
	}
	return nil // a loop's connections don't block
}

// NetConn is the connection below, nil once a loop has taken it, which may happen
// at the same time.
func (t *Transport) NetConn() net.Conn {
	t.entering.Lock()
	defer t.entering.Unlock()
	return t.Conn
}

// CloseWrite says that no more bytes come, where the connection can say so.
func (t *Transport) CloseWrite() error {
	if half, ok := t.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return os.ErrInvalid
}

// listener makes a Transport of every connection.
type listener struct{ net.Listener }

// Listen wraps l so that loops can run the TLS connections made over what it
// accepts.
func Listen(l net.Listener) net.Listener { return listener{l} }

func (l listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return NewTransport(conn), nil
}
