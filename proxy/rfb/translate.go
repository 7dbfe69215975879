package rfb

import (
	"encoding/binary"
	"image"
	"math/bits"
	"slices"
)

// Translator turns 8-bit RGB into the pixels of one format. It never changes
// after it was made, so several goroutines may use it.
type Translator struct {
	// The bits of each intensity, in the order in which little-endian stores
	// put them on the wire whatever the format's own byte order: one OR of
	// three look-ups makes a pixel.
	red, green, blue [256]uint32

	size int // bytes of a pixel

	// A CPIXEL, the pixel without the byte that is always zero (RFC 6143
	// section 7.7.5): compactSize bytes after a shift right by compactShift.
	compactSize, compactShift int
}

// NewTranslator fails as f.Validate does. For a format with a colour map it
// yields the indexes of AppendColourMap's palette.
func NewTranslator(f PixelFormat) (*Translator, error) {
	if err := f.Validate(); err != nil {
		return nil, err
	}
	if !f.TrueColour {
		f = BGR233()
	}
	t := &Translator{size: int(f.BitsPerPixel) / 8}
	for i := range 256 {
		t.red[i] = f.wire(i, f.RedMax, f.RedShift)
		t.green[i] = f.wire(i, f.GreenMax, f.GreenShift)
		t.blue[i] = f.wire(i, f.BlueMax, f.BlueShift)
	}
	t.compactSize = t.size
	used := uint32(f.RedMax)<<f.RedShift | uint32(f.GreenMax)<<f.GreenShift | uint32(f.BlueMax)<<f.BlueShift
	if f.BitsPerPixel == 32 && f.Depth <= 24 {
		switch {
		case used>>24 == 0:
			t.compact(f.BigEndian)
		case used&0xff == 0:
			t.compact(!f.BigEndian)
		}
	}
	return t, nil
}

// compact drops the first or the last of four bytes on the wire.
func (t *Translator) compact(first bool) {
	t.compactSize = 3
	if first {
		t.compactShift = 8
	}
}

func (f PixelFormat) wire(intensity int, limit uint16, shift uint8) uint32 {
	pixel := uint32((intensity*int(limit)+127)/255) << shift
	switch {
	case !f.BigEndian || f.BitsPerPixel == 8:
		return pixel
	case f.BitsPerPixel == 16:
		return uint32(bits.ReverseBytes16(uint16(pixel)))
	default:
		return bits.ReverseBytes32(pixel)
	}
}

// BytesPerPixel is 1, 2 or 4.
func (t *Translator) BytesPerPixel() int { return t.size }

// AppendRaw adds the pixels of img within r, row by row (encoding Raw). r must
// lie within img.
func (t *Translator) AppendRaw(b []byte, img *image.RGBA, r image.Rectangle) []byte {
	start := len(b)
	b = slices.Grow(b, r.Dx()*r.Dy()*t.size)[:start+r.Dx()*r.Dy()*t.size]
	out := b[start:]
	for y := r.Min.Y; y < r.Max.Y; y++ {
		from := img.PixOffset(r.Min.X, y)
		row := img.Pix[from : from+4*r.Dx()]
		switch t.size {
		case 1:
			for ; len(row) >= 4; row, out = row[4:], out[1:] {
				out[0] = byte(t.red[row[0]] | t.green[row[1]] | t.blue[row[2]])
			}
		case 2:
			for ; len(row) >= 4; row, out = row[4:], out[2:] {
				binary.LittleEndian.PutUint16(out, uint16(t.red[row[0]]|t.green[row[1]]|t.blue[row[2]]))
			}
		default:
			for ; len(row) >= 4; row, out = row[4:], out[4:] {
				binary.LittleEndian.PutUint32(out, t.red[row[0]]|t.green[row[1]]|t.blue[row[2]])
			}
		}
	}
	return b
}

// pixels fills dst with the wire values of img within r and returns the filled part.
func (t *Translator) pixels(dst []uint32, img *image.RGBA, r image.Rectangle) []uint32 {
	n := 0
	for y := r.Min.Y; y < r.Max.Y; y++ {
		from := img.PixOffset(r.Min.X, y)
		for row := img.Pix[from : from+4*r.Dx()]; len(row) >= 4; row = row[4:] {
			dst[n] = t.red[row[0]] | t.green[row[1]] | t.blue[row[2]]
			n++
		}
	}
	return dst[:n]
}

// appendCompact adds one CPIXEL.
func (t *Translator) appendCompact(b []byte, pixel uint32) []byte {
	pixel >>= t.compactShift
	for range t.compactSize {
		b = append(b, byte(pixel))
		pixel >>= 8
	}
	return b
}
