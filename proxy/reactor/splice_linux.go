package reactor

import (
	"fmt"
	"io"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A pipe holds MaxMove, or the less that the kernel allows by
// fs.pipe-max-size and, to who is not root, fs.pipe-user-pages-soft. Below
// leastPipe it would cost more than it saves.
const leastPipe = 256 << 10

// spliceFlags: never wait, and move pages rather than copy them.
const spliceFlags = unix.SPLICE_F_MOVE | unix.SPLICE_F_NONBLOCK

// pipe carries bytes from socket to socket inside the kernel.
type pipe struct {
	read, write int
	size        int // bytes that it can hold
	held        int // bytes in it
}

// takePipe returns an empty pipe; nil when the kernel gives none.
func (e *epoll) takePipe() *pipe {
	if last := len(e.pipes) - 1; last >= 0 {
		p := e.pipes[last]
		e.pipes = e.pipes[:last]
		return p
	}
	if time.Now().Before(e.noPipes) {
		return nil
	}
	var fds [2]int
	if unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK) != nil {
		return nil
	}
	p := &pipe{read: fds[0], write: fds[1]}
	for size := MaxMove; size >= leastPipe; size /= 2 {
		if _, err := unix.FcntlInt(uintptr(p.read), unix.F_SETPIPE_SZ, size); err == nil {
			p.size = size
			return p
		}
	}
	p.destroy()
	e.noPipes = time.Now().Add(time.Second) // asking for each frame would cost more than copying it
	return nil
}

// putPipe keeps an empty pipe for the next stream, and closes one that holds
// bytes or is one too many.
func (e *epoll) putPipe(p *pipe) {
	const mostIdle = 8
	if p.held == 0 && len(e.pipes) < mostIdle {
		e.pipes = append(e.pipes, p)
		return
	}
	p.destroy()
}

func (p *pipe) destroy() {
	_ = unix.Close(p.read)
	_ = unix.Close(p.write)
}

// fill takes what the socket holds, as much as the pipe takes and limit allows.
func (s *socket) fill(p *pipe, limit int) (int, error) {
	for {
		n, errno := rawSplice(s.fd, p.write, min(limit, p.size), spliceFlags)
		switch errno {
		case 0:
			if n == 0 {
				return 0, io.EOF
			}
			p.held += n
			return n, nil
		case unix.EAGAIN:
			return 0, ErrWait
		case unix.EINTR:
		default:
			return 0, fmt.Errorf("splice: %w", errno)
		}
	}
}

// drain writes what the pipe holds, as much as the socket takes.
func (s *socket) drain(p *pipe) error {
	for p.held > 0 {
		n, errno := rawSplice(p.read, s.fd, p.held, spliceFlags)
		switch errno {
		case 0:
			p.held -= n
		case unix.EAGAIN:
			return ErrWait
		case unix.EINTR:
		default:
			return fmt.Errorf("splice: %w", errno)
		}
	}
	return nil
}

func rawSplice(from, to, n, flags int) (int, syscall.Errno) {
	moved, _, errno := syscall.RawSyscall6(unix.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, uintptr(n), uintptr(flags))
	return int(moved), errno
}

// Moves tells whether Move works between the two: both are plain sockets.
func (c *Conn) Moves(dst *Conn) bool {
	from, ok := c.source.(*socket)
	to, both := dst.source.(*socket)
	return ok && both && c.secure == nil && dst.secure == nil && from.poll == to.poll
}

// Move passes what c holds, limit bytes at most, to dst without looking at it,
// with what header gives for the number of bytes before it (nil: nothing), and
// returns that number. limit is at least 1; more than MaxMove has no use. dst
// must not be Pending; afterwards it may be. The error is c's, as Read's, or
// ErrWait also when the kernel can't move now and c has to be read; dst's is its
// Failure.
func (c *Conn) Move(dst *Conn, limit int, header func(n int) []byte) (int, error) {
	from, to := c.source.(*socket), dst.source.(*socket)
	p := from.poll.takePipe()
	if p == nil {
		return 0, ErrWait
	}
	n, err := from.fill(p, limit)
	if err != nil {
		from.poll.putPipe(p)
		return 0, err
	}
	var b []byte
	var sent int
	if header != nil {
		b = header(n)
		sent, err = to.send(b, unix.MSG_MORE)
	}
	switch {
	case err != nil && err != ErrWait:
		_ = dst.fail(err)
	case sent < len(b):
		dst.pending = dst.loop.outbox.Get().(*outbox)
		dst.pending.add(b[sent:])
	default:
		err = to.drain(p)
		if err != nil && err != ErrWait {
			_ = dst.fail(err)
		}
	}
	if p.held == 0 || dst.failed != nil {
		from.poll.putPipe(p)
		return n, nil
	}
	dst.pipe = p
	dst.watch()
	return n, nil
}

// flushPipe goes on with what a Move left. It tells whether all of it is written.
func (c *Conn) flushPipe() (done bool, err error) {
	switch err := c.source.(*socket).drain(c.pipe); err {
	case nil:
		c.dropPipe()
		return true, nil
	case ErrWait:
		return false, nil
	default:
		return false, err
	}
}

func (c *Conn) dropPipe() {
	if c.pipe != nil {
		c.source.(*socket).poll.putPipe(c.pipe)
		c.pipe = nil
	}
}
