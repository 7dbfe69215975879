package proxy

// ending says why a stream ended, and how far it had come.
type ending struct {
	*Refusal
	phase phase
	// unfinished: the viewer has a part of a frame and waits for the rest of it;
	// the leave comes after that.
	unfinished bool
	// Bytes that were read and thrown away since.
	viewerWords, serverWords int
}

// maxLastWords bounds what a stream that has ended still reads of each side, in
// bytes, so that a peer which never stops is cut off instead of keeping the edge
// busy. It is more than the peer's and the edge's socket buffers hold together
// (Linux: 4 and 6 MiB by default, 4 and 32 on larger hosts): a peer that is cut
// off while it still sends loses what it has not read yet.
const maxLastWords = 64 << 20

// end ends the stream for the first reason that comes; later ones change
// nothing. What waits for either side still gets times.close to reach it, then
// so does the close frame.
//
// Neither side may lose what was sent to it last: closing a socket that holds
// unread bytes resets the connection, and the peer's kernel then throws away
// what the peer has not read yet. So each side is told that nothing more comes,
// and read until it has closed, times.close is over, or it has sent more than
// was on its way.
func (s *stream) end(why *Refusal) {
	if s.ending != nil {
		return
	}
	s.ending = &ending{Refusal: why, phase: s.phase}
	s.cancel()
	s.stopWatching()
	if s.throttle != nil {
		s.throttle.Stop()
	}
	s.within(s.p.times.close, s.cut)
	s.input.held = nil
	if s.midFrame() && why.Reason != ViewerLost && !s.output.ended && !s.output.failed {
		s.ending.unfinished = true
		if !s.viewer.Pending() {
			s.server.Resume()
		}
		return
	}
	s.takeLeave()
}

// stopWaiting takes leave although the rest of the viewer's frame has not come:
// one of the two sides has gone.
func (s *stream) stopWaiting() {
	if s.ending.unfinished {
		s.takeLeave()
	}
}

// takeLeave says the last words to both sides.
func (s *stream) takeLeave() {
	s.ending.unfinished = false
	switch {
	case s.ending.Reason == ViewerLost:
		s.input.settled = true
	case s.midFrame():
		s.input.over = true // it would take a close frame for the rest of the one it has
	default:
		s.payPong()                                                                // a ping that came before a close frame has its answer before it, too
		_ = s.viewer.Write(closeFrame(s.closeCode(), closeText(s.ending.Refusal))) // a failure is found by leave
	}
	if !s.input.settled {
		s.viewer.Resume()
	}
	if s.server != nil {
		s.leaveServer()
	}
	s.leave()
}

// leave closes each connection that has nothing more to say or to hear.
func (s *stream) leave() {
	if s.ending == nil || s.ending.unfinished {
		return
	}
	if !s.viewer.Pending() {
		if s.input.settled {
			s.viewer.Close()
		} else if s.input.over {
			s.viewer.CloseWrite() // its end of stream is the only word that is still awaited
		}
	}
	if s.server != nil && s.output.ended && !s.server.Pending() {
		s.server.Close()
	}
	s.forgetIfGone()
}

// discardServer counts bytes of the server that come after the end.
func (s *stream) discardServer(n int) {
	if s.ending.serverWords += n; s.ending.serverWords > maxLastWords {
		s.output.ended = true
		s.server.Close()
		s.leave()
	}
}

// discardViewer counts bytes of the viewer that come after its last frame.
func (s *stream) discardViewer(n int) {
	if s.ending.viewerWords += n; s.ending.viewerWords > maxLastWords {
		s.viewer.Close()
		s.leave()
	}
}

// cut closes both connections without last words. It comes after end.
func (s *stream) cut() {
	s.viewer.Close()
	if s.server != nil {
		s.server.Close()
	}
	s.forgetIfGone()
}

// gone tells whether both connections are closed and none will come.
func (s *stream) gone() bool {
	return s.ending != nil && !s.dialling && s.viewer.Closed() && (s.server == nil || s.server.Closed())
}

// forgetIfGone is the stream's last turn.
func (s *stream) forgetIfGone() {
	if !s.gone() || s.late == nil {
		return
	}
	s.late = nil
	s.timer.Stop()
	s.p.running.Go(func() { // a log may be slow
		s.record()
		s.p.forget(s)
	})
}
