package proxy

import "github.com/streamspace-dev/streamspace-edge/proxy/rfb"

// receive takes the viewer's part of the handshake in place of the server, to
// which the edge has logged in, and returns what comes behind it. From there on
// the stream is like any other.
func (s *stream) receive(b []byte) (rest []byte) {
	for len(b) > 0 && s.reception != nil {
		n, answer, err := s.reception.Hear(b)
		b = b[n:]
		if len(answer) > 0 {
			frame := append(make([]byte, headerRoom), answer...)
			s.passOutput(frame, len(answer))
		}
		switch {
		case err != nil:
			s.end(&Refusal{Reason: ViewerNotVNC, Cause: err})
			return nil
		case s.reception.Done():
			s.rfb.observer = rfb.ObserveBehind(s.reception.Handshake())
			s.reception = nil
			s.timer.Stop()
		}
	}
	return b
}
