package rfb

import (
	"bytes"
	"image"
	"image/color"
	"strings"
	"testing"
)

func bigEndian(f PixelFormat) PixelFormat { f.BigEndian = true; return f }

// rgb565 is what 16-bit clients ask for.
func rgb565() PixelFormat {
	return PixelFormat{
		BitsPerPixel: 16, Depth: 16, TrueColour: true,
		RedMax: 31, GreenMax: 63, BlueMax: 31, RedShift: 11, GreenShift: 5, BlueShift: 0,
	}
}

// shifted leaves the lowest byte free.
func shifted() PixelFormat {
	f := RGB888()
	f.RedShift, f.GreenShift, f.BlueShift = 24, 16, 8
	return f
}

// deep has 30 bits of colour, so that no byte of its pixels is free.
func deep() PixelFormat {
	return PixelFormat{
		BitsPerPixel: 32, Depth: 30, TrueColour: true,
		RedMax: 1023, GreenMax: 1023, BlueMax: 1023, RedShift: 20, GreenShift: 10, BlueShift: 0,
	}
}

func formats() map[string]PixelFormat {
	colourMap := PixelFormat{BitsPerPixel: 8, Depth: 8}
	return map[string]PixelFormat{
		"32 bit":                RGB888(),
		"32 bit big-endian":     bigEndian(RGB888()),
		"32 bit high":           shifted(),
		"32 bit high, big":      bigEndian(shifted()),
		"30 bit deep":           deep(),
		"16 bit":                rgb565(),
		"16 bit big-endian":     bigEndian(rgb565()),
		"8 bit":                 BGR233(),
		"8 bit with colour map": colourMap,
	}
}

func TestPixelFormatKeepsAllFields(t *testing.T) {
	for name, f := range formats() {
		wire := f.Append(nil)
		if len(wire) != PixelFormatLen {
			t.Fatalf("%s: %d bytes on the wire", name, len(wire))
		}
		if back := ParsePixelFormat([PixelFormatLen]byte(wire)); back != f {
			t.Errorf("%s: %+v came back as %+v", name, f, back)
		}
		if err := f.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestImpossiblePixelFormatIsRefused(t *testing.T) {
	for want, spoil := range map[string]func(*PixelFormat){
		"24 bits per pixel":    func(f *PixelFormat) { f.BitsPerPixel = 24 },
		"0 bits per pixel":     func(f *PixelFormat) { f.BitsPerPixel = 0 },
		"depth 33":             func(f *PixelFormat) { f.Depth = 33 },
		"red-max 0":            func(f *PixelFormat) { f.RedMax = 0 },
		"green-max 100":        func(f *PixelFormat) { f.GreenMax = 100 },
		"does not fit":         func(f *PixelFormat) { f.RedShift = 25 },
		"shifted by 255":       func(f *PixelFormat) { f.BlueShift = 255 },
		"blue overlaps":        func(f *PixelFormat) { f.BlueShift = 4 },
		"colour map with 32":   func(f *PixelFormat) { f.TrueColour = false },
		"red, 16 bits shifted": func(f *PixelFormat) { f.RedMax, f.RedShift = 65535, 17 },
	} {
		f := RGB888()
		spoil(&f)
		if err := f.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error %v, want one with %q", f, err, want)
		}
		if _, err := NewTranslator(f); err == nil {
			t.Errorf("%+v: a translator was made", f)
		}
	}
}

func TestRawPixelsLieAsTheFormatSays(t *testing.T) {
	img := image.NewRGBA(image.Rect(0, 0, 2, 1))
	img.SetRGBA(0, 0, color.RGBA{R: 0xff, G: 0x80, B: 0x01, A: 0xff})
	img.SetRGBA(1, 0, color.RGBA{A: 0xff})
	for name, want := range map[string]string{
		"32 bit":                "\x01\x80\xff\x00" + "\x00\x00\x00\x00",
		"32 bit big-endian":     "\x00\xff\x80\x01" + "\x00\x00\x00\x00",
		"32 bit high":           "\x00\x01\x80\xff" + "\x00\x00\x00\x00",
		"16 bit":                "\x00\xfc" + "\x00\x00", // 11111 100000 00000
		"16 bit big-endian":     "\xfc\x00" + "\x00\x00",
		"8 bit":                 "\x27" + "\x00", // 00 100 111
		"8 bit with colour map": "\x27" + "\x00",
	} {
		translator, err := NewTranslator(formats()[name])
		if err != nil {
			t.Fatal(name, err)
		}
		if got := translator.AppendRaw([]byte("before"), img, img.Rect); string(got) != "before"+want {
			t.Errorf("%s: % x, want % x", name, got[6:], want)
		}
	}
}

func TestRawSendsOnlyTheRectangle(t *testing.T) {
	img := image.NewRGBA(image.Rect(0, 0, 5, 4))
	for i := range 20 {
		img.SetRGBA(i%5, i/5, color.RGBA{R: byte(i), A: 0xff})
	}
	translator, err := NewTranslator(bigEndian(RGB888()))
	if err != nil {
		t.Fatal(err)
	}
	got := translator.AppendRaw(nil, img, image.Rect(1, 1, 4, 3))
	var reds []byte
	for ; len(got) > 0; got = got[4:] {
		reds = append(reds, got[1])
	}
	if want := []byte{6, 7, 8, 11, 12, 13}; !bytes.Equal(reds, want) {
		t.Errorf("pixels %v, want %v", reds, want)
	}
}

func TestColourMapHasTheColoursOfItsFormat(t *testing.T) {
	m := AppendColourMap(nil)
	if len(m) != 6+256*6 || !bytes.Equal(m[:6], []byte{1, 0, 0, 0, 1, 0}) {
		t.Fatalf("%d bytes, head % x", len(m), m[:6])
	}
	for index, want := range map[int]string{
		0x00: "\x00\x00\x00\x00\x00\x00",
		0x07: "\xff\xff\x00\x00\x00\x00",
		0x38: "\x00\x00\xff\xff\x00\x00",
		0xc0: "\x00\x00\x00\x00\xff\xff",
		0xff: "\xff\xff\xff\xff\xff\xff",
	} {
		if got := m[6+6*index:][:6]; string(got) != want {
			t.Errorf("colour %#x is % x, want % x", index, got, want)
		}
	}
}
