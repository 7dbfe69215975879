package proxy

import (
	"errors"

	"github.com/streamspace-dev/streamspace-edge/proxy/reactor"
)

// watch looks every times.ping whether both ends of a stream still live.
type watch struct {
	timer  *reactor.Timer
	heard  bool // the viewer sent something since the last look
	missed int  // pings since the viewer was last heard
}

// unanswered is how many pings in a row a viewer may miss.
const unanswered = 2

func (s *stream) startWatching() {
	s.watch.timer = s.loop.NewTimer(s.look)
	s.watch.timer.Set(s.loop.Now().Add(s.p.times.ping))
}

func (s *stream) stopWatching() { s.watch.timer.Stop() }

// look judges a peer that was sent something by its kernel's acknowledgements,
// and a viewer that has nothing to acknowledge by its answers to pings. A
// viewer that lives but reads nothing acknowledges the kernel's probes, so it
// is left alone for as long as it likes.
func (s *stream) look() {
	s.watch.timer.Set(s.loop.Now().Add(s.p.times.ping))
	if s.server != nil && s.server.Peer().SilentFor() > s.p.times.silence {
		s.end(&Refusal{Reason: ServerReset, Cause: errors.New("it stopped acknowledging what was sent")})
		return
	}
	viewer := s.viewer.Peer()
	if s.watch.heard {
		s.watch.heard, s.watch.missed = false, 0
	}
	switch {
	case viewer.SilentFor() > s.p.times.silence:
		s.end(&Refusal{Reason: ViewerLost, Cause: errors.New("it stopped acknowledging what was sent")})
	case viewer.Queued || s.viewer.Pending() || s.viewer.Paused() || s.midFrame():
		// A ping would only queue behind what the viewer has not read, or its
		// answer behind what the server has not; and a frame comes before it.
	case s.watch.missed == unanswered:
		s.end(&Refusal{Reason: ViewerLost, Cause: errors.New("it did not answer pings")})
	default:
		s.watch.missed++
		s.ping()
	}
}

// ping asks the viewer for an answer, which also tells the round trip.
func (s *stream) ping() {
	s.writeControl(opPing, s.quality.nextPing(s.loop.Now()))
}
