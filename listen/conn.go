// Package listen is the edge's way in below HTTP/1.1: what a connection begins
// with (PROXY protocol), how long it may stand still, and HTTP/2.
package listen

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/streamspace-dev/streamspace-edge/proxy/reactor"
)

// Options are what connections are accepted by.
type Options struct {
	Body  time.Duration // between two reads of what has no deadline but WhileMoving
	Write time.Duration // the same of writes: in which the client takes nothing

	// Lingering has the connections that Linger was called for, once they are
	// closed. nil: they are closed like others.
	Lingering *Lingering

	// Proxies begin each connection with a PROXY header, whose addresses are the
	// connection's from then on; one without is closed. Its deadline is that of the first read.
	Proxies []netip.Prefix
	// Refused is told why a proxy's connection was closed. nil: not told.
	Refused func(proxy net.Addr, why error)
	// Stray is told of a connection that looks as if it began with a PROXY header
	// although none of Proxies made it. nil: not told.
	Stray func(from net.Addr)
}

// Listen makes a *Conn of every connection, which must be of TCP.
func Listen(l net.Listener, o Options) net.Listener { return listener{l, o} }

type listener struct {
	net.Listener
	options Options
}

func (l listener) Accept() (net.Conn, error) {
	accepted, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := newConn(accepted, &l.options)
	c.remote, c.local = accepted.RemoteAddr(), accepted.LocalAddr()
	if peer, err := netip.ParseAddrPort(c.remote.String()); err == nil {
		c.begins = slices.ContainsFunc(l.options.Proxies, func(p netip.Prefix) bool { return p.Contains(peer.Addr().Unmap()) })
	}
	return c, nil
}

// Conn is a client's connection. One goroutine may read while another writes.
type Conn struct {
	net.Conn
	socket  *reactor.RawSocket // what Conn is read and written by
	options *Options
	since   time.Time

	// The reader's, until begins is false.
	begins        bool   // a PROXY header comes first
	heard         bool   // its first bytes have been looked at
	ahead         []byte // was read behind it
	failed        error  // of the header
	remote, local net.Addr

	lingers atomic.Bool // when it is closed

	reads, writes deadline
	delivered     uint64 // bytes that the client had acknowledged at the last deadline; the writer's
}

func newConn(accepted net.Conn, o *Options) *Conn {
	return &Conn{Conn: accepted, socket: reactor.NewRawSocket(accepted), options: o, since: time.Now()}
}

// RemoteAddr is the client's, once something has been read.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// LocalAddr is where the client connected to, once something has been read.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// NetConn is the connection below.
func (c *Conn) NetConn() net.Conn { return c.Conn }

// Socket is the connection below, without deadlines, for who reads and writes it
// from now on; nil while bytes of it are here.
func (c *Conn) Socket() net.Conn {
	if c.begins || len(c.ahead) > 0 {
		return nil
	}
	_ = c.Conn.SetDeadline(time.Time{}) // fails when it is closed, as its use does
	return c.Conn
}

// CloseWrite says that no more bytes come.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

func (c *Conn) linger() { c.lingers.Store(true) }

// Close closes the connection, or lets it linger; a second one ends that.
func (c *Conn) Close() error {
	if c.lingers.CompareAndSwap(true, false) && c.options.Lingering.take(c.Conn) {
		return nil
	}
	return c.Conn.Close()
}

// SetDeadline is SetReadDeadline and SetWriteDeadline.
func (c *Conn) SetDeadline(at time.Time) error {
	return errors.Join(c.SetReadDeadline(at), c.SetWriteDeadline(at))
}

// SetReadDeadline takes WhileMoving from now, too. An error is told by the next
// read, unless one waits.
func (c *Conn) SetReadDeadline(at time.Time) error {
	c.reads.want(at, c.since)
	if c.reads.waiting.Load() {
		return c.armReads()
	}
	return nil
}

// SetWriteDeadline is the same for writes.
func (c *Conn) SetWriteDeadline(at time.Time) error {
	c.writes.want(at, c.since)
	if c.writes.waiting.Load() {
		return c.armWrites()
	}
	return nil
}

func (c *Conn) armReads() error { return c.reads.arm(c.Conn, c.options.Body, net.Conn.SetReadDeadline) }
func (c *Conn) armWrites() error {
	return c.writes.arm(c.Conn, c.options.Write, net.Conn.SetWriteDeadline)
}

func (c *Conn) Read(p []byte) (int, error) {
	c.reads.waiting.Store(true)
	_ = c.armReads() // fails when the connection is closed, as the read does
	n, err := c.read(p)
	c.reads.waiting.Store(false)
	return n, err
}

func (c *Conn) read(p []byte) (int, error) {
	if c.begins {
		c.heard = true
		c.begin()
	}
	if c.failed != nil {
		return 0, c.failed
	}
	if len(c.ahead) > 0 {
		n := copy(p, c.ahead)
		if c.ahead = c.ahead[n:]; len(c.ahead) == 0 {
			c.ahead = nil
		}
		return n, nil
	}
	n, err := c.socket.Read(p)
	if !c.heard && n > 0 {
		c.heard = true
		if c.options.Stray != nil && IsHeader(p[:n]) {
			c.options.Stray(c.remote)
		}
	}
	return n, err
}

func (c *Conn) Write(p []byte) (written int, err error) {
	c.writes.waiting.Store(true)
	defer c.writes.waiting.Store(false)
	for {
		_ = c.armWrites() // as in Read
		n, err := c.socket.Write(p[written:])
		written += n
		if !errors.Is(err, os.ErrDeadlineExceeded) || c.writes.wanted.Load() != whileMoving || !c.took(n) {
			return written, err
		}
		c.writes.set.Store(none)
	}
}

// took tells whether a client whose write came to its deadline has taken
// something nevertheless: of the write, or of what the kernel held for it. A
// slow client's socket takes more only when a third of its buffer is free.
func (c *Conn) took(n int) bool {
	before := c.delivered
	c.delivered = acknowledged(c.Conn)
	return n > 0 || c.delivered > before
}
