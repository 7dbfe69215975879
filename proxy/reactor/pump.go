package reactor

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
)

// pumpRead is how much a pump reads at a time, in bytes. It holds that much
// while it waits.
const pumpRead = 4 << 10

// pump is a source over any net.Conn: a goroutine that reads and one that
// writes. Each works on one buffer, and the loop on the same one while they
// wait for it.
type pump struct {
	loop *Loop
	conn net.Conn
	of   *Conn

	// The loop's.
	in         []byte // read and not taken yet
	ended      error  // of reading
	reading    bool   // the reader is at work
	writing    bool   // the writer is
	broken     error  // of writing
	wantsRead  bool
	owesWrite  bool // what was written has to be told as writable
	told       bool // a notice is on its way
	halfClosed bool
	closed     bool

	asked  chan struct{} // asks for a read; closed by close
	queue  chan *outbox  // what to write, nil for the end; closed by close
	buffer [pumpRead]byte
}

func newPump(l *Loop, conn net.Conn, of *Conn) *pump {
	p := &pump{loop: l, conn: conn, of: of, asked: make(chan struct{}, 1), queue: make(chan *outbox, 2)}
	l.pumps.Go(p.reader)
	l.pumps.Go(p.writer)
	return p
}

func (p *pump) reader() {
	for range p.asked {
		n, err := p.conn.Read(p.buffer[:])
		p.loop.Do(func() {
			p.reading, p.in = false, p.buffer[:n]
			p.ended = readError(p.conn, err)
			p.tell()
		})
	}
}

// readError is what a loop may be told of an error of a net.Conn.
func readError(conn net.Conn, err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errors.New("a deadline was left on the connection")
	}
	if secure, ok := conn.(*tls.Conn); ok {
		if t, ok := secure.NetConn().(*Transport); ok {
			return t.endOf(err)
		}
	}
	return err
}

func (p *pump) writer() {
	for o := range p.queue {
		var err error
		if o != nil {
			_, err = p.conn.Write(o.waiting())
		} else if half, ok := p.conn.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite() // fails when the connection is gone, which reading finds
		}
		p.loop.Do(func() {
			if o != nil {
				p.writing, p.broken = false, err
				o.reset()
				p.loop.outbox.Put(o)
			}
			p.tell()
		})
	}
}

func (p *pump) read(b []byte) (int, error) {
	switch {
	case len(p.in) > 0:
		n := copy(b, p.in)
		p.in = p.in[n:]
		return n, nil
	case p.ended != nil:
		return 0, p.ended
	}
	if !p.reading && !p.closed {
		p.reading = true
		p.asked <- struct{}{}
	}
	return 0, ErrWait
}

func (p *pump) write(b []byte) (int, error) {
	switch {
	case p.broken != nil:
		return 0, p.broken
	case p.writing:
		return 0, ErrWait
	}
	o := p.loop.outbox.Get().(*outbox)
	o.add(b)
	p.writing, p.owesWrite = true, true
	p.queue <- o
	return len(b), nil
}

// watch knows by itself what has been written and not told yet: others than the
// one that waits for it may call.
func (p *pump) watch(read, _ bool) {
	p.wantsRead = read
	p.tell()
}

func (p *pump) busy() bool { return p.writing }

func (p *pump) unwatch() { p.wantsRead, p.owesWrite = false, false }

// tell makes the loop look at the connection, as a level-triggered poller does:
// soon, and again for as long as it is ready.
func (p *pump) tell() {
	if !p.told && !p.closed && p.readiness() != 0 {
		p.told = true
		p.loop.Do(p.look)
	}
}

func (p *pump) look() {
	p.told = false
	if r := p.readiness(); r != 0 && !p.closed {
		p.owesWrite = p.owesWrite && r&writable == 0
		p.loop.dispatch(p.of, r)
		p.tell()
	}
}

func (p *pump) readiness() (r readiness) {
	if p.wantsRead && !p.reading {
		r |= readable // or a read that has to be started
	}
	if p.owesWrite && !p.writing {
		r |= writable
	}
	if !p.wantsRead && p.ended != nil && p.ended != io.EOF {
		r |= broken
	}
	return r
}

func (p *pump) peer() (peer Peer) {
	tcp := tcpConn(p.conn)
	if tcp != nil {
		if raw, err := tcp.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { peer = peerOf(int(fd)) })
		}
	}
	peer.Queued = peer.Queued || p.writing
	return peer
}

func (p *pump) closeWrite() {
	if !p.halfClosed && !p.closed {
		p.halfClosed = true
		p.queue <- nil
	}
}

func (p *pump) close() {
	if p.closed {
		return
	}
	p.closed = true
	_ = p.conn.Close()
	close(p.asked)
	close(p.queue)
}
