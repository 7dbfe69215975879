package proxy

// decoder takes a viewer's frames apart while they arrive: the bytes of a long
// frame leave it piece by piece, so it holds a header or a control frame at
// most. The zero value is ready for the first byte after the handshake.
type decoder struct {
	header   [maxHeader]byte
	have     int // bytes of header so far
	frame    frameHeader
	inFrame  bool
	taken    int64 // bytes of frame's payload so far
	inBinary bool  // between the first fragment of a message and its last
	message  int64 // bytes of the message in the frames so far
	control  [maxControl]byte
}

// controlTaker is told of each control frame. The payload is valid during the
// call only.
type controlTaker interface {
	takeControl(op opcode, payload []byte) error
}

// decode moves the payload of the binary messages in b to its front, unmasked,
// and returns how many bytes that is. An error of the taker ends the decoding.
// The n bytes came before whatever the error tells about.
func (d *decoder) decode(b []byte, taker controlTaker) (n int, err error) {
	for at := 0; at < len(b) || d.inFrame && d.frame.length == 0; {
		if !d.inFrame {
			used, err := d.begin(b[at:])
			at += used
			if err != nil {
				return n, err
			}
			continue
		}
		piece := b[at:min(int64(len(b)), int64(at)+d.frame.length-d.taken)]
		at += len(piece)
		if d.frame.op.control() {
			copy(d.control[d.taken:], piece)
		} else {
			moved := b[n : n+len(piece)]
			copy(moved, piece)
			unmask(moved, d.frame.mask, d.taken)
			n += len(piece)
		}
		d.taken += int64(len(piece))
		if d.taken < d.frame.length {
			continue
		}
		d.inFrame = false
		if d.frame.op.control() {
			payload := d.control[:d.taken]
			unmask(payload, d.frame.mask, 0)
			if err := taker.takeControl(d.frame.op, payload); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// begin adds b's first bytes to the header. When that completes it, the frame
// has begun and its place in the message is checked.
func (d *decoder) begin(b []byte) (used int, err error) {
	before := d.have
	d.have += copy(d.header[before:], b)
	h, size, err := parseHeader(d.header[:d.have])
	if err == errShortHeader {
		return d.have - before, nil
	}
	if err != nil {
		return 0, err
	}
	if !h.op.control() {
		switch {
		case h.op == opText:
			return 0, &frameError{TextFrame, "the viewer sent a text message"}
		case h.op == opBinary && d.inBinary:
			return 0, breach("a message begins inside another")
		case h.op == opContinuation && !d.inBinary:
			return 0, breach("a continuation without a message")
		case h.op == opBinary:
			d.message = 0
		}
		if h.length > maxMessage-d.message {
			return 0, &frameError{MessageTooBig, "the message is longer than 16 MiB"}
		}
		d.message += h.length
		d.inBinary = !h.fin
	}
	d.frame, d.inFrame, d.taken, d.have = h, true, 0, 0
	return size - before, nil
}
