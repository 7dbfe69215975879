package reactor

import (
	"time"

	"golang.org/x/sys/unix"
)

// peerOf asks about a socket. TCP_USER_TIMEOUT would be simpler, but since
// Linux 5.11 it also ends connections whose peer lives and keeps its window
// closed (a viewer that reads nothing).
func peerOf(fd int) Peer {
	info, err := unix.GetsockoptTCPInfo(fd, unix.SOL_TCP, unix.TCP_INFO)
	if err != nil {
		return Peer{}
	}
	return Peer{
		Queued:     info.Unacked > 0 || info.Notsent_bytes > 0,
		Unanswered: info.Retransmits > 0 || info.Probes > 1,
		LastAck:    time.Duration(info.Last_ack_recv) * time.Millisecond,
	}
}

func (s *socket) peer() Peer { return peerOf(s.fd) }
