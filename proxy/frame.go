package proxy

import (
	"encoding/binary"
	"errors"
	"unicode/utf8"
)

// The frames of RFC 6455 section 5, as far as a relay of binary messages needs
// them: we send frames of whole messages, unmasked to viewers and masked to VNC
// servers that speak WebSocket, and take frames that may be fragments.

type opcode byte

const (
	opContinuation opcode = 0x0
	opText         opcode = 0x1
	opBinary       opcode = 0x2
	opClose        opcode = 0x8
	opPing         opcode = 0x9
	opPong         opcode = 0xA
)

func (op opcode) control() bool { return op&0x8 != 0 }

const (
	maxControl    = 125      // bytes of a control frame's payload (section 5.5)
	maxHeader     = 14       // bytes of the longest header: two, eight of length, four of mask
	headerRoom    = 10       // bytes of the longest header without a mask
	maxMessage    = 16 << 20 // bytes of one message that a viewer may send
	finBit        = 0x80
	maskBit       = 0x80
	reservedBits  = 0x70
	opcodeBits    = 0x0F
	lengthBits    = 0x7F
	length16      = 126
	length64      = 127
	statusMissing = 1005 // what a close frame without a code means (section 7.1.5)
)

// frameError is a breach of the framing rules, with the reason to close for.
type frameError struct {
	reason Reason
	text   string
}

func (e *frameError) Error() string { return e.text }

func breach(text string) error { return &frameError{ProtocolError, text} }

// frameHeader is the header of one frame that came.
type frameHeader struct {
	fin    bool
	op     opcode
	length int64
	mask   [4]byte
}

// errShortHeader says that more bytes are needed.
var errShortHeader = errors.New("incomplete frame header")

// parseHeader reads the header of a viewer's frame that b begins with and tells
// how long it is.
func parseHeader(b []byte) (h frameHeader, size int, err error) { return parseFrameHeader(b, maskBit) }

// parseServerHeader reads the header of a frame from a server.
func parseServerHeader(b []byte) (h frameHeader, size int, err error) { return parseFrameHeader(b, 0) }

// parseFrameHeader wants masked to be maskBit or 0, as the sender's frames are.
func parseFrameHeader(b []byte, masked byte) (h frameHeader, size int, err error) {
	if len(b) < 2 {
		return h, 0, errShortHeader
	}
	h.fin, h.op = b[0]&finBit != 0, opcode(b[0]&opcodeBits)
	length := uint64(b[1] & lengthBits)
	switch {
	case b[0]&reservedBits != 0:
		return h, 0, breach("a reserved bit is set, but no extension was agreed on")
	case b[1]&maskBit < masked:
		return h, 0, breach("the frame is not masked")
	case b[1]&maskBit > masked:
		return h, 0, breach("the frame is masked")
	case h.op > opBinary && h.op < opClose || h.op > opPong:
		return h, 0, breach("the frame's opcode is reserved")
	case h.op.control() && !h.fin:
		return h, 0, breach("a control frame is fragmented")
	case h.op.control() && length > maxControl:
		return h, 0, breach("a control frame is longer than 125 bytes")
	}
	size = 2
	switch length {
	case length16:
		if len(b) < size+2 {
			return h, 0, errShortHeader
		}
		length = uint64(binary.BigEndian.Uint16(b[size:]))
		if length < length16 {
			return h, 0, breach("the frame's length is not written in the shortest way")
		}
		size += 2
	case length64:
		if len(b) < size+8 {
			return h, 0, errShortHeader
		}
		length = binary.BigEndian.Uint64(b[size:])
		switch {
		case length>>63 != 0:
			return h, 0, breach("the top bit of the frame's length is set")
		case length <= 0xFFFF:
			return h, 0, breach("the frame's length is not written in the shortest way")
		}
		size += 8
	}
	h.length = int64(length)
	if masked == 0 {
		return h, size, nil
	}
	if len(b) < size+4 {
		return h, 0, errShortHeader
	}
	copy(h.mask[:], b[size:])
	return h, size + 4, nil
}

// putHeader writes the header of a final, unmasked frame so that it ends where
// the payload begins, at b[headerRoom]. It returns where the frame starts.
func putHeader(b []byte, op opcode, payload int) (start int) {
	switch {
	case payload < length16:
		start = headerRoom - 2
		b[start+1] = byte(payload)
	case payload <= 0xFFFF:
		start = headerRoom - 4
		b[start+1] = length16
		binary.BigEndian.PutUint16(b[start+2:], uint16(payload))
	default:
		start = headerRoom - 10
		b[start+1] = length64
		binary.BigEndian.PutUint64(b[start+2:], uint64(payload))
	}
	b[start] = finBit | byte(op)
	return start
}

// controlFrame is a whole unmasked control frame. payload is at most maxControl
// bytes.
func controlFrame(op opcode, payload []byte) []byte {
	b := make([]byte, headerRoom+len(payload))
	copy(b[headerRoom:], payload)
	return b[putHeader(b, op, len(payload)):]
}

// closeFrame is a whole unmasked close frame.
func closeFrame(code uint16, text string) []byte {
	return controlFrame(opClose, append(binary.BigEndian.AppendUint16(nil, code), text...))
}

// parseClose reads the payload of a close frame. The code is statusMissing when
// there is none.
func parseClose(payload []byte) (code uint16, text string, err error) {
	switch len(payload) {
	case 0:
		return statusMissing, "", nil
	case 1:
		return 0, "", breach("a close frame has half a code")
	}
	code, text = binary.BigEndian.Uint16(payload), string(payload[2:])
	switch {
	case !validCloseCode(code):
		return 0, "", breach("a close frame has a code that may not be sent")
	case !utf8.ValidString(text):
		return 0, "", breach("the text of a close frame is not UTF-8")
	}
	return code, text, nil
}

// validCloseCode tells whether an endpoint may send code (section 7.4 and the
// registry that it opens).
func validCloseCode(code uint16) bool {
	switch {
	case code >= 1000 && code <= 1003, code >= 1007 && code <= 1014:
		return true
	default:
		return code >= 3000 && code <= 4999
	}
}

// unmask applies mask to b, whose first byte is at offset in the payload.
// Masking is its own inverse.
func unmask(b []byte, mask [4]byte, offset int64) {
	var turned [8]byte
	for i := range turned {
		turned[i] = mask[(offset+int64(i))&3]
	}
	word := binary.LittleEndian.Uint64(turned[:])
	for len(b) >= 32 {
		chunk := b[:32:32]
		binary.LittleEndian.PutUint64(chunk[0:], binary.LittleEndian.Uint64(chunk[0:])^word)
		binary.LittleEndian.PutUint64(chunk[8:], binary.LittleEndian.Uint64(chunk[8:])^word)
		binary.LittleEndian.PutUint64(chunk[16:], binary.LittleEndian.Uint64(chunk[16:])^word)
		binary.LittleEndian.PutUint64(chunk[24:], binary.LittleEndian.Uint64(chunk[24:])^word)
		b = b[32:]
	}
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^word)
		b = b[8:]
	}
	for i := range b {
		b[i] ^= turned[i&7]
	}
}
