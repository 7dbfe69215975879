//go:build unix

package proxy

import (
	"net"
	"os"
	"syscall"
)

// rawConn is src's socket, or nil when src is more than a socket. A type that
// wraps one may hold bytes that were read from it before.
func rawConn(src net.Conn) syscall.RawConn {
	var raw syscall.RawConn
	var err error
	switch conn := src.(type) {
	case *net.TCPConn:
		raw, err = conn.SyscallConn()
	case *net.UnixConn:
		raw, err = conn.SyscallConn()
	}
	if err != nil {
		return nil // the connection is closed, which its Read tells in words
	}
	return raw
}

// readsInARow bounds how long copyRaw goes without a look at the deadline.
const readsInARow = 16

// copyRaw copies from a socket. The loop runs inside the callback that the
// runtime calls when the socket is readable: a buffer is taken only then. It
// reads until the kernel has nothing more, because the poller tells of each
// arrival once, and a short read does not say that no end of stream follows.
func (p *buffers) copyRaw(src syscall.RawConn, use func(buf []byte, n int) error) error {
	var n int
	var fault error
	read := func(fd uintptr) (done bool) {
		buf := p.get()
		defer p.put(buf)
		for range readsInARow {
			n, fault = syscall.Read(int(fd), buf[headerRoom:])
			switch {
			case fault == syscall.EINTR:
				continue
			case fault == syscall.EAGAIN:
				return false
			case fault != nil:
				fault = os.NewSyscallError("read", fault)
				return true
			case n == 0:
				return true
			}
			if fault = use(buf[:], n); fault != nil {
				return true
			}
		}
		n, fault = 1, nil
		return true
	}
	for {
		if err := src.Read(read); err != nil {
			return err
		}
		if fault != nil || n <= 0 {
			return fault
		}
	}
}
