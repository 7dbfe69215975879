package balancer

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// rawOf is what speak needs of a connection; nil: it is none of plain TCP.
func rawOf(conn net.Conn) syscall.RawConn {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil // it is closed, which its use tells
	}
	return raw
}

// speak sends a request and waits until the upstream says something. Before it
// sends it reads: what the upstream has said unasked, or its end, is errStirred.
//
// Go reads first and waits when nothing is there. Here that read, which never
// finds the answer to what has just been sent, comes before the sending, where it
// is of use: to look at the connection costs nothing more.
func (l *link) speak(request []byte) (sent int, err error) {
	l.out, l.sent, l.failed = request, 0, nil
	err = l.raw.Read(l.turn)
	switch {
	case l.failed != nil:
		return l.sent, l.failed
	case l.sent == 0 && err != nil: // closed, or out of time, before it was sent
		return 0, err
	case l.sent < len(request): // an idle connection has room for a small request
		n, err := l.Conn.Write(request[l.sent:])
		return l.sent + n, err
	default:
		return l.sent, nil // what the wait has come to is the next read's
	}
}

// onTurn is called when the connection can be used, and again when it can be
// read.
func (l *link) onTurn(fd uintptr) (done bool) {
	if l.out == nil {
		return true
	}
	request := l.out
	l.out = nil
	_, err := ignoringInterrupts(unix.Read, int(fd), l.unasked[:])
	if err != unix.EAGAIN {
		l.failed = errStirred
		return true
	}
	l.sent, err = ignoringInterrupts(unix.Write, int(fd), request)
	if err == unix.EAGAIN {
		l.sent = 0
		return true
	}
	l.sent, l.failed = max(l.sent, 0), err
	return l.sent < len(request)
}

func ignoringInterrupts(call func(int, []byte) (int, error), fd int, p []byte) (n int, err error) {
	for {
		if n, err = call(fd, p); err != unix.EINTR {
			return n, err
		}
	}
}
