package rfb

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"io"
	"math/rand/v2"
	"testing"
)

// decodeZRLE is the client's side, written from RFC 6143 section 7.7.6. It
// returns the compact pixels of r, row by row, and the forms that were used.
func decodeZRLE(t *testing.T, in io.Reader, r image.Rectangle, pixelLen int) (pixels []string, forms map[byte]int) {
	t.Helper()
	read := func(n int) []byte {
		b := make([]byte, n)
		if _, err := io.ReadFull(in, b); err != nil {
			t.Fatalf("ZRLE data ends early: %v", err)
		}
		return b
	}
	width := r.Dx()
	pixels = make([]string, width*r.Dy())
	forms = map[byte]int{}
	for y := 0; y < r.Dy(); y += 64 {
		for x := 0; x < width; x += 64 {
			w, h := min(64, width-x), min(64, r.Dy()-y)
			var tile []string
			form := read(1)[0]
			forms[form]++
			switch {
			case form == 0:
				for range w * h {
					tile = append(tile, string(read(pixelLen)))
				}
			case form == 1:
				p := string(read(pixelLen))
				for range w * h {
					tile = append(tile, p)
				}
			case form <= 16:
				var palette []string
				for range form {
					palette = append(palette, string(read(pixelLen)))
				}
				size := map[bool]int{form <= 2: 1, form > 2 && form <= 4: 2, form > 4: 4}[true]
				for range h {
					row := read((w*size + 7) / 8)
					for i := range w {
						index := row[i*size/8] >> (8 - size - i*size%8) & (1<<size - 1)
						tile = append(tile, palette[index])
					}
				}
			case form == 128:
				for len(tile) < w*h {
					p, run := string(read(pixelLen)), 1
					for {
						more := read(1)[0]
						run += int(more)
						if more != 255 {
							break
						}
					}
					for range run {
						tile = append(tile, p)
					}
				}
			default:
				t.Fatalf("tile form %d", form)
			}
			if len(tile) != w*h {
				t.Fatalf("a tile of %dx%d has %d pixels", w, h, len(tile))
			}
			for i, p := range tile {
				pixels[(y+i/w)*width+x+i%w] = p
			}
		}
	}
	return pixels, forms
}

func picture(size image.Point, at func(x, y int) color.RGBA) *image.RGBA {
	img := image.NewRGBA(image.Rectangle{Max: size})
	for y := range size.Y {
		for x := range size.X {
			img.SetRGBA(x, y, at(x, y))
		}
	}
	return img
}

func TestZRLEKeepsEveryPixel(t *testing.T) {
	dice := rand.New(rand.NewPCG(1, 2))
	size := image.Pt(150, 131) // edge tiles of 22 and 3 pixels
	pictures := map[string]*image.RGBA{
		"flat":     picture(size, func(int, int) color.RGBA { return color.RGBA{10, 20, 30, 255} }),
		"two":      picture(size, func(x, y int) color.RGBA { return color.RGBA{byte(x * y % 2 * 255), 0, 0, 255} }),
		"four":     picture(size, func(x, y int) color.RGBA { return color.RGBA{byte((x + y) % 4 * 80), 0, 0, 255} }),
		"sixteen":  picture(size, func(x, y int) color.RGBA { return color.RGBA{0, byte((x * y) % 16 * 16), 0, 255} }),
		"gradient": picture(size, func(_, y int) color.RGBA { return color.RGBA{byte(y), byte(2 * y), 90, 255} }),
		"noise": picture(size, func(int, int) color.RGBA {
			return color.RGBA{byte(dice.Uint32()), byte(dice.Uint32()), byte(dice.Uint32()), 255}
		}),
	}
	areas := []image.Rectangle{{Max: size}, image.Rect(3, 5, 90, 7), image.Rect(149, 130, 150, 131)}
	compact := map[string]func([]byte) []byte{
		"32 bit":            func(p []byte) []byte { return p[:3] },
		"32 bit big-endian": func(p []byte) []byte { return p[1:] },
		"32 bit high":       func(p []byte) []byte { return p[1:] },
		"32 bit high, big":  func(p []byte) []byte { return p[:3] },
	}
	used := map[byte]int{}
	for formatName, format := range formats() {
		translator, err := NewTranslator(format)
		if err != nil {
			t.Fatal(err)
		}
		shorten := compact[formatName]
		if shorten == nil {
			shorten = func(p []byte) []byte { return p }
		}
		encoder := NewZRLE() // one stream for all rectangles, as on a connection
		var stream bytes.Buffer
		var inflate io.Reader
		for name, img := range pictures {
			for _, area := range areas {
				t.Run(fmt.Sprint(formatName, " ", name, " ", area), func(t *testing.T) {
					wire := encoder.AppendRect([]byte("before"), translator, img, area)[6:]
					if int(binary.BigEndian.Uint32(wire)) != len(wire)-4 {
						t.Fatalf("length %d before %d bytes", binary.BigEndian.Uint32(wire), len(wire)-4)
					}
					stream.Write(wire[4:])
					if inflate == nil {
						if inflate, err = zlib.NewReader(&stream); err != nil {
							t.Fatal(err)
						}
					}
					raw := translator.AppendRaw(nil, img, area)
					size := translator.BytesPerPixel()
					got, forms := decodeZRLE(t, inflate, area, len(shorten(raw[:size])))
					for form, n := range forms {
						used[form] += n
					}
					for i, p := range got {
						if want := shorten(raw[i*size:][:size]); p != string(want) {
							t.Fatalf("pixel %d is % x, want % x", i, p, want)
						}
					}
				})
			}
		}
	}
	for _, form := range []byte{0, 1, 2, 4, 16, 128} {
		if used[form] == 0 {
			t.Errorf("no tile had form %d; forms %v", form, used)
		}
	}
}

func BenchmarkZRLEGradient(b *testing.B) {
	img := picture(image.Pt(1280, 800), func(_, y int) color.RGBA { return color.RGBA{byte(y / 8), byte(y / 4), 90, 255} })
	translator, err := NewTranslator(RGB888())
	if err != nil {
		b.Fatal(err)
	}
	encoder, out := NewZRLE(), []byte(nil)
	b.SetBytes(int64(len(img.Pix)))
	b.ReportAllocs()
	for b.Loop() {
		out = encoder.AppendRect(out[:0], translator, img, img.Rect)
	}
	b.ReportMetric(float64(len(out)), "wire-bytes/op")
}
