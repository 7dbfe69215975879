package balancer

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// States of a TCP connection whose peer has said that it sends no more
// (include/net/tcp_states.h), or is gone.
const (
	tcpClose     = 7
	tcpCloseWait = 8
	tcpLastAck   = 9
)

// hasLeft tells whether who is at the other end of conn, a client or an upstream,
// has closed it.
func hasLeft(conn net.Conn) bool {
	for {
		under, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		conn = under.NetConn()
	}
	tcp, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return true // it was closed here
	}
	left := false
	_ = raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		left = err == nil && (info.State == tcpCloseWait || info.State == tcpClose || info.State == tcpLastAck)
	})
	return left
}
