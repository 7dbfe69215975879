package reactor

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
)

// Handler is told of a connection's events, on its loop. It may not block.
type Handler interface {
	// Readable: Conn.Read has bytes, the end of the stream or an error. It is
	// called again until Read has answered ErrWait, or the connection is paused.
	Readable()
	// Flushed: what waited to be written has been, or can't be any more.
	Flushed()
	// Lost: the connection has failed, or has ended both ways, while it was
	// paused. What it had sent can still be read.
	Lost()
}

// source is the connection below a Conn: a socket that the poller watches, or a
// net.Conn with a goroutine for each direction. Its methods don't block. read
// and write answer ErrWait when there is nothing to do now; write may take a
// part.
type source interface {
	read(p []byte) (int, error)
	write(p []byte) (int, error)
	watch(read, write bool) // what the poller shall tell; always broken
	unwatch()               // the poller tells nothing, not even broken
	busy() bool             // it has taken bytes that are not written yet
	peer() Peer
	closeWrite()
	close()
}

// Conn is a connection that belongs to a loop. All its methods may be called
// only there.
type Conn struct {
	loop    *Loop
	handler Handler
	source  source
	secure  *tls.Conn  // nil for plain connections
	memory  *Transport // what secure reads from and writes to

	// What the source has not taken, in this order; nil: nothing.
	pending *outbox
	pipe    *pipe
	behind  *outbox // written while pipe waits

	failed     error // of writing; what is written after it goes nowhere
	paused     bool
	eager      bool // the TLS layer may hold bytes that the poller knows nothing of
	halfClosed bool // no more may be written
	silenced   bool // taken from the poller
	closed     bool
}

// Add makes conn l's, whose methods must not be used any more; Conn.Close
// closes it. A *tls.Conn must have finished its handshake. Bytes that its TLS
// layer has read already are told at once.
//
// Sockets, and TLS over a Transport, are watched by the poller.
func (l *Loop) Add(conn net.Conn, h Handler) *Conn {
	c := &Conn{loop: l, handler: h}
	switch under := conn.(type) {
	case *tls.Conn:
		if t, ok := under.NetConn().(*Transport); ok {
			if c.source = l.poll.adopt(t.Conn, c); c.source != nil {
				c.secure, c.memory, c.eager = under, t, true
				t.enter(l)
			}
		}
	case *Transport:
		c.source = l.poll.adopt(under.Conn, c)
	default:
		c.source = l.poll.adopt(conn, c)
	}
	if c.source == nil {
		c.source = newPump(l, conn, c)
	}
	l.conns[c] = struct{}{}
	c.watch()
	if c.eager {
		l.Do(c.readAhead)
	}
	return c
}

// readAhead lets the handler find what the TLS layer holds already.
func (c *Conn) readAhead() {
	if c.eager && !c.closed && !c.paused {
		c.tellReadable()
	}
}

// tellReadable calls the handler, and comes again when that left something
// which the poller does not know of.
func (c *Conn) tellReadable() {
	c.handler.Readable()
	if c.eager {
		c.loop.Do(c.readAhead)
	}
}

// Loop is where c belongs.
func (c *Conn) Loop() *Loop { return c.loop }

// Read takes what is there, up to len(p), which must be MinRead at least. The
// error is ErrWait when nothing is, io.EOF at the end of the stream, otherwise
// why the connection failed. TLS over a Transport that ends without saying so
// has failed: io.ErrUnexpectedEOF.
func (c *Conn) Read(p []byte) (int, error) {
	if c.closed {
		return 0, errClosed
	}
	if c.secure == nil {
		return c.source.read(p)
	}
	n, err := c.readSecure(p)
	if failed := c.send(); err == ErrWait && failed != nil {
		err = failed
	}
	return n, err
}

// readSecure reads the socket, unless the TLS layer holds something, and
// decrypts all of it.
func (c *Conn) readSecure(p []byte) (n int, err error) {
	if !c.eager {
		n, err := c.source.read(c.loop.cipher[:])
		if err != nil && err != io.EOF {
			return 0, err
		}
		c.memory.incoming, c.memory.ended = c.loop.cipher[:n], err == io.EOF
	}
	c.eager = false
	for n < len(p) {
		k, err := c.secure.Read(p[n:])
		err = c.memory.endOf(err)
		n += k
		switch {
		case err == nil:
		case n == 0:
			return 0, err
		default:
			c.eager = err != ErrWait // the end or the failure, which comes again
			return n, nil
		}
	}
	c.eager = true
	return n, nil
}

// Write takes all of p: what the connection does not take at once is copied and
// waits. The caller writes nothing but a few bytes while Pending, which bounds
// the copy. The error, of this write or an earlier one, says that the
// connection takes no more.
func (c *Conn) Write(p []byte) error {
	if c.closed || c.halfClosed {
		return errClosed
	}
	if c.failed != nil {
		return c.failed
	}
	if c.secure == nil {
		return c.pass(p)
	}
	if _, err := c.secure.Write(p); err != nil {
		return c.fail(err)
	}
	return c.send()
}

// send passes on what the TLS layer has written.
func (c *Conn) send() error {
	sealed := c.loop.sealed
	if len(sealed) == 0 || c.failed != nil {
		c.loop.sealed = sealed[:0]
		return c.failed
	}
	err := c.pass(sealed)
	c.loop.sealed = sealed[:0]
	return err
}

// pass gives p to the source, and what it does not take to the outbox.
func (c *Conn) pass(p []byte) error {
	if c.pending == nil && c.pipe == nil {
		n, err := c.source.write(p)
		if err != nil && err != ErrWait {
			return c.fail(err)
		}
		if p = p[n:]; len(p) == 0 {
			if c.source.busy() {
				c.watch()
			}
			return nil
		}
	}
	last := &c.pending
	if c.pipe != nil {
		last = &c.behind
	}
	if *last == nil {
		*last = c.loop.outbox.Get().(*outbox)
		c.watch()
	}
	if (*last).add(p); len((*last).waiting()) > maxPending {
		return c.fail(errFlooded)
	}
	return nil
}

// Pending tells whether something waits to be written.
func (c *Conn) Pending() bool {
	return c.pending != nil || c.pipe != nil || !c.closed && c.failed == nil && c.source.busy()
}

// Failure is why nothing can be written any more; nil while it can.
func (c *Conn) Failure() error { return c.failed }

// fail remembers that nothing can be written any more.
func (c *Conn) fail(err error) error {
	c.failed = err
	c.dropPending()
	return err
}

func (c *Conn) dropPending() {
	c.drop(&c.pending)
	c.dropPipe()
	c.drop(&c.behind)
}

func (c *Conn) drop(o **outbox) {
	if *o != nil {
		if cap((*o).data) <= outboxSize { // a large one is not kept
			(*o).reset()
			c.loop.outbox.Put(*o)
		}
		*o = nil
	}
}

// flushed writes what waits, now that the source takes more.
func (c *Conn) flushed() {
	done, err := c.flush()
	if done && c.pipe != nil {
		if done, err = c.flushPipe(); done && err == nil {
			c.pending, c.behind = c.behind, nil
			done, err = c.flush()
		}
	}
	if err != nil {
		_ = c.fail(err)
	} else if !done {
		return
	}
	c.watch()
	if c.Pending() {
		return
	}
	if c.halfClosed {
		c.source.closeWrite()
	}
	c.handler.Flushed()
}

// flush writes what is pending. It tells whether all of it is written.
func (c *Conn) flush() (done bool, err error) {
	if c.pending == nil {
		return true, nil
	}
	n, err := c.source.write(c.pending.waiting())
	if err != nil && err != ErrWait {
		return false, err
	}
	if !c.pending.took(n) {
		return false, nil
	}
	c.drop(&c.pending)
	return true, nil
}

// Pause stops calls of Readable; Resume lets them come again.
func (c *Conn) Pause() {
	if !c.paused {
		c.paused = true
		c.watch()
	}
}

// Resume ends a Pause.
func (c *Conn) Resume() {
	if !c.paused {
		return
	}
	c.paused = false
	c.watch()
	if c.eager {
		c.loop.Do(c.readAhead)
	}
}

// Paused tells whether Readable is not called.
func (c *Conn) Paused() bool { return c.paused }

func (c *Conn) watch() {
	if !c.closed {
		c.silenced = false
		c.source.watch(!c.paused, c.Pending())
	}
}

// lost is told by the poller again and again, but matters once.
func (c *Conn) lost() {
	if !c.silenced {
		c.silenced = true
		c.source.unwatch()
		c.handler.Lost()
	}
}

// CloseWrite tells the peer that nothing more comes, after what waits.
func (c *Conn) CloseWrite() {
	if c.closed || c.halfClosed {
		return
	}
	if c.secure != nil && c.failed == nil {
		_ = c.secure.CloseWrite() // its alert
		_ = c.send()
	}
	c.halfClosed = true
	if !c.Pending() {
		c.source.closeWrite()
	}
}

// Close closes the connection at once. What waits to be written is lost. It may
// be called again.
func (c *Conn) Close() {
	if c.closed {
		return
	}
	c.closed = true
	c.dropPending()
	c.source.close()
	delete(c.loop.conns, c)
}

// Closed tells whether Close was called.
func (c *Conn) Closed() bool { return c.closed }

// outbox is what a connection has not taken yet.
type outbox struct {
	data []byte
	from int
}

// maxPending bounds an outbox, in bytes: one read with its framing, encrypted,
// and room for control frames and TLS's own messages behind it. A peer that
// provokes more of those without reading them loses its connection.
const maxPending = BufferSize + 56<<10

// outboxSize is how much a new outbox holds: one read with its framing, encrypted.
const outboxSize = BufferSize + 4<<10

var errFlooded = errors.New("the peer asks for answers and does not read them")

func newOutboxes() *sync.Pool {
	return &sync.Pool{New: func() any { return &outbox{data: make([]byte, 0, outboxSize)} }}
}

// add makes room by moving what waits to the front, so that an outbox holds at
// most twice what waits.
func (o *outbox) add(p []byte) {
	if o.from > len(o.data)-o.from {
		o.data = o.data[:copy(o.data, o.data[o.from:])]
		o.from = 0
	}
	o.data = append(o.data, p...)
}

func (o *outbox) waiting() []byte { return o.data[o.from:] }
func (o *outbox) reset()          { o.data, o.from = o.data[:0], 0 }

// took moves on by n bytes and tells whether nothing is left.
func (o *outbox) took(n int) (empty bool) {
	o.from += n
	return o.from == len(o.data)
}
