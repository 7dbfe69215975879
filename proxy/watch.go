package proxy

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// watch looks every times.ping whether both ends of a stream still live.
type watch struct {
	heard atomic.Bool // the viewer sent something since the last look

	mu     sync.Mutex // held during a look; guards the fields below
	timer  *time.Timer
	missed int // pings since the viewer was last heard
}

// unanswered is how many pings in a row a viewer may miss.
const unanswered = 2

func (s *stream) startWatching() {
	s.watch.mu.Lock()
	defer s.watch.mu.Unlock()
	s.watch.timer = time.AfterFunc(s.p.times.ping, s.look)
}

// stopWatching returns when no look is under way and none will come. The stream
// has ended.
func (s *stream) stopWatching() {
	s.watch.mu.Lock()
	defer s.watch.mu.Unlock()
	s.watch.timer.Stop()
}

// look judges a peer that was sent something by its kernel's acknowledgements,
// and a viewer that has nothing to acknowledge by its answers to pings. A
// viewer that lives but reads nothing acknowledges the kernel's probes, so it
// is left alone for as long as it likes.
func (s *stream) look() {
	s.watch.mu.Lock()
	defer s.watch.mu.Unlock()
	var server net.Conn
	if !s.running(func() { server = s.server }) {
		return
	}
	defer s.watch.timer.Reset(s.p.times.ping)
	if server != nil && stateOf(server).silentFor() > s.p.times.silence {
		s.end(&Refusal{Reason: ServerReset, Cause: errors.New("it stopped acknowledging what was sent")})
		return
	}
	viewer := stateOf(s.viewer)
	switch {
	case s.watch.heard.Swap(false):
		s.watch.missed = 0
	case viewer.silentFor() > s.p.times.silence:
		s.end(&Refusal{Reason: ViewerLost, Cause: errors.New("it stopped acknowledging what was sent")})
	case viewer.queued || s.output.writing.Load() > 0:
		// A ping would only queue behind what the viewer has not read.
	case s.watch.missed == unanswered:
		s.end(&Refusal{Reason: ViewerLost, Cause: errors.New("it did not answer pings")})
	default:
		s.watch.missed++
		_ = s.write(controlFrame(opPing, nil)) // with an empty queue this does not block
	}
}

// peerState is what the kernel knows of a connection's other end. The zero
// value stands for a connection that the kernel can't be asked about.
type peerState struct {
	queued     bool          // bytes that were written are not acknowledged yet
	unanswered bool          // the kernel has tried again without an answer
	lastAck    time.Duration // since the last acknowledgement
}

// silentFor is how long the peer has owed an acknowledgement; 0 when it owes
// none.
func (p peerState) silentFor() time.Duration {
	if !p.queued || !p.unanswered {
		return 0
	}
	return p.lastAck
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

// keepAlive lets the kernel find a dead peer that nothing is sent to, within a
// minute.
func keepAlive(conn net.Conn) {
	if tcp := tcpConn(conn); tcp != nil {
		_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 20 * time.Second, Interval: 10 * time.Second, Count: 4})
	}
}
