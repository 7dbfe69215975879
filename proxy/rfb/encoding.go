package rfb

import "fmt"

// Encoding is how the pixels of a rectangle are sent, or, when negative, an
// extension that a client says it understands.
type Encoding int32

// Encodings: RFC 6143 section 7.7, and the community's registry.
const (
	EncodingRaw      Encoding = 0
	EncodingCopyRect Encoding = 1
	EncodingRRE      Encoding = 2
	EncodingHextile  Encoding = 5
	EncodingZlib     Encoding = 6
	EncodingTight    Encoding = 7
	EncodingZRLE     Encoding = 16

	EncodingDesktopSize          Encoding = -223
	EncodingLastRect             Encoding = -224
	EncodingCursor               Encoding = -239
	EncodingQEMUKeyEvent         Encoding = -258
	EncodingQEMUAudio            Encoding = -259
	EncodingDesktopName          Encoding = -307
	EncodingExtendedDesktopSize  Encoding = -308
	EncodingXVP                  Encoding = -309
	EncodingFence                Encoding = -312
	EncodingContinuousUpdates    Encoding = -313
	EncodingExtendedMouseButtons Encoding = -316
	EncodingExtendedClipboard    Encoding = -0x3f5e1a32 // 0xc0a1e5ce
)

// encodingNone is nobody's, so every server passes it over (RFC 6143 section
// 7.5.2). It differs from ExtendedMouseButtons in its last byte alone: the bytes
// before that one may have been passed on already when it is recognised.
const encodingNone Encoding = -384 // 0xfffffe80

func (e Encoding) String() string {
	switch e {
	case EncodingRaw:
		return "Raw"
	case EncodingCopyRect:
		return "CopyRect"
	case EncodingRRE:
		return "RRE"
	case EncodingHextile:
		return "Hextile"
	case EncodingZlib:
		return "Zlib"
	case EncodingTight:
		return "Tight"
	case EncodingZRLE:
		return "ZRLE"
	default:
		return fmt.Sprintf("encoding %d", int32(e))
	}
}
