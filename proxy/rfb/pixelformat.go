package rfb

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// PixelFormat is how pixels lie on the wire (RFC 6143 section 7.4).
type PixelFormat struct {
	BitsPerPixel, Depth             uint8 // 8, 16 or 32; how many of them carry colour
	BigEndian, TrueColour           bool
	RedMax, GreenMax, BlueMax       uint16 // 2^n - 1, with TrueColour
	RedShift, GreenShift, BlueShift uint8  // how far to shift left, with TrueColour
}

// PixelFormatLen is the size of the wire form in bytes.
const PixelFormatLen = 16

// RGB888 is 32 bits a pixel, little-endian, 0x00RRGGBB: what X servers hold in
// memory, and what most servers propose.
func RGB888() PixelFormat {
	return PixelFormat{
		BitsPerPixel: 32, Depth: 24, TrueColour: true,
		RedMax: 255, GreenMax: 255, BlueMax: 255,
		RedShift: 16, GreenShift: 8, BlueShift: 0,
	}
}

// BGR233 is one byte a pixel, blue in the two highest bits. It is also the
// fixed palette for clients that want a colour map (see AppendColourMap).
func BGR233() PixelFormat {
	return PixelFormat{
		BitsPerPixel: 8, Depth: 8, TrueColour: true,
		RedMax: 7, GreenMax: 7, BlueMax: 3,
		RedShift: 0, GreenShift: 3, BlueShift: 6,
	}
}

// Append adds the wire form.
func (f PixelFormat) Append(b []byte) []byte {
	b = append(b, f.BitsPerPixel, f.Depth, flag(f.BigEndian), flag(f.TrueColour))
	b = binary.BigEndian.AppendUint16(b, f.RedMax)
	b = binary.BigEndian.AppendUint16(b, f.GreenMax)
	b = binary.BigEndian.AppendUint16(b, f.BlueMax)
	return append(b, f.RedShift, f.GreenShift, f.BlueShift, 0, 0, 0)
}

// ParsePixelFormat reads the wire form; Validate tells whether it makes sense.
func ParsePixelFormat(b [PixelFormatLen]byte) PixelFormat {
	return PixelFormat{
		BitsPerPixel: b[0], Depth: b[1],
		BigEndian: b[2] != 0, TrueColour: b[3] != 0,
		RedMax:   binary.BigEndian.Uint16(b[4:]),
		GreenMax: binary.BigEndian.Uint16(b[6:]),
		BlueMax:  binary.BigEndian.Uint16(b[8:]),
		RedShift: b[10], GreenShift: b[11], BlueShift: b[12],
	}
}

// Validate tells what is wrong with f, if anything is: a wrong number of bits,
// or colours that overlap or do not fit.
func (f PixelFormat) Validate() error {
	if f.BitsPerPixel != 8 && f.BitsPerPixel != 16 && f.BitsPerPixel != 32 {
		return fmt.Errorf("pixel format: %d bits per pixel, want 8, 16 or 32", f.BitsPerPixel)
	}
	if f.Depth > f.BitsPerPixel {
		return fmt.Errorf("pixel format: depth %d in %d bits per pixel", f.Depth, f.BitsPerPixel)
	}
	if !f.TrueColour {
		if f.BitsPerPixel != 8 {
			return fmt.Errorf("pixel format: a colour map with %d bits per pixel, want 8", f.BitsPerPixel)
		}
		return nil
	}
	var used uint64
	for _, c := range []struct {
		name  string
		max   uint16
		shift uint8
	}{{"red", f.RedMax, f.RedShift}, {"green", f.GreenMax, f.GreenShift}, {"blue", f.BlueMax, f.BlueShift}} {
		width := bits.Len16(c.max)
		if c.max == 0 || c.max&(c.max+1) != 0 {
			return fmt.Errorf("pixel format: %s-max %d is not 2^n-1", c.name, c.max)
		}
		if int(c.shift)+width > int(f.BitsPerPixel) {
			return fmt.Errorf("pixel format: %s, %d bits shifted by %d, does not fit into %d bits",
				c.name, width, c.shift, f.BitsPerPixel)
		}
		mask := uint64(c.max) << c.shift
		if used&mask != 0 {
			return fmt.Errorf("pixel format: %s overlaps another colour", c.name)
		}
		used |= mask
	}
	return nil
}
