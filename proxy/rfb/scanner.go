package rfb

import (
	"encoding/binary"
	"fmt"
)

// Kind is the type byte of a client's message.
type Kind uint8

// Client messages: RFC 6143 section 7.5, and the extensions that TigerVNC and
// noVNC send once a server has announced them.
const (
	KindSetPixelFormat    Kind = 0
	KindSetEncodings      Kind = 2
	KindUpdateRequest     Kind = 3
	KindKeyEvent          Kind = 4
	KindPointerEvent      Kind = 5
	KindCutText           Kind = 6 // also the extended clipboard, see Part.Extended
	KindContinuousUpdates Kind = 150
	KindFence             Kind = 248
	KindXVP               Kind = 250
	KindSetDesktopSize    Kind = 251
	KindGII               Kind = 253 // General Input Interface: tablets and the like
	KindQEMU              Kind = 255 // its second byte tells: 0 extended key event, 1 audio
)

func (k Kind) String() string {
	switch k {
	case KindSetPixelFormat:
		return "SetPixelFormat"
	case KindSetEncodings:
		return "SetEncodings"
	case KindUpdateRequest:
		return "FramebufferUpdateRequest"
	case KindKeyEvent:
		return "KeyEvent"
	case KindPointerEvent:
		return "PointerEvent"
	case KindCutText:
		return "ClientCutText"
	case KindContinuousUpdates:
		return "EnableContinuousUpdates"
	case KindFence:
		return "ClientFence"
	case KindXVP:
		return "xvp"
	case KindSetDesktopSize:
		return "SetDesktopSize"
	case KindGII:
		return "gii"
	case KindQEMU:
		return "QEMU message"
	default:
		return fmt.Sprintf("message type %d", uint8(k))
	}
}

// LengthUnknown is Part.Length while the message's head has not all arrived.
const LengthUnknown = -1

// Part is a run of bytes that all belong to one message.
type Part struct {
	Kind     Kind
	Data     []byte // a prefix of the slice given to Next, never empty
	Offset   int64  // where in the message Data begins; 0 begins with the type byte
	Length   int64  // of the whole message in bytes, or LengthUnknown
	Extended bool   // KindCutText with a known Length: the extended clipboard's form; KindPointerEvent: with buttons 8 and 9
}

// Last tells whether the message ends with this part.
func (p Part) Last() bool { return p.Offset+int64(len(p.Data)) == p.Length }

// Input tells whether a key or the pointer was used. Of a QEMU message that is
// known once its Length is.
func (p Part) Input() bool {
	return p.Kind == KindKeyEvent || p.Kind == KindPointerEvent || p.Kind == KindQEMU && p.Length == qemuKeyLen
}

// UnknownMessageError is a byte that begins no client message known here.
// Nothing after it can be told apart.
type UnknownMessageError struct {
	Type     uint8
	SubType  int   // of a QEMU message, else -1
	Position int64 // of the message in the stream
}

func (e *UnknownMessageError) Error() string {
	if e.SubType >= 0 {
		return fmt.Sprintf("unknown QEMU client message 255/%d at byte %d of the stream", e.SubType, e.Position)
	}
	return fmt.Sprintf("unknown client message type %d at byte %d of the stream", e.Type, e.Position)
}

// Scanner finds the messages in what a client sends after its ClientInit. Give
// it the stream in slices cut anywhere, and take each slice apart with Next:
//
//	for len(p) > 0 {
//		part, err := scanner.Next(p)
//		if err != nil { … }
//		p = p[len(part.Data):]
//	}
//
// The kind of a message is known with its first byte, so parts can be passed
// on or left out at once. Nothing is copied but the few bytes that tell a
// length, and nothing is allocated. The zero value is ready to use.
type Scanner struct {
	position int64 // in the stream, of the current message
	seen     int64 // bytes of it; 0 between messages
	length   int64 // LengthUnknown until head suffices
	kind     Kind
	head     [maxHead]byte
	extended bool

	// A client may send PointerEvents with the marker bit only after it has
	// asked for them; before, the same bit is button 8 of an old client.
	askedExtendedButtons bool
	strikeExtended       bool   // the Filter's: nobody is to ask, see watchEncodings
	encoding             uint32 // the last four bytes of a SetEncodings list

	err error
}

// maxHead is the longest head that tells a length, ClientFence's.
const maxHead = 9

// Next returns the part of a message with which p begins; an empty p yields an
// empty part. The error is an *UnknownMessageError, and the same ever after.
func (s *Scanner) Next(p []byte) (Part, error) {
	if s.err != nil || len(p) == 0 {
		return Part{}, s.err
	}
	if s.seen == 0 {
		s.kind, s.length, s.extended = Kind(p[0]), LengthUnknown, false
	}
	offset, n := s.seen, 0
	for s.length == LengthUnknown && n < len(p) {
		s.head[s.seen] = p[n]
		n++
		s.seen++
		if err := s.measure(s.head[:s.seen]); err != nil {
			s.err = err
			return Part{}, err
		}
	}
	if s.length != LengthUnknown {
		body := int(min(int64(len(p)-n), s.length-s.seen))
		if s.kind == KindSetEncodings {
			s.watchEncodings(p[n : n+body])
		}
		n += body
		s.seen += int64(body)
	}
	part := Part{Kind: s.kind, Data: p[:n:n], Offset: offset, Length: s.length, Extended: s.extended}
	if part.Last() {
		s.position += s.length
		s.seen = 0
	}
	return part, nil
}

// Between tells whether the stream may end here: no message is incomplete.
func (s *Scanner) Between() bool { return s.seen == 0 && s.err == nil }

// measure sets the message's length as soon as head tells it.
func (s *Scanner) measure(head []byte) error {
	have := len(head)
	switch s.kind {
	case KindSetPixelFormat:
		s.length = setPixelFormatLen
	case KindUpdateRequest:
		s.length = updateRequestLen
	case KindKeyEvent:
		s.length = keyEventLen
	case KindContinuousUpdates:
		s.length = continuousUpdatesLen
	case KindXVP:
		s.length = xvpLen
	case KindSetEncodings:
		if have >= setEncodingsHead {
			s.length = setEncodingsHead + 4*int64(binary.BigEndian.Uint16(head[2:]))
		}
	case KindPointerEvent:
		if have >= 2 {
			s.length = pointerEventLen
			if s.askedExtendedButtons && head[1]&pointerMarker != 0 {
				s.length, s.extended = pointerEventLen+1, true
			}
		}
	case KindCutText:
		if have >= cutTextHead {
			var length int64
			length, s.extended = cutTextLength(head)
			s.length = cutTextHead + length
		}
	case KindFence:
		if have >= fenceHead {
			s.length = fenceHead + int64(head[8])
		}
	case KindSetDesktopSize:
		if have >= setDesktopSizeHead-1 {
			s.length = setDesktopSizeHead + screenLen*int64(head[6])
		}
	case KindGII:
		if have >= giiHead {
			s.length = giiHead + giiLength(head)
		}
	case KindQEMU:
		return s.measureQEMU(head)
	default:
		return &UnknownMessageError{Type: uint8(s.kind), SubType: -1, Position: s.position}
	}
	return nil
}

func (s *Scanner) measureQEMU(head []byte) error {
	const (
		key, audio  = 0, 1 // sub-messages
		setFormat   = 2    // the one audio operation that has a body
		audioLen    = 4
		audioFormat = 6
	)
	switch have := len(head); {
	case have < 2:
	case head[1] == key:
		s.length = qemuKeyLen
	case head[1] != audio:
		return &UnknownMessageError{Type: uint8(KindQEMU), SubType: int(head[1]), Position: s.position}
	case have < audioLen:
	case binary.BigEndian.Uint16(head[2:]) == setFormat:
		s.length = audioLen + audioFormat
	default:
		s.length = audioLen
	}
	return nil
}

// watchEncodings looks for ExtendedMouseButtons in a list that may be cut
// anywhere; p begins at s.seen. With strikeExtended it makes it encodingNone.
func (s *Scanner) watchEncodings(p []byte) {
	for i, c := range p {
		s.encoding = s.encoding<<8 | uint32(c)
		if (s.seen+int64(i))%4 != 3 || Encoding(s.encoding) != EncodingExtendedMouseButtons {
			continue
		}
		if s.strikeExtended {
			p[i] = byte(encodingNone & 0xff)
		} else {
			s.askedExtendedButtons = true
		}
	}
}
