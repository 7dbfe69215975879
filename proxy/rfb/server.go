package rfb

import (
	"encoding/binary"
	"image"
)

// Server messages (RFC 6143 section 7.6).
const (
	ServerFramebufferUpdate   = 0
	ServerSetColourMapEntries = 1
	ServerBell                = 2
	ServerCutText             = 3
)

// AppendFramebufferUpdate begins an update of that many rectangles.
func AppendFramebufferUpdate(b []byte, rectangles int) []byte {
	return binary.BigEndian.AppendUint16(append(b, ServerFramebufferUpdate, 0), uint16(rectangles))
}

// AppendRectangle begins a rectangle; its pixels follow in that encoding. For
// EncodingDesktopSize it is all, with the new size at the origin.
func AppendRectangle(b []byte, r image.Rectangle, e Encoding) []byte {
	return binary.BigEndian.AppendUint32(appendArea(b, r), uint32(e))
}

// ResizeReason is why an ExtendedDesktopSize rectangle is sent.
type ResizeReason uint16

const (
	ResizedByServer ResizeReason = 0 // also: the size is told unasked
	ResizedByClient ResizeReason = 1 // the answer to this client's SetDesktopSize
	ResizedByOther  ResizeReason = 2
)

// ResizeStatus is the answer to SetDesktopSize.
type ResizeStatus uint16

const (
	ResizeOK             ResizeStatus = 0
	ResizeProhibited     ResizeStatus = 1
	ResizeOutOfResources ResizeStatus = 2
	ResizeInvalidLayout  ResizeStatus = 3
)

// AppendExtendedDesktopSize adds a whole rectangle that tells the desktop's
// size and its screens, at most 255.
func AppendExtendedDesktopSize(b []byte, why ResizeReason, status ResizeStatus, size image.Point, screens ...Screen) []byte {
	at := image.Pt(int(why), int(status))
	b = AppendRectangle(b, image.Rectangle{Min: at, Max: at.Add(size)}, EncodingExtendedDesktopSize)
	return appendScreens(append(b, byte(len(screens)), 0, 0, 0), screens)
}

// AppendColourMap adds a SetColourMapEntries message with the 256 colours of
// BGR233, for a client whose format is not true colour.
func AppendColourMap(b []byte) []byte {
	b = append(b, ServerSetColourMapEntries, 0, 0, 0, 1, 0)
	f := BGR233()
	for i := range uint16(256) {
		b = appendIntensity(b, i>>f.RedShift&f.RedMax, f.RedMax)
		b = appendIntensity(b, i>>f.GreenShift&f.GreenMax, f.GreenMax)
		b = appendIntensity(b, i>>f.BlueShift&f.BlueMax, f.BlueMax)
	}
	return b
}

func appendIntensity(b []byte, value, limit uint16) []byte {
	return binary.BigEndian.AppendUint16(b, uint16(uint32(value)*0xffff/uint32(limit)))
}

// AppendBell adds a Bell message.
func AppendBell(b []byte) []byte { return append(b, ServerBell) }

// AppendServerCutText adds the server's clipboard; text is Latin-1 with \n
// between lines.
func AppendServerCutText(b []byte, text []byte) []byte {
	b = binary.BigEndian.AppendUint32(append(b, ServerCutText, 0, 0, 0), uint32(len(text)))
	return append(b, text...)
}
