package demo

import (
	"encoding/binary"
	"image"
	"image/color"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamspace-dev/streamspace-edge/proxy/rfb"
)

func TestPixelsComeInTheFormatThatWasAskedFor(t *testing.T) {
	rgb565 := rfb.PixelFormat{
		BitsPerPixel: 16, Depth: 16, TrueColour: true,
		RedMax: 31, GreenMax: 63, BlueMax: 31, RedShift: 11, GreenShift: 5,
	}
	noVNC := rfb.RGB888()
	noVNC.RedShift, noVNC.BlueShift = 0, 16
	big := func(f rfb.PixelFormat) rfb.PixelFormat { f.BigEndian = true; return f }
	for name, format := range map[string]rfb.PixelFormat{
		"32 bit": rfb.RGB888(), "32 bit big-endian": big(rfb.RGB888()), "noVNC's": noVNC,
		"16 bit": rgb565, "16 bit big-endian": big(rgb565), "8 bit": rfb.BGR233(),
	} {
		t.Run(name, func(t *testing.T) {
			s := small()
			c := connect(t, s)
			c.setFormat(format)
			c.refresh(false)
			if err := c.leave(); err != nil {
				t.Fatal(err)
			}
			order := binary.ByteOrder(binary.LittleEndian)
			if format.BigEndian {
				order = binary.BigEndian
			}
			for y := range c.size.Y {
				for x := range c.size.X {
					raw := c.picture[(y*c.size.X+x)*c.bytesPer:]
					var pixel uint32
					switch c.bytesPer {
					case 1:
						pixel = uint32(raw[0])
					case 2:
						pixel = uint32(order.Uint16(raw))
					case 4:
						pixel = order.Uint32(raw)
					}
					want := s.desktop.canvas.frame.RGBAAt(x, y)
					if !near(pixel>>format.RedShift, format.RedMax, want.R) ||
						!near(pixel>>format.GreenShift, format.GreenMax, want.G) ||
						!near(pixel>>format.BlueShift, format.BlueMax, want.B) {
						t.Fatalf("pixel %d,%d is %#x, want %v", x, y, pixel, want)
					}
				}
			}
		})
	}
}

// near tells whether a value of 0 to limit is the one nearest to intensity.
func near(value uint32, limit uint16, intensity uint8) bool {
	off := int(value&uint32(limit))*255 - int(intensity)*int(limit)
	return max(off, -off)*2 <= 255+1
}

func TestColourMapIsSentBeforeItsPixels(t *testing.T) {
	c := connect(t, small())
	c.setFormat(rfb.PixelFormat{BitsPerPixel: 8, Depth: 8})
	c.refresh(false)
	if c.maps != 1 {
		t.Errorf("%d colour maps", c.maps)
	}
	if err := c.leave(); err != nil {
		t.Error(err)
	}
}

func TestPictureMovesAllTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := small()
		c := connect(t, s)
		c.refresh(false)
		for range 50 {
			before, began := c.crop(image.Rectangle{Max: c.size}), time.Now()
			c.refresh(true)
			if took := time.Since(began); took > 2*frameEvery {
				t.Errorf("nothing changed for %v", took)
			}
			whole := image.Rectangle{Max: c.size}
			if c.crop(whole) == before {
				t.Error("an update brought nothing new")
			}
			if c.crop(whole) != frame(t, s, whole) {
				t.Fatal("the viewer's picture is not the server's")
			}
		}
		if err := c.leave(); err != nil {
			t.Error(err)
		}
	})
}

func TestNothingMovesWhileNobodyAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := small()
		c := connect(t, s)
		c.refresh(false)
		whole := image.Rectangle{Max: c.size}
		before := frame(t, s, whole)
		time.Sleep(time.Minute)
		if frame(t, s, whole) != before {
			t.Error("the picture was painted for nobody")
		}
		if err := c.leave(); err != nil {
			t.Error(err)
		}
	})
}

func TestOnlyTheAreaAskedForIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := small()
		c := connect(t, s)
		area := image.Rect(150, 70, 333, 201)
		c.askFor(false, area)
		for range 5 {
			for _, part := range c.update() {
				if !part.In(area) {
					t.Errorf("%v is not within %v", part, area)
				}
			}
			if c.crop(area) != frame(t, s, area) {
				t.Error("the area is not up to date")
			}
			c.askFor(true, area)
		}
		c.update()
		c.refresh(true) // the whole picture is another area: all of it is new
		if whole := (image.Rectangle{Max: c.size}); c.crop(whole) != frame(t, s, whole) {
			t.Error("what lay outside of the area before is not up to date")
		}
		if err := c.leave(); err != nil {
			t.Error(err)
		}
	})
}

func TestAreaOutsideOfThePictureIsHarmless(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, small())
		c.askFor(false, image.Rect(60000, 60000, 65535, 65535))
		c.askFor(true, image.Rectangle{})
		time.Sleep(time.Second)
		c.refresh(false)
		if err := c.leave(); err != nil {
			t.Error(err)
		}
	})
}

func TestZRLEIsUsedWhenTheClientPrefersItAndIsSmall(t *testing.T) {
	for name, c := range map[string]struct {
		list []rfb.Encoding
		zrle bool
	}{
		"none":             {nil, false},
		"ZRLE before Raw":  {[]rfb.Encoding{rfb.EncodingCopyRect, rfb.EncodingTight, rfb.EncodingZRLE, rfb.EncodingRaw}, true},
		"Raw before ZRLE":  {[]rfb.Encoding{rfb.EncodingRaw, rfb.EncodingZRLE}, false},
		"none that we use": {[]rfb.Encoding{rfb.EncodingTight, rfb.EncodingHextile}, false},
	} {
		client := connect(t, New(Options{}))
		client.setEncodings(c.list...)
		client.refresh(false)
		if (client.zrle > 0) != c.zrle {
			t.Errorf("%s: %d bytes of ZRLE", name, client.zrle)
		}
		if raw := 4 * client.size.X * client.size.Y; client.zrle > raw/50 {
			t.Errorf("%s: %d bytes for a picture of %d", name, client.zrle, raw)
		}
		if err := client.leave(); err != nil {
			t.Error(err)
		}
	}
}

func TestSizeIsFittedIntoTheLimits(t *testing.T) {
	for asked, want := range map[image.Point]image.Point{
		{}:                       image.Pt(1280, 800),
		{X: 640}:                 image.Pt(640, 800),
		{X: 1, Y: 1}:             image.Pt(64, 64),
		{X: -5, Y: 70}:           image.Pt(64, 70),
		{X: 3840, Y: 2160}:       image.Pt(3840, 2160),
		{X: 1 << 40, Y: 1 << 40}: image.Pt(2880, 2880),
	} {
		if got := fittingSize(asked.X, asked.Y); got != want {
			t.Errorf("asked for %v: %v, want %v", asked, got, want)
		}
	}
}

func TestEveryAllowedSizeCanBePainted(t *testing.T) {
	for _, size := range []image.Point{{64, 64}, {64, 5120}, {5120, 64}, {65, 900}, {333, 65}} {
		d := newDesktop("a name that is longer than the picture is wide", "host", size)
		d.typeRune(&viewer{}, 'x')
		d.mu.Lock()
		for i := range 30 {
			d.paint(d.started.Add(time.Duration(i) * time.Second))
		}
		if got := d.canvas.frame.RGBAAt(size.X-1, size.Y-1); got == (color.RGBA{}) {
			t.Errorf("%v: the corner is not painted", size)
		}
		d.mu.Unlock()
	}
}
