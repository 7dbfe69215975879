package proxy

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// stateOf asks the kernel about conn's peer. TCP_USER_TIMEOUT would be simpler,
// but since Linux 5.11 it also ends connections whose peer lives and keeps its
// window closed (a viewer that reads nothing).
func stateOf(conn net.Conn) (state peerState) {
	tcp := tcpConn(conn)
	if tcp == nil {
		return state
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return state
	}
	_ = raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.SOL_TCP, unix.TCP_INFO)
		if err != nil {
			return
		}
		state = peerState{
			queued:     info.Unacked > 0 || info.Notsent_bytes > 0,
			unanswered: info.Retransmits > 0 || info.Probes > 1,
			lastAck:    time.Duration(info.Last_ack_recv) * time.Millisecond,
		}
	})
	return state
}
