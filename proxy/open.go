package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/proxy/reactor"
	"github.com/streamspace-dev/streamspace-edge/proxy/rfb"
)

// greetingSize is the length of RFB's ProtocolVersion message (RFC 6143 section
// 7.1.1), which both sides begin with.
const greetingSize = 12

// protocolVersion is one side's ProtocolVersion while it arrives.
type protocolVersion struct {
	text [greetingSize]byte
	have int
}

// take adds p's first bytes and returns the rest. complete comes once it is.
func (g *protocolVersion) take(p []byte) (rest []byte, complete bool) {
	n := copy(g.text[g.have:], p)
	g.have += n
	return p[n:], g.complete()
}

func (g *protocolVersion) complete() bool { return g.have == greetingSize }

// open connects to the session's VNC server. It has a goroutine, because a dial
// waits.
func (s *stream) open(ctx context.Context) {
	if line := s.p.log.Check(zap.InfoLevel, "stream opened"); line != nil {
		line.Write(s.fields()...)
	}
	s.p.tellActivity(s.grant.Session)
	ctx, cancel := context.WithTimeout(ctx, s.p.times.dial)
	defer cancel()
	conn, err := s.p.options.Dial(ctx, s.grant, s.id)
	if err != nil {
		conn = nil
	} else {
		reactor.KeepAlive(bare(conn))
	}
	if !s.loop.Do(func() { s.opened(conn, err) }) && conn != nil {
		_ = conn.Close()
		if server, ok := conn.(*Server); ok && server.Gone != nil {
			server.Gone()
		}
	}
}

// bare is the connection of a *Server.
func bare(conn net.Conn) net.Conn {
	if server, ok := conn.(*Server); ok {
		return server.Conn
	}
	return conn
}

// opened waits for the VNC server's greeting, or greets in its place.
func (s *stream) opened(conn net.Conn, err error) {
	s.dialling = false
	server, described := conn.(*Server)
	if described {
		s.serverForgotten = server.Gone
	}
	switch {
	case s.ending != nil:
		if conn != nil {
			_ = conn.Close()
		}
		s.leave()
		return
	case err != nil:
		s.end(dialRefusal(err))
		return
	case s.output.failed: // the viewer has gone meanwhile, and its last second with it
		_ = conn.Close()
		s.end(&Refusal{Reason: ViewerLost, Cause: errors.New("it took no answer")})
		return
	}
	s.phase = phaseHandshake
	s.within(s.p.times.serverGreeting, func() {
		s.end(s.notVNC(&Refusal{Reason: VNCSilent, Cause: errors.New("no greeting in time")}))
	})
	if described {
		s.serverEnded = server.Ended
		if server.WebSocket {
			s.framed = new(framed)
		}
	}
	s.server = s.loop.Add(bare(conn), (*serverSide)(s))
	if described && server.Welcome {
		s.reception = new(rfb.Reception)
		s.takeServerGreeting(s.reception.Greeting())
	}
}

// dialRefusal finds the reason in an error of Options.Dial.
func dialRefusal(err error) *Refusal {
	var network *net.OpError
	var refusal *Refusal
	switch {
	case errors.As(err, &refusal):
		return refusal
	case isTimeout(err):
		return &Refusal{Reason: VNCSilent, Cause: err}
	case errors.Is(err, syscall.ECONNREFUSED), errors.As(err, &network):
		return &Refusal{Reason: VNCRefused, Cause: err}
	default:
		return &Refusal{Reason: Internal, Cause: err}
	}
}

// takeServerGreeting checks that a VNC server has answered before the viewer
// sees a byte of it, and returns what came behind the greeting.
func (s *stream) takeServerGreeting(b []byte) (rest []byte) {
	rest, complete := s.output.greeting.take(b)
	if !complete {
		return nil
	}
	text := s.output.greeting.text
	if _, err := rfb.ParseVersion(text); err != nil {
		s.end(&Refusal{Reason: NotVNC, Cause: err})
		return nil
	}
	if !s.hearServer(text[:]) {
		return nil
	}
	var frame [headerRoom + greetingSize]byte
	copy(frame[headerRoom:], text[:])
	s.within(s.p.times.viewerGreeting, func() {
		s.end(&Refusal{Reason: ViewerNotVNC, Detail: "The viewer sent no VNC greeting."})
	})
	s.passOutput(frame[:], greetingSize)
	s.joinGreetings()
	return rest
}

// serverGone is why a server has ended; before its greeting it is no VNC server.
func (s *stream) serverGone(err error) *Refusal {
	if s.serverEnded != nil {
		if reason := s.serverEnded(err); reason != "" {
			return &Refusal{Reason: reason, Cause: err}
		}
	}
	if s.output.greeting.complete() {
		if err == io.EOF {
			return &Refusal{Reason: ServerClosed}
		}
		return &Refusal{Reason: ServerReset, Cause: err}
	}
	return s.notVNC(&Refusal{Reason: VNCRefused, Cause: fmt.Errorf("it closed the connection before its greeting: %w", err)})
}

// notVNC is why what answered is not a VNC server: otherwise, or, if it has said
// something, that.
func (s *stream) notVNC(otherwise *Refusal) *Refusal {
	if g := &s.output.greeting; g.have > 0 {
		return &Refusal{Reason: NotVNC, Cause: fmt.Errorf("its first bytes are %q", g.text[:g.have])}
	}
	return otherwise
}

// takeViewerGreeting checks the viewer's greeting, and returns what came behind
// it once the server has it.
func (s *stream) takeViewerGreeting(b []byte) (rest []byte) {
	rest, complete := s.input.greeting.take(b)
	if !complete {
		return nil
	}
	if _, err := rfb.ParseVersion(s.input.greeting.text); err != nil {
		s.end(&Refusal{Reason: ViewerNotVNC}) // without its bytes, which may be anything
		return nil
	}
	if !s.output.greeting.complete() {
		s.input.held = append([]byte(nil), rest...)
		s.viewer.Pause()
		return nil
	}
	s.joinGreetings()
	return rest
}

// joinGreetings lets the viewer's bytes through once both sides have greeted.
func (s *stream) joinGreetings() {
	if s.ending != nil || !s.output.greeting.complete() || !s.input.greeting.complete() {
		return
	}
	s.phase = phaseRelay
	s.timer.Stop()
	if s.reception != nil {
		s.within(s.p.times.viewerGreeting, func() {
			s.end(&Refusal{Reason: ViewerNotVNC, Detail: "The viewer did not go on with the VNC handshake."})
		})
	}
	held := s.input.held
	s.input.held = nil
	s.tellServer(s.input.greeting.text[:])
	if s.ending == nil && len(held) > 0 {
		s.tellServer(held)
	}
	if s.ending != nil {
		return
	}
	if !s.server.Pending() {
		s.viewer.Resume()
	}
	s.ping()
}
