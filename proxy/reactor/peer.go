package reactor

import (
	"net"
	"time"
)

// Peer is what the kernel knows of a connection's other end. The zero value
// stands for a connection that the kernel can't be asked about.
type Peer struct {
	Queued     bool          // bytes that were written are not acknowledged yet
	Unanswered bool          // the kernel has tried again without an answer
	LastAck    time.Duration // since the last acknowledgement
}

// SilentFor is how long the peer has owed an acknowledgement; 0 when it owes
// none.
func (p Peer) SilentFor() time.Duration {
	if !p.Queued || !p.Unanswered {
		return 0
	}
	return p.LastAck
}

// Peer asks the kernel about c's other end.
func (c *Conn) Peer() Peer {
	if c.closed {
		return Peer{}
	}
	return c.source.peer()
}

// tcpConn finds the TCP connection that conn is or, as TLS does, runs over; nil
// when there is none.
func tcpConn(conn net.Conn) *net.TCPConn {
	for {
		switch c := conn.(type) {
		case *net.TCPConn:
			return c
		case interface{ NetConn() net.Conn }:
			conn = c.NetConn()
		default:
			return nil
		}
	}
}

// KeepAlive lets the kernel find a dead peer that nothing is sent to, within a
// minute. conn may be TLS. It does nothing for what is not TCP.
func KeepAlive(conn net.Conn) {
	if tcp := tcpConn(conn); tcp != nil {
		_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 20 * time.Second, Interval: 10 * time.Second, Count: 4})
	}
}
