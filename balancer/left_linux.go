package balancer

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// hasLeft tells whether the client at the other end of conn has closed it, or has
// said that it sends no more.
func hasLeft(conn net.Conn) bool { return polled(conn, unix.POLLRDHUP) }

// hasStirred tells whether the upstream at the other end of conn has closed it, or
// has sent what was not read yet.
func hasStirred(conn net.Conn) bool { return polled(conn, unix.POLLIN|unix.POLLRDHUP) }

// polled tells whether one of the events has come about on conn, or an error.
func polled(conn net.Conn, events int16) bool {
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
	come := false
	err = raw.Control(func(fd uintptr) {
		look := []unix.PollFd{{Fd: int32(fd), Events: events}}
		n, err := unix.Poll(look, 0)
		come = err == nil && n > 0
	})
	return come || err != nil // it was closed here
}
