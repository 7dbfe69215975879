package proxy

import (
	"errors"
	"io"
	"time"

	"github.com/streamspace-dev/streamspace-edge/proxy/reactor"
)

// input is the state of the bytes towards the server.
type input struct {
	decoder  decoder
	greeting protocolVersion
	held     []byte // what came behind the viewer's greeting before the server's
	deaf     bool   // the server takes no more
	settled  bool   // the viewer has said or shown that nothing more comes
	over     bool   // its last frame has come: a close frame, or one that breaks the rules
	left     uint16 // the code that its close frame has; 0: none
}

// output is the state of the bytes towards the viewer.
type output struct {
	greeting protocolVersion
	ended    bool             // the server's end of stream or its reset has been read
	flowing  bool             // bytes have followed the greeting
	bulk     bool             // the server's socket holds more than a buffer
	most     int              // bytes that the next frame of bulk may have
	frame    [headerRoom]byte // the header of bytes that are moved
	failed   bool             // the viewer can't be written to
	pong     []byte           // the newest ping's payload, owed until the viewer takes bytes again
	owesPong bool
	pongs    int // written in this turn
}

// errViewerClosed is the viewer's close frame.
var errViewerClosed = errors.New("close frame")

// readsInARow bounds how often a connection that fills the buffer is read
// before the others of its loop have their turn.
const readsInARow = 4

// Readable takes what the server sends.
func (side *serverSide) Readable() {
	s := (*stream)(side)
	switch {
	case s.output.bulk:
		s.moveOutput()
		return
	case s.framed != nil:
		s.readFrames()
		return
	}
	buf := s.loop.Buffer()
	for range readsInARow {
		n, err := s.server.Read(buf[headerRoom : headerRoom+reactor.MinRead])
		switch {
		case err == reactor.ErrWait:
			return
		case err != nil:
			s.serverEnds(err)
			return
		case s.ending != nil:
			s.discardServer(n)
			return
		}
		s.takeOutput(buf[:], n)
		if n < reactor.MinRead || s.ending != nil {
			return
		}
		if s.phase == phaseRelay && s.server.Moves(s.viewer) {
			s.output.bulk = true
			return
		}
		if s.server.Paused() {
			return
		}
	}
}

// takeOutput takes n bytes of the server, at buf[headerRoom:].
func (s *stream) takeOutput(buf []byte, n int) {
	if s.reception != nil {
		s.end(&Refusal{Reason: NotVNC, Cause: errors.New("it spoke before its client, which has logged in, had said anything more")})
		return
	}
	if !s.output.greeting.complete() {
		rest := s.takeServerGreeting(buf[headerRoom : headerRoom+n])
		if n = copy(buf[headerRoom:], rest); n == 0 || s.ending != nil {
			return
		}
	}
	if !s.hearServer(buf[headerRoom : headerRoom+n]) {
		return
	}
	s.passOutput(buf, n)
	s.noteFlowing()
}

func (s *stream) noteFlowing() {
	if !s.output.flowing && s.phase == phaseRelay {
		s.output.flowing = true
		s.p.metrics.open.Observe(time.Since(s.asked).Seconds())
	}
}

// passOutput sends n bytes of the server, at buf[headerRoom:], as one frame. A
// viewer that does not take them stops the server's.
func (s *stream) passOutput(buf []byte, n int) {
	if err := s.viewer.Write(buf[putHeader(buf, opBinary, n) : headerRoom+n]); err != nil {
		s.viewerFails(err)
		return
	}
	s.countOutput(n)
}

// countOutput counts what was written, and stops the server's bytes while the
// viewer does not take them.
func (s *stream) countOutput(n int) {
	s.toViewer.Add(int64(n))
	s.p.metrics.out.Add(float64(n))
	s.quality.noteUpdate(s.loop.Now(), s.p.metrics)
	if s.viewer.Pending() && s.server != nil {
		s.quality.stalls.Add(1)
		s.p.metrics.stalls.Inc()
		s.server.Pause()
	}
	s.keepToShare(n)
}

// keepToShare stops the server while the stream is ahead of its share of the
// bandwidth, of which it has just used n bytes.
func (s *stream) keepToShare(n int) {
	pause := s.share.Take(n, s.loop.Now())
	s.throttled = pause > 0
	if !s.throttled {
		return
	}
	if s.throttle == nil {
		s.throttle = s.loop.NewTimer(s.tryShareAgain)
	}
	s.throttle.Set(s.loop.Now().Add(pause))
	if s.server != nil {
		s.server.Pause()
	}
}

func (s *stream) tryShareAgain() {
	s.keepToShare(0)
	s.resumeServer()
}

// resumeServer goes on with the server's bytes, unless the viewer or the share
// still has to wait.
func (s *stream) resumeServer() {
	if s.server != nil && !s.throttled && !s.output.failed && !s.viewer.Pending() {
		s.server.Resume()
	}
}

// viewerFails ends a stream whose viewer can't be written to. A viewer that left
// politely has sent a close frame before, which may still be on its way; that is
// then the reason.
func (s *stream) viewerFails(cause error) {
	if s.ending != nil || s.output.failed {
		return
	}
	s.output.failed = true
	if s.server != nil {
		s.server.Pause()
	}
	s.within(time.Second, func() { s.end(&Refusal{Reason: ViewerLost, Cause: cause}) })
}

func (s *stream) serverEnds(err error) {
	s.output.ended = true
	if s.ending != nil {
		s.server.Pause() // there is nothing more to read
		s.stopWaiting()
		s.leave()
		return
	}
	s.end(s.serverGone(err))
}

// Flushed goes on with the viewer's bytes.
func (side *serverSide) Flushed() {
	s := (*stream)(side)
	if s.ending == nil {
		s.viewer.Resume()
	} else {
		s.leave()
	}
}

// Lost finds that the server's connection has failed while the viewer has not
// taken all that came before, which still goes out.
func (*serverSide) Lost() {}

// Readable takes what the viewer sends.
func (side *viewerSide) Readable() {
	s := (*stream)(side)
	buf := s.loop.Buffer()
	n, err := s.viewer.Read(buf[:reactor.MinRead])
	switch {
	case err == reactor.ErrWait:
	case err != nil:
		s.viewerEnds(err)
	case s.input.over:
		s.discardViewer(n)
	default:
		s.passInput(buf[:n])
	}
}

func (s *stream) viewerEnds(err error) {
	s.input.settled = true
	if s.ending != nil {
		s.viewer.Pause()
		s.stopWaiting()
		s.leave()
		return
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	s.end(&Refusal{Reason: ViewerLost, Cause: err})
}

// Flushed goes on with the server's bytes.
func (side *viewerSide) Flushed() {
	s := (*stream)(side)
	if s.ending != nil {
		if s.ending.unfinished {
			s.server.Resume()
		}
		s.leave()
		return
	}
	s.payPong()
	s.resumeServer()
}

// Lost finds that the viewer's connection has failed while the server does not
// take what came from it.
func (side *viewerSide) Lost() {
	s := (*stream)(side)
	s.input.settled = true
	s.end(&Refusal{Reason: ViewerLost, Cause: errors.New("its connection was reset")})
	s.stopWaiting()
	s.leave()
}

// passInput takes b apart into frames and forwards what they carry.
func (s *stream) passInput(b []byte) {
	s.watch.heard = true
	s.output.pongs = 0
	if s.ending != nil {
		defer s.discardViewer(len(b))
	}
	n, fault := s.input.decoder.decode(b, s)
	if s.ending == nil {
		s.forward(b[:n])
	}
	switch {
	case fault != nil:
		s.viewerBreaks(fault)
	case s.ending == nil && !s.output.failed && !s.viewer.Pending():
		s.payPong()
	}
}

// viewerBreaks ends the stream for the decoder's error.
func (s *stream) viewerBreaks(fault error) {
	var frame *frameError
	switch {
	case fault == errViewerClosed:
		s.input.over = true
		s.end(&Refusal{Reason: ViewerLeft})
	case errors.As(fault, &frame):
		s.input.over = true
		s.end(&Refusal{Reason: frame.reason, Cause: fault})
	}
	s.leave()
}

// takeControl answers a control frame of the viewer.
func (s *stream) takeControl(op opcode, payload []byte) error {
	switch op {
	case opPing:
		s.answerPing(payload)
	case opPong:
		s.quality.notePong(payload, s.loop.Now(), s.p.metrics)
	case opClose:
		code, _, err := parseClose(payload)
		if err != nil {
			return err
		}
		if code != statusMissing {
			s.input.left = code
		}
		return errViewerClosed
	}
	return nil
}

// mostPongs bounds the pongs of one read, which may hold ten thousand pings:
// each is a system call, and the others of the loop wait meanwhile.
const mostPongs = 16

// answerPing answers at once, or, after mostPongs, when all that was read is
// taken apart, or when the viewer takes bytes again between two frames; then only
// the newest ping is answered, as RFC 6455 section 5.5.3 allows.
func (s *stream) answerPing(payload []byte) {
	switch {
	case s.ending != nil || s.output.failed:
	case s.viewer.Pending() || s.midFrame() || s.output.pongs >= mostPongs:
		s.output.pong, s.output.owesPong = append(s.output.pong[:0], payload...), true
	default:
		s.output.pongs++
		s.writeControl(opPong, payload)
	}
}

func (s *stream) payPong() {
	if s.output.owesPong && !s.midFrame() {
		s.output.owesPong = false
		s.writeControl(opPong, s.output.pong)
	}
}

func (s *stream) writeControl(op opcode, payload []byte) {
	var frame [headerRoom + maxControl]byte
	n := copy(frame[headerRoom:], payload)
	if err := s.viewer.Write(frame[putHeader(frame[:], op, n) : headerRoom+n]); err != nil {
		s.viewerFails(err)
	}
}

// forward writes the viewer's bytes to the server, after its greeting has been
// checked.
func (s *stream) forward(b []byte) {
	if !s.input.greeting.complete() {
		b = s.takeViewerGreeting(b)
	}
	if len(b) > 0 && s.ending == nil {
		s.tellServer(b)
	}
}

// tellServer passes on what of b is the server's and what of that may pass.
func (s *stream) tellServer(b []byte) {
	if s.reception != nil {
		b = s.receive(b)
	}
	if len(b) > 0 && s.ending == nil {
		s.writeToServer(s.restrict(b))
	}
}

// writeToServer passes b on. A server that takes no more may still have words
// to say, so a failed write is left for reading to find the end behind them.
func (s *stream) writeToServer(b []byte) {
	if s.input.deaf || len(b) == 0 {
		return
	}
	if err := s.write(b); err != nil {
		s.input.deaf = true
		return
	}
	s.toServer.Add(int64(len(b)))
	s.p.metrics.in.Add(float64(len(b)))
	if s.server.Pending() {
		s.viewer.Pause()
	}
}
