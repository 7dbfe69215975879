package proxy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"

	"github.com/streamspace-dev/streamspace-edge/proxy/reactor"
	"github.com/streamspace-dev/streamspace-edge/proxy/rfb"
)

// framed is what a stream knows of a VNC server that speaks WebSocket itself.
//
// Its messages are taken apart while the RFB handshake lasts. From the first
// message that begins after it, data frames pass to the viewer as they came:
// only their headers are looked at, to know where a frame of ours may go
// between. Control frames end here, on both sides; each leg has its own. What
// the viewer says is masked anew, from what its policy has left.
type framed struct {
	raw   bool  // data frames pass as they came
	left  int64 // bytes of payload that the frame which has begun still has
	open  bool  // between the first fragment of a message and its last
	held  [maxHeld]byte
	have  int    // bytes of held: a header or a control frame of which more has to come
	ended uint16 // the code of its close frame, statusMissing for none; 0: it did not come
}

const (
	maxHeld   = maxControl + 2 // bytes that an incomplete control frame may have; more than a header
	frameRoom = maxHeld + headerRoom

	// worthMovingFrame is what a frame has to have left, in bytes, to be moved
	// without a copy: its header was read with what follows, and the next one is
	// again. In frames of 64 KiB, which websockify sends, moving costs more than it
	// saves (measured).
	worthMovingFrame = 2 * reactor.MinRead
)

// midFrame tells whether the viewer has a part of a frame, so that nothing but
// its rest can be sent.
func (s *stream) midFrame() bool { return s.framed != nil && s.framed.raw && s.framed.left > 0 }

// readFrames takes what the server sends.
func (s *stream) readFrames() {
	f := s.framed
	buf := s.loop.Buffer()
	for range readsInARow {
		n, err := s.server.Read(buf[frameRoom : frameRoom+reactor.MinRead])
		switch {
		case err == reactor.ErrWait:
			return
		case err != nil:
			s.serverEnds(err)
			return
		case s.ending != nil && !s.ending.unfinished:
			s.discardServer(n)
			return
		}
		at := frameRoom - f.have
		copy(buf[at:], f.held[:f.have])
		f.have = 0
		s.takeFrames(buf[:], at, frameRoom+n)
		switch {
		case n < reactor.MinRead || s.ending != nil || s.server.Paused():
			return
		case f.raw && f.left >= worthMovingFrame && s.server.Moves(s.viewer):
			s.output.bulk = true
			return
		}
	}
}

// takeFrames takes buf[at:end]. There is headerRoom before it at least.
func (s *stream) takeFrames(buf []byte, at, end int) {
	f := s.framed
	from, payload := at, 0 // buf[from:at] passes as it came
	pass := func() {
		s.passFrames(buf[from:at], payload)
		payload = 0
	}
	for at < end && (s.ending == nil || s.ending.unfinished) {
		p, n, err := f.next(buf[at:end])
		switch {
		case err != nil:
			pass()
			s.end(s.serverBreaks(err))
			return
		case p.kind == partHeld:
			end = at
		case p.kind == partControl:
			pass()
			s.takeServerControl(p.op, p.payload)
			from = at + n
		case p.kind == partHeader:
			f.raw = f.raw || p.op == opBinary && s.rfb.phase != rfb.PhaseHandshake && s.output.greeting.complete()
			if !f.raw {
				from = at + n
			}
		case f.raw:
			payload += n
		default:
			s.takeOutput(buf[at-headerRoom:], n)
			from = at + n
		}
		at += n
		if s.ending != nil && f.left == 0 {
			break // all that the viewer waits for
		}
	}
	pass()
	s.frameEnds()
}

// part is what the next bytes of a server are.
type part struct {
	kind    partKind
	op      opcode // of a header or a control frame
	payload []byte // of a control frame
}

type partKind uint8

const (
	partHeld    partKind = iota // they are kept until more have come; no bytes are taken
	partHeader                  // of a data frame
	partPayload                 // of a data frame
	partControl                 // a whole control frame
)

// next takes the first size bytes of b, which is not empty. When it keeps them,
// they have to be the first of the next b.
func (f *framed) next(b []byte) (p part, size int, err error) {
	if f.left > 0 {
		size = int(min(f.left, int64(len(b))))
		f.left -= int64(size)
		return part{kind: partPayload}, size, nil
	}
	h, size, err := parseServerHeader(b)
	switch {
	case err == errShortHeader, err == nil && h.op.control() && size+int(h.length) > len(b):
		f.have = copy(f.held[:], b)
		return part{kind: partHeld}, 0, nil
	case err != nil:
		return part{}, 0, err
	case h.op.control():
		end := size + int(h.length)
		return part{kind: partControl, op: h.op, payload: b[size:end]}, end, nil
	}
	return part{kind: partHeader, op: h.op}, size, f.begin(h)
}

// begin checks that h may come now.
func (f *framed) begin(h frameHeader) error {
	switch {
	case h.op == opText:
		return errors.New("it sent a text message, and VNC needs binary ones")
	case h.op == opBinary && f.open:
		return errors.New("a message begins inside another")
	case h.op == opContinuation && !f.open:
		return errors.New("a continuation without a message")
	}
	f.open, f.left = !h.fin, h.length
	return nil
}

// passFrames sends frames of the server, which carry payload bytes, as they
// came.
func (s *stream) passFrames(b []byte, payload int) {
	if len(b) == 0 || s.output.failed {
		return
	}
	err := s.viewer.Write(b)
	switch {
	case s.ending != nil && err != nil:
		s.takeLeave()
	case s.ending != nil:
		s.toViewer.Add(int64(payload))
		if s.viewer.Pending() {
			s.server.Pause()
		}
	case err != nil:
		s.viewerFails(err)
	default:
		s.noteFlowing()
		s.countOutput(payload)
	}
}

// frameEnds does what had to wait for the end of a frame, if this is one.
func (s *stream) frameEnds() {
	switch {
	case s.midFrame():
	case s.ending == nil:
		s.payPong()
	case s.ending.unfinished:
		s.takeLeave()
	}
}

// takeServerControl answers a control frame of the server.
func (s *stream) takeServerControl(op opcode, payload []byte) {
	switch op {
	case opPing:
		// A server that does not read what it has been sent hears no answer either.
		if s.ending == nil && !s.input.deaf && !s.server.Pending() {
			s.input.deaf = s.server.Write(maskedFrame(opPong, payload)) != nil
		}
	case opClose:
		code, text, err := parseClose(payload)
		if err != nil {
			s.end(s.serverBreaks(err))
			return
		}
		s.framed.ended = code
		why := s.serverGone(io.EOF)
		why.Cause = errors.Join(why.Cause, fmt.Errorf("its close frame says %d %q", code, text))
		s.end(why)
	}
}

func (s *stream) serverBreaks(err error) *Refusal {
	return &Refusal{Reason: NotVNC, Cause: fmt.Errorf("the WebSocket of the VNC server: %w", err)}
}

// closeCode is what the viewer's close frame says. A server's own code is passed
// on, unless it is one that would be taken for a reason of ours.
func (s *stream) closeCode() uint16 {
	switch {
	case s.input.left != 0:
		return s.input.left // the answer to a close frame has its code (RFC 6455 section 5.5.1)
	case s.framed == nil || s.framed.ended == 0 || s.framed.ended == statusMissing || isReasonsCode(s.framed.ended):
		return s.ending.Reason.Info().Close
	default:
		return s.framed.ended
	}
}

// leaveServer says that nothing more comes.
func (s *stream) leaveServer() {
	if s.framed != nil && !s.input.deaf && !s.output.ended {
		const goingAway = 1001
		code := uint16(goingAway)
		switch {
		case s.input.left != 0:
			code = s.input.left
		case s.framed.ended != 0 && s.framed.ended != statusMissing:
			code = s.framed.ended
		}
		_ = s.server.Write(maskedFrame(opClose, binary.BigEndian.AppendUint16(nil, code))) // a failure is found by reading
	}
	s.server.CloseWrite()
	if !s.output.ended {
		s.server.Resume()
	}
}

// write sends b to the server as RFB, or as messages of maxClientFrame bytes at
// most.
func (s *stream) write(b []byte) error {
	if s.framed == nil {
		return s.server.Write(b)
	}
	for len(b) > 0 {
		n := min(len(b), maxClientFrame)
		if err := s.server.Write(maskedFrame(opBinary, b[:n])); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// maxClientFrame is far more than keys and pointers need, in bytes.
const maxClientFrame = 16 << 10

// maskedFrame is a whole frame from a client. The mask can't be foreseen (RFC
// 6455 section 5.3): ChaCha8, seeded by the system.
func maskedFrame(op opcode, payload []byte) []byte {
	b := make([]byte, headerRoom, headerRoom+4+len(payload))
	start := putHeader(b, op, len(payload))
	b[start+1] |= maskBit
	var mask [4]byte
	binary.BigEndian.PutUint32(mask[:], rand.Uint32())
	b = append(append(b, mask[:]...), payload...)
	unmask(b[headerRoom+4:], mask, 0)
	return b[start:]
}
