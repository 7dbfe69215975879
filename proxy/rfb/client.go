package rfb

import (
	"encoding/binary"
	"fmt"
	"image"
)

// Sizes in bytes of messages, or of what comes before their variable part.
const (
	setPixelFormatLen    = 4 + PixelFormatLen
	setEncodingsHead     = 4
	updateRequestLen     = 10
	keyEventLen          = 8
	pointerEventLen      = 6
	cutTextHead          = 8
	continuousUpdatesLen = 10
	fenceHead            = 9
	xvpLen               = 4
	setDesktopSizeHead   = 8
	screenLen            = 16
	giiHead              = 4
	qemuKeyLen           = 12
)

// pointerMarker marks a PointerEvent of the ExtendedMouseButtons extension.
const pointerMarker = 1 << 7

// needs fails when a message is shorter than its fixed part.
func needs(m []byte, kind Kind, size int) error {
	if len(m) < size {
		return fmt.Errorf("%v has %d bytes, want %d", kind, len(m), size)
	}
	return nil
}

// AppendSetPixelFormat adds the message (RFC 6143 section 7.5.1).
func AppendSetPixelFormat(b []byte, f PixelFormat) []byte {
	return f.Append(append(b, byte(KindSetPixelFormat), 0, 0, 0))
}

// ParseSetPixelFormat reads the message and validates the format.
func ParseSetPixelFormat(m []byte) (PixelFormat, error) {
	if err := needs(m, KindSetPixelFormat, setPixelFormatLen); err != nil {
		return PixelFormat{}, err
	}
	f := ParsePixelFormat([PixelFormatLen]byte(m[4:]))
	return f, f.Validate()
}

// AppendSetEncodings adds the message (RFC 6143 section 7.5.2), the best
// encoding first. At most 65535.
func AppendSetEncodings(b []byte, encodings ...Encoding) []byte {
	b = binary.BigEndian.AppendUint16(append(b, byte(KindSetEncodings), 0), uint16(len(encodings)))
	for _, e := range encodings {
		b = binary.BigEndian.AppendUint32(b, uint32(e))
	}
	return b
}

// ParseSetEncodings adds the encodings of the message to list. It takes those
// that m holds, which may be fewer than the message announces.
func ParseSetEncodings(list []Encoding, m []byte) ([]Encoding, error) {
	if err := needs(m, KindSetEncodings, setEncodingsHead); err != nil {
		return list, err
	}
	count := int(binary.BigEndian.Uint16(m[2:]))
	for m = m[setEncodingsHead:]; len(m) >= 4 && count > 0; m, count = m[4:], count-1 {
		list = append(list, Encoding(binary.BigEndian.Uint32(m)))
	}
	return list, nil
}

// UpdateRequest asks for what changed within Area since the last update, or
// for all of it when not Incremental (RFC 6143 section 7.5.3).
type UpdateRequest struct {
	Incremental bool
	Area        image.Rectangle
}

// Append adds the wire form.
func (r UpdateRequest) Append(b []byte) []byte {
	return appendArea(append(b, byte(KindUpdateRequest), flag(r.Incremental)), r.Area)
}

// ParseUpdateRequest reads the wire form. The area may lie outside of any
// framebuffer.
func ParseUpdateRequest(m []byte) (UpdateRequest, error) {
	if err := needs(m, KindUpdateRequest, updateRequestLen); err != nil {
		return UpdateRequest{}, err
	}
	return UpdateRequest{Incremental: m[1] != 0, Area: parseArea(m[2:])}, nil
}

// KeyEvent is a key pressed or released (RFC 6143 section 7.5.4).
type KeyEvent struct {
	Down bool
	Key  uint32 // an X11 keysym
}

// Append adds the wire form.
func (k KeyEvent) Append(b []byte) []byte {
	return binary.BigEndian.AppendUint32(append(b, byte(KindKeyEvent), flag(k.Down), 0, 0), k.Key)
}

// ParseKeyEvent reads the wire form.
func ParseKeyEvent(m []byte) (KeyEvent, error) {
	if err := needs(m, KindKeyEvent, keyEventLen); err != nil {
		return KeyEvent{}, err
	}
	return KeyEvent{Down: m[1] != 0, Key: binary.BigEndian.Uint32(m[4:])}, nil
}

// PointerEvent is where the pointer is and which buttons are down (RFC 6143
// section 7.5.5, and ExtendedMouseButtons).
type PointerEvent struct {
	Buttons uint16 // bit 0 is the left button, 1 the middle, 2 the right, 3 to 6 the wheel
	At      image.Point
}

// Append adds the wire form of RFC 6143, which holds buttons 0 to 7.
func (p PointerEvent) Append(b []byte) []byte {
	return appendPoint(append(b, byte(KindPointerEvent), byte(p.Buttons)), p.At)
}

// AppendExtended adds the wire form with up to nine buttons, for a server that
// announced ExtendedMouseButtons.
func (p PointerEvent) AppendExtended(b []byte) []byte {
	b = appendPoint(append(b, byte(KindPointerEvent), byte(p.Buttons)|pointerMarker), p.At)
	return append(b, byte(p.Buttons>>7))
}

// ParsePointerEvent reads either wire form; the extended one is one byte longer.
func ParsePointerEvent(m []byte) (PointerEvent, error) {
	if err := needs(m, KindPointerEvent, pointerEventLen); err != nil {
		return PointerEvent{}, err
	}
	p := PointerEvent{Buttons: uint16(m[1]), At: parsePoint(m[2:])}
	if len(m) > pointerEventLen {
		p.Buttons = uint16(m[1]&^pointerMarker) | uint16(m[pointerEventLen])<<7
	}
	return p, nil
}

// AppendCutText adds a ClientCutText message; text is Latin-1 with \n between
// lines (RFC 6143 section 7.5.6).
func AppendCutText(b []byte, text []byte) []byte {
	b = binary.BigEndian.AppendUint32(append(b, byte(KindCutText), 0, 0, 0), uint32(len(text)))
	return append(b, text...)
}

// CutText is the clipboard of a client.
type CutText struct {
	Text     []byte // Latin-1, or the extended clipboard's flags and data; as much as the message held
	Length   int64  // that the message announced
	Extended bool
}

// ParseCutText reads as much as m holds. Text is a part of m.
func ParseCutText(m []byte) (CutText, error) {
	if err := needs(m, KindCutText, cutTextHead); err != nil {
		return CutText{}, err
	}
	length, extended := cutTextLength(m)
	text := m[cutTextHead:]
	return CutText{Text: text[:min(int64(len(text)), length)], Length: length, Extended: extended}, nil
}

// cutTextLength reads the length; a negative one marks the extended clipboard.
func cutTextLength(head []byte) (length int64, extended bool) {
	length = int64(int32(binary.BigEndian.Uint32(head[4:])))
	if length < 0 {
		return -length, true
	}
	return length, false
}

// giiLength reads the length of what follows the head; the top bit of the
// second byte tells its byte order.
func giiLength(head []byte) int64 {
	if head[1]&0x80 != 0 {
		return int64(binary.BigEndian.Uint16(head[2:]))
	}
	return int64(binary.LittleEndian.Uint16(head[2:]))
}

// SetDesktopSize asks the server for another size (ExtendedDesktopSize).
type SetDesktopSize struct {
	Width, Height uint16
	Screens       []Screen
}

// Screen is one of the screens that make up a desktop.
type Screen struct {
	ID    uint32
	Area  image.Rectangle
	Flags uint32
}

// Append adds the wire form. At most 255 screens.
func (s SetDesktopSize) Append(b []byte) []byte {
	b = append(b, byte(KindSetDesktopSize), 0)
	b = binary.BigEndian.AppendUint16(b, s.Width)
	b = binary.BigEndian.AppendUint16(b, s.Height)
	return appendScreens(append(b, byte(len(s.Screens)), 0), s.Screens)
}

// ParseSetDesktopSize reads the wire form.
func ParseSetDesktopSize(m []byte) (SetDesktopSize, error) {
	if err := needs(m, KindSetDesktopSize, setDesktopSizeHead); err != nil {
		return SetDesktopSize{}, err
	}
	count := int(m[6])
	if err := needs(m, KindSetDesktopSize, setDesktopSizeHead+count*screenLen); err != nil {
		return SetDesktopSize{}, err
	}
	s := SetDesktopSize{Width: binary.BigEndian.Uint16(m[2:]), Height: binary.BigEndian.Uint16(m[4:])}
	for m = m[setDesktopSizeHead:]; count > 0; m, count = m[screenLen:], count-1 {
		s.Screens = append(s.Screens, Screen{
			ID:    binary.BigEndian.Uint32(m),
			Area:  parseArea(m[4:]),
			Flags: binary.BigEndian.Uint32(m[12:]),
		})
	}
	return s, nil
}

func appendScreens(b []byte, screens []Screen) []byte {
	for _, s := range screens {
		b = appendArea(binary.BigEndian.AppendUint32(b, s.ID), s.Area)
		b = binary.BigEndian.AppendUint32(b, s.Flags)
	}
	return b
}

func appendPoint(b []byte, p image.Point) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(p.X))
	return binary.BigEndian.AppendUint16(b, uint16(p.Y))
}

func parsePoint(b []byte) image.Point {
	return image.Pt(int(binary.BigEndian.Uint16(b)), int(binary.BigEndian.Uint16(b[2:])))
}

func appendArea(b []byte, r image.Rectangle) []byte {
	return appendPoint(appendPoint(b, r.Min), r.Size())
}

func parseArea(b []byte) image.Rectangle {
	at := parsePoint(b)
	return image.Rectangle{Min: at, Max: at.Add(parsePoint(b[4:]))}
}
