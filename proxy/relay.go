package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/streamspace-dev/streamspace-edge/proxy/rfb"
)

// greetingSize is the length of RFB's ProtocolVersion message (RFC 6143 section
// 7.1.1), which both sides begin with.
const greetingSize = 12

// output is the state of the bytes towards the viewer.
type output struct {
	writing atomic.Int32 // writes under way
	ended   bool         // the server's end of stream or its reset has been read
	flowing bool         // bytes have followed the greeting
}

// input is the state of the bytes towards the server.
type input struct {
	ahead    []byte // what came together with the handshake
	decoder  decoder
	greeting [greetingSize]byte
	have     int  // bytes of greeting
	deaf     bool // the server takes no more
	settled  bool // the viewer has said or shown that nothing more comes
}

var (
	errViewerClosed = errors.New("close frame")
	errViewerWrite  = errors.New("write to the viewer")
)

// fromServer dials, passes the server's greeting on and then relays until the
// stream has ended.
func (s *stream) fromServer() {
	_ = s.viewer.SetWriteDeadline(time.Now().Add(s.p.times.close))
	if err := s.write(s.response); err != nil {
		s.end(&Refusal{Reason: ViewerLost, Cause: err})
		return
	}
	s.running(func() { _ = s.viewer.SetWriteDeadline(time.Time{}) })
	if refusal := s.dial(); refusal != nil {
		s.end(refusal)
		return
	}
	if refusal := s.passGreeting(); refusal != nil {
		s.end(refusal)
		return
	}
	err := s.p.buffers.copy(s.server, s.passOutput)
	switch {
	case errors.Is(err, errViewerWrite):
		s.endAfterInput(err)
	case err == nil:
		s.output.ended = true
		s.end(&Refusal{Reason: ServerClosed})
	default: // or the interrupt of end, which then has its reason
		s.output.ended = !isTimeout(err)
		s.end(&Refusal{Reason: ServerReset, Cause: err})
	}
}

// endAfterInput ends a stream whose viewer can't be written to. A viewer that
// left politely has sent a close frame before, which may still be on its way
// through fromViewer; that is then the reason.
func (s *stream) endAfterInput(cause error) {
	patience := time.NewTimer(time.Second)
	defer patience.Stop()
	select {
	case <-s.inputDone:
	case <-s.ctx.Done():
	case <-patience.C:
	}
	s.end(&Refusal{Reason: ViewerLost, Cause: cause})
}

func (s *stream) dial() *Refusal {
	ctx, cancel := context.WithTimeout(s.ctx, s.p.times.dial)
	defer cancel()
	conn, err := s.p.options.Dial(ctx, s.grant, s.id)
	if err != nil {
		return dialRefusal(err)
	}
	keepAlive(conn)
	dialled := s.running(func() {
		s.server, s.phase = conn, phaseHandshake
		_ = conn.SetReadDeadline(time.Now().Add(s.p.times.serverGreeting))
	})
	if !dialled {
		_ = conn.Close()
		return &Refusal{Reason: Internal} // not the first reason
	}
	return nil
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

// passGreeting checks that a VNC server has answered before the viewer sees a
// byte of it.
func (s *stream) passGreeting() *Refusal {
	var frame [headerRoom + greetingSize]byte
	greeting := frame[headerRoom:]
	n, err := io.ReadFull(s.server, greeting)
	switch {
	case err != nil && n > 0:
		return &Refusal{Reason: NotVNC, Cause: fmt.Errorf("its first bytes are %q", greeting[:n])}
	case err != nil && isTimeout(err):
		return &Refusal{Reason: VNCSilent, Cause: err}
	case err != nil:
		return &Refusal{Reason: VNCRefused, Cause: fmt.Errorf("it closed the connection before its greeting: %w", err)}
	}
	if _, err := rfb.ParseVersion([greetingSize]byte(greeting)); err != nil {
		return &Refusal{Reason: NotVNC, Cause: err}
	}
	s.running(func() {
		_ = s.server.SetReadDeadline(time.Time{})
		_ = s.viewer.SetReadDeadline(time.Now().Add(s.p.times.viewerGreeting))
	})
	if err := s.write(frame[putHeader(frame[:], opBinary, greetingSize):]); err != nil {
		return &Refusal{Reason: ViewerLost, Cause: err}
	}
	s.countOutput(greetingSize)
	close(s.greeted)
	return nil
}

// passOutput sends n bytes of the server, at buf[headerRoom:], as one frame.
func (s *stream) passOutput(buf []byte, n int) error {
	if err := s.write(buf[putHeader(buf, opBinary, n) : headerRoom+n]); err != nil {
		return fmt.Errorf("%w: %w", errViewerWrite, err)
	}
	s.countOutput(n)
	if !s.output.flowing {
		s.output.flowing = true
		s.p.metrics.open.Observe(time.Since(s.asked).Seconds())
	}
	return nil
}

func (s *stream) countOutput(n int) {
	s.toViewer.Add(int64(n))
	s.p.metrics.out.Add(float64(n))
}

// write sends one whole frame. Connections let one Write through at a time, so
// frames of several goroutines don't mix.
func (s *stream) write(frame []byte) error {
	s.output.writing.Add(1)
	defer s.output.writing.Add(-1)
	_, err := s.viewer.Write(frame)
	return err
}

// fromViewer takes the viewer's frames until a close frame, the end of the
// connection, a fault, or the deadline that end sets.
func (s *stream) fromViewer() {
	defer close(s.inputDone)
	err := s.passInput(s.input.ahead)
	s.input.ahead = nil
	if err == nil {
		err = s.p.buffers.copy(s.viewer, func(buf []byte, n int) error {
			return s.passInput(buf[headerRoom : headerRoom+n])
		})
	}
	s.input.settled = true
	var frame *frameError
	var refusal *Refusal
	switch {
	case errors.Is(err, errViewerClosed):
		s.end(&Refusal{Reason: ViewerLeft})
	case errors.As(err, &frame):
		s.input.settled = false
		s.end(&Refusal{Reason: frame.reason, Cause: err})
	case errors.As(err, &refusal):
		s.input.settled = false
		s.end(refusal)
	case err == nil:
		s.end(&Refusal{Reason: ViewerLost, Cause: io.ErrUnexpectedEOF})
	case isTimeout(err): // or the deadline of end, which then has its reason
		s.input.settled = false // it may still answer the close frame
		s.end(&Refusal{Reason: ViewerNotVNC, Detail: "The viewer sent no VNC greeting.", Cause: err})
	default:
		s.end(&Refusal{Reason: ViewerLost, Cause: err})
	}
}

// passInput takes b apart into frames and forwards what they carry.
func (s *stream) passInput(b []byte) error {
	s.watch.heard.Store(true)
	n, fault := s.input.decoder.decode(b, s.takeControl)
	if err := s.forward(b[:n]); err != nil {
		return err
	}
	return fault
}

func (s *stream) takeControl(op opcode, payload []byte) error {
	switch op {
	case opPing:
		_ = s.write(controlFrame(opPong, payload)) // a viewer that can't be written to is found by run
	case opClose:
		if _, _, err := parseClose(payload); err != nil {
			return err
		}
		return errViewerClosed
	}
	return nil
}

// forward writes the viewer's bytes to the server, after its greeting has been
// checked. A server that takes no more may still have words to say, so a failed
// write is left for run to find the end behind them.
func (s *stream) forward(b []byte) error {
	if s.input.have < greetingSize {
		taken := copy(s.input.greeting[s.input.have:], b)
		s.input.have += taken
		if s.input.have < greetingSize {
			return nil
		}
		b = b[taken:]
		if err := s.passViewerGreeting(); err != nil {
			return err
		}
	}
	if len(b) > 0 {
		s.writeToServer(b)
	}
	return nil
}

func (s *stream) passViewerGreeting() error {
	greeting := s.input.greeting[:]
	if _, err := rfb.ParseVersion(s.input.greeting); err != nil {
		return &Refusal{Reason: ViewerNotVNC} // without its bytes, which may be anything
	}
	select {
	case <-s.greeted:
	case <-s.ctx.Done():
		s.input.deaf = true
		return nil
	}
	s.running(func() {
		s.phase = phaseRelay
		_ = s.viewer.SetReadDeadline(time.Time{})
	})
	s.writeToServer(greeting)
	return nil
}

func (s *stream) writeToServer(b []byte) {
	if s.input.deaf {
		return
	}
	n, err := s.server.Write(b)
	s.toServer.Add(int64(n))
	s.p.metrics.in.Add(float64(n))
	s.input.deaf = err != nil
}
