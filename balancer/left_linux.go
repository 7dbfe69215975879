package balancer

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// hasLeft tells whether who is at the other end of conn, a client or an upstream,
// has closed it, or has said that it sends no more.
func hasLeft(conn net.Conn) bool {
	for {
		under, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		conn = under.NetConn()
	}
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return false
	}
	left := false
	err = raw.Control(func(fd uintptr) {
		look := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		n, err := unix.Poll(look, 0)
		left = err == nil && n > 0
	})
	return left || err != nil // it was closed here
}
