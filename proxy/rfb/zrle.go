package rfb

import (
	"compress/zlib"
	"encoding/binary"
	"image"
	"slices"
)

const (
	zrleTile    = 64 // pixels, both ways (RFC 6143 section 7.7.6)
	zrlePalette = 16 // colours that a packed tile can hold

	zrleRaw   = 0
	zrleSolid = 1
	zrleRuns  = 128
)

// ZRLE encodes rectangles for one client (RFC 6143 section 7.7.6). All of them
// share one compression stream, so it lives as long as the client's connection
// and every rectangle that it encodes must be sent, in order.
type ZRLE struct {
	zip    *zlib.Writer
	out    appendWriter
	pixels [zrleTile * zrleTile]uint32
	tile   []byte
}

type appendWriter struct{ b []byte }

func (w *appendWriter) Write(p []byte) (int, error) {
	w.b = append(w.b, p...)
	return len(p), nil
}

// NewZRLE makes an encoder; it holds about 1 MB, most of it the compressor's.
func NewZRLE() *ZRLE {
	z := &ZRLE{}
	z.zip, _ = zlib.NewWriterLevel(&z.out, zlib.BestSpeed) // fails only for a level that does not exist
	return z
}

// AppendRect adds the pixels of img within r: the compressed length, then the
// data. r must lie within img.
func (z *ZRLE) AppendRect(b []byte, t *Translator, img *image.RGBA, r image.Rectangle) []byte {
	start := len(b)
	z.out.b = append(b, 0, 0, 0, 0)
	for y := r.Min.Y; y < r.Max.Y; y += zrleTile {
		for x := r.Min.X; x < r.Max.X; x += zrleTile {
			tile := image.Rect(x, y, x+zrleTile, y+zrleTile).Intersect(r)
			pixels := t.pixels(z.pixels[:], img, tile)
			z.tile = appendTile(z.tile[:0], t, pixels, tile.Dx())
			_, _ = z.zip.Write(z.tile) // appendWriter never fails
		}
	}
	_ = z.zip.Flush()
	b, z.out.b = z.out.b, nil
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start-4))
	return b
}

// appendTile writes the tile in the smallest of the four forms used here.
func appendTile(b []byte, t *Translator, pixels []uint32, width int) []byte {
	seen := survey(pixels)
	cp := t.compactSize
	raw := len(pixels) * cp
	runs := seen.runs*cp + seen.runBytes
	packed := raw + 1
	if palette := seen.colours(); palette != nil {
		packed = len(palette)*cp + (width*indexBits(len(palette))+7)/8*(len(pixels)/width)
	}
	switch {
	case seen.count == 1:
		return t.appendCompact(append(b, zrleSolid), pixels[0])
	case packed <= runs && packed <= raw:
		return appendPacked(b, t, pixels, width, seen.colours())
	case runs <= raw:
		return appendRuns(append(b, zrleRuns), t, pixels)
	default:
		b = append(b, zrleRaw)
		for _, p := range pixels {
			b = t.appendCompact(b, p)
		}
		return b
	}
}

// tileSurvey is what decides how to send a tile.
type tileSurvey struct {
	palette  [zrlePalette]uint32
	count    int // colours, up to one more than palette holds
	runs     int // of one colour
	runBytes int // to write their lengths
}

// colours is nil when there are too many for a palette.
func (s *tileSurvey) colours() []uint32 {
	if s.count > zrlePalette {
		return nil
	}
	return s.palette[:s.count]
}

func survey(pixels []uint32) (s tileSurvey) {
	for start, end := 0, 0; start < len(pixels); start = end {
		end = runEnd(pixels, start)
		s.runs++
		s.runBytes += (end-start-1)/255 + 1
		if s.count > zrlePalette || slices.Contains(s.palette[:s.count], pixels[start]) {
			continue
		}
		if s.count < zrlePalette {
			s.palette[s.count] = pixels[start]
		}
		s.count++
	}
	return s
}

func runEnd(pixels []uint32, start int) int {
	end := start + 1
	for end < len(pixels) && pixels[end] == pixels[start] {
		end++
	}
	return end
}

// indexBits is how many bits of a packed tile select one of that many colours.
func indexBits(colours int) int {
	switch {
	case colours <= 2:
		return 1
	case colours <= 4:
		return 2
	default:
		return 4
	}
}

func appendPacked(b []byte, t *Translator, pixels []uint32, width int, palette []uint32) []byte {
	b = append(b, byte(len(palette)))
	for _, p := range palette {
		b = t.appendCompact(b, p)
	}
	size := indexBits(len(palette))
	for row := range slices.Chunk(pixels, width) {
		packed, filled := byte(0), 0
		index, last := byte(0), palette[0]
		for _, p := range row {
			if p != last {
				index, last = byte(slices.Index(palette, p)), p
			}
			packed = packed<<size | index
			if filled += size; filled == 8 {
				b, packed, filled = append(b, packed), 0, 0
			}
		}
		if filled > 0 {
			b = append(b, packed<<(8-filled))
		}
	}
	return b
}

func appendRuns(b []byte, t *Translator, pixels []uint32) []byte {
	for start, end := 0, 0; start < len(pixels); start = end {
		end = runEnd(pixels, start)
		b = t.appendCompact(b, pixels[start])
		rest := end - start - 1
		for ; rest >= 255; rest -= 255 {
			b = append(b, 255)
		}
		b = append(b, byte(rest))
	}
	return b
}
