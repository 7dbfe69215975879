package proxy

import (
	"time"

	"github.com/streamspace-dev/streamspace-edge/proxy/rfb"
)

// following is what a stream knows of the RFB that passes through it. Pixels are
// never looked at: of the server's bytes only the handshake is.
type following struct {
	observer rfb.Observer
	filter   rfb.Filter
	phase    rfb.Phase
	told     time.Time // when Options.Input was last called
}

// inputEvery is how often, at most, a stream tells that somebody is at work.
const inputEvery = time.Second

// policy is what the stream's viewer may not do.
func (s *stream) policy() rfb.Policy {
	return rfb.Policy{View: s.grant.Mode == View, NoClipboardIn: s.p.options.BlockClipboardIn}
}

// hearServer follows the server's part of the handshake, before it is passed on.
// It reports whether the stream goes on.
func (s *stream) hearServer(b []byte) bool {
	if s.rfb.phase == rfb.PhaseHandshake {
		s.rfb.phase = s.rfb.observer.Server(b)
		return s.enforceable()
	}
	return true
}

// restrict returns what of the viewer's bytes may pass, in place, and notes when
// a person is at work.
func (s *stream) restrict(b []byte) []byte {
	handshake := 0
	if s.rfb.phase == rfb.PhaseHandshake {
		handshake, s.rfb.phase = s.rfb.observer.Viewer(b)
		if !s.enforceable() {
			return nil
		}
		if s.rfb.phase == rfb.PhaseNormal && s.rfb.filter.Policy.View {
			b[handshake-1] = 1 // who only looks throws nobody out (RFC 6143 section 7.3.1)
		}
	}
	switch s.rfb.phase {
	case rfb.PhaseHandshake:
		return b
	case rfb.PhaseNormal:
	default: // nobody can tell what it says
		s.noteInput()
		return b
	}
	kept, human, err := s.rfb.filter.Pass(b[handshake:])
	if err != nil {
		s.end(&Refusal{Reason: Unenforceable, Detail: "The viewer sent a VNC message that this server does not know, so it can't be kept to what it may do.", Cause: err})
		return nil
	}
	if human {
		s.noteInput()
	}
	return b[:handshake+len(kept)]
}

// enforceable ends the stream when what passes can't be followed although the
// viewer has to be kept to something.
func (s *stream) enforceable() bool {
	if s.rfb.filter.Policy == (rfb.Policy{}) || s.rfb.phase == rfb.PhaseHandshake || s.rfb.phase == rfb.PhaseNormal {
		return true
	}
	s.end(&Refusal{Reason: Unenforceable, Cause: s.rfb.observer.Err()})
	return false
}

// noteInput remembers that a person has used a key or the pointer.
func (s *stream) noteInput() {
	now := s.loop.Now()
	s.quality.noteInput(now)
	if s.p.options.Input != nil && now.Sub(s.rfb.told) >= inputEvery {
		s.rfb.told = now
		s.p.running.Go(func() { s.p.options.Input(s.grant.Session) })
	}
}
