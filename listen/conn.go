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
)

// Options are what connections are accepted by.
type Options struct {
	Body  time.Duration // between two reads of what has no deadline but WhileMoving
	Write time.Duration // the same of writes: in which the client takes nothing

	// Proxies begin each connection with a PROXY header, whose addresses are the
	// connection's from then on; one without is closed. Its deadline is that of the first read.
	Proxies []netip.Prefix
	// Refused is told why a proxy's connection was closed. nil: not told.
	Refused func(proxy net.Addr, why error)
}

// WhileMoving as a server's timeout lets a connection read or write for as long
// as bytes move: no more than Options.Body or Write pass between two of them.
// Any other timeout is one for the whole, as ever. It is a hundred years.
const WhileMoving = 100 * 365 * 24 * time.Hour

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
	c := &Conn{Conn: accepted, options: &l.options, since: time.Now()}
	c.remote, c.local = accepted.RemoteAddr(), accepted.LocalAddr()
	if peer, err := netip.ParseAddrPort(c.remote.String()); err == nil {
		c.begins = slices.ContainsFunc(l.options.Proxies, func(p netip.Prefix) bool { return p.Contains(peer.Addr().Unmap()) })
	}
	return c, nil
}

// Conn is a client's connection. One goroutine may read while another writes.
type Conn struct {
	net.Conn
	options *Options
	since   time.Time

	// The reader's, until begins is false.
	begins        bool   // a PROXY header comes first
	ahead         []byte // was read behind it
	failed        error  // of the header
	remote, local net.Addr

	reading        atomic.Bool  // somebody is in Read
	wanted, readBy atomic.Int64 // the read deadline that was asked for, and the one of the socket; in nanoseconds of UNIX time, or none, or whileMoving

	writeMoves atomic.Bool  // no deadline but WhileMoving
	writeBy    atomic.Int64 // the deadline that is set then; none: none of ours
	delivered  uint64       // bytes that the client had acknowledged at the last deadline; the writer's
}

// What a deadline is instead of a time.
const (
	none        = 0
	whileMoving = -1
)

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

// saysWhileMoving tells what a deadline means, without asking the clock: no
// connection lives for fifty years.
func (c *Conn) saysWhileMoving(at time.Time) bool { return at.Sub(c.since) > WhileMoving/2 }

// SetDeadline is SetReadDeadline and SetWriteDeadline.
func (c *Conn) SetDeadline(at time.Time) error {
	return errors.Join(c.SetReadDeadline(at), c.SetWriteDeadline(at))
}

// SetReadDeadline takes WhileMoving from now, too. The socket gets the deadline
// when it is read: a server sets two for each request, and most are replaced
// before anybody waits.
func (c *Conn) SetReadDeadline(at time.Time) error {
	switch {
	case at.IsZero():
		c.wanted.Store(none)
	case c.saysWhileMoving(at):
		c.wanted.Store(whileMoving)
	default:
		c.wanted.Store(at.UnixNano())
	}
	if c.reading.Load() {
		return c.arm()
	}
	return nil
}

// arm gives the socket the read deadline that is wanted, unless it is there to
// within what later allows.
func (c *Conn) arm() error {
	for {
		wanted := c.wanted.Load()
		by := wanted
		switch before := c.readBy.Load(); {
		case wanted == whileMoving:
			by = time.Now().Add(c.options.Body).UnixNano()
			if by >= before && !later(before, by, c.options.Body) {
				return nil
			}
		case wanted == before:
			return nil
		case wanted > before && before != none && !later(before, wanted, time.Until(time.Unix(0, wanted))):
			return nil
		}
		at := time.Time{}
		if by != none {
			at = time.Unix(0, by)
		}
		if err := c.Conn.SetReadDeadline(at); err != nil {
			return err
		}
		c.readBy.Store(by)
		if c.wanted.Load() == wanted { // else another one came, and may have been set before this one
			return nil
		}
	}
}

// SetWriteDeadline takes WhileMoving from now, too. It leaves a deadline that
// was set for a write before: another one is worth its cost when that is near.
func (c *Conn) SetWriteDeadline(at time.Time) error {
	if c.saysWhileMoving(at) {
		if !c.writeMoves.Swap(true) {
			c.writeBy.Store(none)
		}
		return nil
	}
	c.writeMoves.Store(false)
	return c.Conn.SetWriteDeadline(at)
}

func (c *Conn) Read(p []byte) (int, error) {
	c.reading.Store(true)
	_ = c.arm() // fails when the connection is closed, as the read does
	n, err := c.read(p)
	c.reading.Store(false)
	return n, err
}

func (c *Conn) read(p []byte) (int, error) {
	if c.begins {
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
	return c.Conn.Read(p)
}

func (c *Conn) Write(p []byte) (written int, err error) {
	for {
		moves := c.writeMoves.Load()
		if moves {
			if by := time.Now().Add(c.options.Write); later(c.writeBy.Load(), by.UnixNano(), c.options.Write) {
				c.writeBy.Store(by.UnixNano())
				_ = c.Conn.SetWriteDeadline(by)
			}
		}
		n, err := c.Conn.Write(p[written:])
		written += n
		if !moves || !errors.Is(err, os.ErrDeadlineExceeded) || !c.took(n) {
			return written, err
		}
		c.writeBy.Store(none)
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

// later tells whether it is worth its cost to move a deadline that much: not for
// a quarter of the time that it leaves, and not for less than a second.
func later(before, by int64, wait time.Duration) bool {
	return by-before > int64(min(time.Second, wait/4))
}
