package proxy

import "github.com/streamspace-dev/streamspace-edge/proxy/reactor"

// moveOutput passes on what the server sends without copying it: the kernel has
// more of it than a buffer holds.
func (s *stream) moveOutput() {
	if s.ending != nil || s.output.failed {
		s.output.bulk = false
		return
	}
	n, err := s.move()
	switch {
	case err == reactor.ErrWait:
		s.output.bulk = false
		return
	case err != nil:
		s.serverEnds(err)
		return
	}
	if failure := s.viewer.Failure(); failure != nil {
		s.viewerFails(failure)
		return
	}
	s.output.bulk = n >= reactor.WorthMoving
	s.countOutput(n)
	if s.framed != nil {
		s.output.bulk = s.output.bulk && s.framed.left >= worthMovingFrame
		s.frameEnds()
	}
}

// move passes on one frame, or of a server's own frame no more than its rest.
func (s *stream) move() (n int, err error) {
	most := max(s.output.most, leastMove)
	if s.share != nil {
		most = leastMove // a share is kept to from move to move
	}
	if f := s.framed; f != nil {
		n, err = s.server.Move(s.viewer, int(min(f.left, int64(most))), nil)
		f.left -= int64(n)
		s.output.most = nextMove(most, n, s.viewer.Pending())
		return n, err
	}
	frame := &s.output.frame
	n, err = s.server.Move(s.viewer, most, func(n int) []byte { return frame[putHeader(frame[:], opBinary, n):] })
	s.output.most = nextMove(most, n, s.viewer.Pending())
	return n, err
}

// nextMove is how large the frame may be that follows one of n bytes, of which
// most were allowed.
func nextMove(most, n int, stalled bool) int {
	switch {
	case stalled:
		return leastMove
	case n == most:
		return min(2*most, reactor.MaxMove)
	}
	return most
}

// leastMove is how large the first frame of bulk may be, in bytes, and each one
// for a viewer that does not keep up. A browser sees nothing of a frame before it
// has the whole: at 10 Mbit/s that is 50 ms of this one, and 0.8 s of one of
// MaxMove.
const leastMove = 64 << 10
