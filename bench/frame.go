package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The frames of RFC 6455 section 5, as far as both ends of a load generator
// need them. A viewer masks with a key of zeros: the relay under test can't
// know and unmasks all the same, and the generator saves the work.

const (
	opContinuation = 0x0
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xA

	finBit      = 0x80
	maskBit     = 0x80
	maxControl  = 125 // bytes of a control frame's payload
	longestHead = 14  // bytes of a frame's header: two, eight of length, four of mask
)

var errClosed = errors.New("the other side closed the WebSocket")

// closedWith is errClosed with what the close frame said.
type closedWith struct {
	code   uint16
	reason string
}

func (c *closedWith) Error() string {
	return fmt.Sprintf("%s with code %d %q", errClosed, c.code, c.reason)
}

func (c *closedWith) Unwrap() error { return errClosed }

// appendFrameHead appends the header of a final frame of length bytes.
func appendFrameHead(b []byte, op byte, length int, masked bool) []byte {
	var mask byte
	if masked {
		mask = maskBit
	}
	switch {
	case length <= maxControl:
		b = append(b, finBit|op, mask|byte(length))
	case length <= 0xFFFF:
		b = binary.BigEndian.AppendUint16(append(b, finBit|op, mask|126), uint16(length))
	default:
		b = binary.BigEndian.AppendUint64(append(b, finBit|op, mask|127), uint64(length))
	}
	if masked {
		b = append(b, 0, 0, 0, 0)
	}
	return b
}

// frameSink takes what frames carry, in runs cut anywhere.
type frameSink interface {
	data(p []byte) error             // of binary messages
	control(op byte, p []byte) error // a whole ping or pong; p is valid during the call
}

// frameReader takes a stream of frames apart that is cut anywhere. The zero
// value is ready to use.
type frameReader struct {
	masked bool // frames must be; else they must not be

	head    [longestHead]byte
	have    int // bytes of head
	left    int64
	op      byte
	mask    [4]byte
	turn    int // position in mask
	inFrame bool
	inBody  bool // of a message: a continuation may come
	small   [maxControl]byte
	smallN  int
}

// feed hands all that p carries to sink. The error is errClosed after a close
// frame, a breach of the framing rules, or sink's own.
func (r *frameReader) feed(p []byte, sink frameSink) error {
	for len(p) > 0 || (r.inFrame && r.left == 0) {
		if !r.inFrame {
			n, err := r.readHead(p)
			if err != nil {
				return err
			}
			p = p[n:]
			continue
		}
		run := p[:min(int64(len(p)), r.left)]
		p = p[len(run):]
		r.left -= int64(len(run))
		r.unmask(run)
		if r.op&0x8 == 0 {
			if len(run) > 0 {
				if err := sink.data(run); err != nil {
					return err
				}
			}
		} else {
			r.smallN += copy(r.small[r.smallN:], run)
		}
		if r.left > 0 {
			continue
		}
		r.inFrame = false
		if r.op&0x8 != 0 {
			if err := r.endControl(sink); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *frameReader) endControl(sink frameSink) error {
	payload := r.small[:r.smallN]
	if r.op != opClose {
		return sink.control(r.op, payload)
	}
	if len(payload) < 2 {
		return errClosed
	}
	return &closedWith{binary.BigEndian.Uint16(payload), string(payload[2:])}
}

// readHead takes header bytes from p and tells how many.
func (r *frameReader) readHead(p []byte) (n int, err error) {
	need := r.headLength()
	n = copy(r.head[r.have:need], p)
	r.have += n
	if r.have < r.headLength() { // it is longer than was known, or incomplete
		return n, nil
	}
	return n, r.beginFrame()
}

// headLength is how long the header is, as far as its first bytes tell.
func (r *frameReader) headLength() int {
	if r.have < 2 {
		return 2
	}
	n := 2
	switch r.head[1] & 0x7F {
	case 126:
		n += 2
	case 127:
		n += 8
	}
	if r.head[1]&maskBit != 0 {
		n += 4
	}
	return n
}

func (r *frameReader) beginFrame() error {
	first, second := r.head[0], r.head[1]
	op, final := first&0x0F, first&finBit != 0
	at := 2
	length := uint64(second & 0x7F)
	switch length {
	case 126:
		length = uint64(binary.BigEndian.Uint16(r.head[2:]))
		at += 2
	case 127:
		length = binary.BigEndian.Uint64(r.head[2:])
		at += 8
	}
	r.mask = [4]byte{}
	if second&maskBit != 0 {
		copy(r.mask[:], r.head[at:])
	}
	switch {
	case first&0x70 != 0:
		return errors.New("a frame has a reserved bit set")
	case (second&maskBit != 0) != r.masked:
		return fmt.Errorf("a frame is masked: %t; must be: %t", !r.masked, r.masked)
	case length>>63 != 0:
		return errors.New("a frame's length has its top bit set")
	case op&0x8 != 0 && (length > maxControl || !final):
		return errors.New("a control frame is too long or fragmented")
	case op != opContinuation && op != opBinary && op != opClose && op != opPing && op != opPong:
		return fmt.Errorf("a frame has the opcode %#x; binary was expected", op)
	case op == opContinuation && !r.inBody, op == opBinary && r.inBody:
		return errors.New("a fragmented message is out of order")
	}
	if op&0x8 == 0 {
		r.inBody = !final
	}
	r.op, r.left, r.have, r.smallN, r.turn, r.inFrame = op, int64(length), 0, 0, 0, true
	return nil
}

func (r *frameReader) unmask(p []byte) {
	if r.mask == [4]byte{} {
		return
	}
	for i := range p {
		p[i] ^= r.mask[(r.turn+i)&3]
	}
	r.turn = (r.turn + len(p)) & 3
}
