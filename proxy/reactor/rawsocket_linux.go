package reactor

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// RawSocket reads and writes a TCP connection without telling Go's scheduler that
// it enters the kernel. No call waits there, but each may be interrupted by
// whoever it wakes; a scheduler that knew would then give the place to another
// thread, and on a busy machine does so all the time. Told, a small HTTP request
// costs 1.2 times as much (measured). What has to wait waits as ever, within the
// connection's deadlines. One goroutine may read while another writes.
//
// Other connections than TCP are read and written as they are.
type RawSocket struct {
	conn   net.Conn
	tcp    syscall.RawConn // nil: it is none
	reads  rawCall
	writes rawCall
	ask    func(fd uintptr) bool
	spoken [1]byte // unasked
}

// rawCall is a read or write that is going on.
type rawCall struct {
	p    []byte
	n    int
	err  error // ErrStirred, or a syscall.Errno
	turn func(fd uintptr) (done bool)
}

// NewRawSocket leaves the closing and the deadlines to the owner of conn.
func NewRawSocket(conn net.Conn) *RawSocket {
	s := &RawSocket{conn: conn}
	switch conn := conn.(type) {
	case *net.TCPConn:
		s.tcp, _ = conn.SyscallConn() // fails when it is closed, which its use tells
	case *Tracked:
		s.tcp, _ = conn.SyscallConn()
	}
	s.reads.turn, s.writes.turn, s.ask = s.readNow, s.writeNow, s.askNow
	return s
}

func (s *RawSocket) Read(p []byte) (int, error) {
	if s.tcp == nil || len(p) == 0 {
		return s.conn.Read(p)
	}
	c := &s.reads
	c.p, c.n, c.err = p, 0, nil
	waited := s.tcp.Read(c.turn)
	c.p = nil
	if err := s.failed("read", waited, c.err); err != nil {
		return 0, err
	}
	if c.n == 0 {
		return 0, io.EOF
	}
	return c.n, nil
}

func (s *RawSocket) readNow(fd uintptr) (done bool) {
	s.reads.n, s.reads.err = uninterrupted(rawReceive, int(fd), s.reads.p)
	return s.reads.err != unix.EAGAIN
}

func (s *RawSocket) Write(p []byte) (int, error) {
	if s.tcp == nil || len(p) == 0 {
		return s.conn.Write(p)
	}
	c := &s.writes
	c.p, c.n, c.err = p, 0, nil
	waited := s.tcp.Write(c.turn)
	c.p = nil
	return c.n, s.failed("write", waited, c.err)
}

func (s *RawSocket) writeNow(fd uintptr) (done bool) {
	c := &s.writes
	for c.n < len(c.p) {
		n, err := uninterrupted(rawWrite, int(fd), c.p[c.n:])
		if err != nil {
			c.err = err
			return err != unix.EAGAIN
		}
		c.n += n
	}
	c.err = nil
	return true
}

// CanAsk tells whether Ask looks.
func (s *RawSocket) CanAsk() bool { return s.tcp != nil }

// Ask sends a request, and waits until the other end says something when all of
// it is sent. Before it sends it reads: what was said unasked, or the other end's
// end, is ErrStirred, and nothing has been sent then.
//
// Go reads first and waits when nothing is there. Here that read, which never
// finds the answer to what has just been sent, comes before the sending, where it
// is of use: to look at the connection costs nothing more.
func (s *RawSocket) Ask(request []byte) (sent int, err error) {
	if s.tcp == nil {
		return s.conn.Write(request)
	}
	c := &s.reads
	c.p, c.n, c.err = request, 0, nil
	waited := s.tcp.Read(s.ask)
	asked := c.p == nil
	c.p = nil
	switch {
	case c.err == ErrStirred:
		return 0, ErrStirred
	case c.err != nil:
		return c.n, s.failed("write", nil, c.err)
	case !asked: // closed, or out of time, before it was sent
		return 0, s.failed("write", waited, nil)
	case c.n < len(request): // an idle connection has room for a small request
		n, err := s.Write(request[c.n:])
		return c.n + n, err
	default:
		return c.n, nil // what the wait has come to is the next read's
	}
}

// askNow is called when the connection can be used, and again when it can be
// read.
func (s *RawSocket) askNow(fd uintptr) (done bool) {
	c := &s.reads
	if c.p == nil {
		return true
	}
	request := c.p
	c.p = nil
	if _, err := uninterrupted(rawReceive, int(fd), s.spoken[:]); err != unix.EAGAIN {
		c.err = ErrStirred
		return true
	}
	n, err := uninterrupted(rawWrite, int(fd), request)
	if err == unix.EAGAIN {
		return true
	}
	c.n, c.err = n, err
	return n < len(request)
}

// failed is the error of a call as net tells it. waited is what came of the wait.
func (s *RawSocket) failed(call string, waited, errno error) error {
	if waited == nil && errno == nil {
		return nil // without the allocation below: this is each call's
	}
	var of *net.OpError
	switch {
	case errors.As(waited, &of):
		of.Op = call // instead of raw-read
		return waited
	case waited != nil:
		return waited
	default:
		return &net.OpError{Op: call, Net: "tcp", Source: s.conn.LocalAddr(), Addr: s.conn.RemoteAddr(), Err: os.NewSyscallError(call, errno)}
	}
}

func rawWrite(fd int, p []byte) (int, syscall.Errno) { return rawSend(fd, p, 0) }

// uninterrupted makes a call until no signal has come between. n is 0 with an
// error.
func uninterrupted(call func(int, []byte) (int, syscall.Errno), fd int, p []byte) (n int, err error) {
	for {
		switch n, errno := call(fd, p); errno {
		case 0:
			return n, nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}
