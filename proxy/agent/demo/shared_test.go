package demo

import (
	"image"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamspace-dev/streamspace-edge/proxy/rfb"
)

// together runs test with two viewers of one desktop in virtual time.
func together(t *testing.T, test func(t *testing.T, s *Server, one, two *client)) {
	synctest.Test(t, func(t *testing.T) {
		s := small()
		one, two := connect(t, s), connect(t, s)
		one.refresh(false)
		two.refresh(false)
		test(t, s, one, two)
		for _, c := range []*client{one, two} {
			if err := c.leave(); err != nil {
				t.Error(err)
			}
		}
	})
}

// settle brings a viewer up to date.
func (c *client) settle(s *Server) {
	c.t.Helper()
	whole := image.Rectangle{Max: c.size}
	for range 100 {
		c.refresh(true)
		if c.crop(whole) == frame(c.t, s, whole) {
			return
		}
	}
	c.t.Fatal("the viewer does not catch up")
}

func TestViewersSeeEachOthersTyping(t *testing.T) {
	together(t, func(t *testing.T, s *Server, one, two *client) {
		empty := two.crop(typedArea())
		one.press('h', 'i', 0xe4 /* ä */, 0x0100263a /* ☺ */, keypadFirst)
		two.settle(s)
		typed := two.crop(typedArea())
		if typed == empty {
			t.Fatal("the other viewer's text does not appear")
		}
		two.press(keyReturn, 'y', 'o', keypadEnter)
		one.settle(s)
		two.settle(s)
		if one.crop(typedArea()) == typed || one.crop(typedArea()) != two.crop(typedArea()) {
			t.Error("the answer does not appear")
		}
		s.desktop.mu.Lock()
		defer s.desktop.mu.Unlock()
		if got := string(s.desktop.terminal.typed); got != "hiä☺*\nyo\n" {
			t.Errorf("typed %q", got)
		}
	})
}

func TestBackspaceErasesAndThenRings(t *testing.T) {
	together(t, func(t *testing.T, s *Server, one, two *client) {
		empty := one.crop(typedArea())
		one.press('x')
		one.settle(s)
		if one.crop(typedArea()) == empty {
			t.Fatal("nothing was typed")
		}
		one.press(keyBackspace)
		one.settle(s)
		if one.crop(typedArea()) != empty || one.bells != 0 {
			t.Errorf("the character is still there, or the bell rang (%d)", one.bells)
		}
		one.press(keyBackspace)
		one.settle(s)
		two.settle(s)
		if one.bells != 1 || two.bells != 0 {
			t.Errorf("%d and %d bells, want the typist's", one.bells, two.bells)
		}
	})
}

func TestPointersAreSeenWithTheirButtons(t *testing.T) {
	together(t, func(t *testing.T, s *Server, one, two *client) {
		around := pointerBounds(image.Pt(100, 190))
		empty := two.crop(around)
		one.send(rfb.PointerEvent{At: around.Min}.Append(nil))
		two.settle(s)
		there := two.crop(around)
		one.send(rfb.PointerEvent{At: around.Min, Buttons: 1}.Append(nil))
		two.settle(s)
		pressed := two.crop(around)
		if there == empty || pressed == there {
			t.Error("the pointer or its button does not show")
		}
		one.send(rfb.PointerEvent{At: image.Pt(65535, 65535)}.Append(nil))
		two.settle(s)
		if two.crop(around) != empty {
			t.Error("the pointer has left something behind")
		}
	})
}

func TestClipboardGoesToTheOtherViewers(t *testing.T) {
	together(t, func(t *testing.T, s *Server, one, two *client) {
		one.send(rfb.AppendCutText(nil, []byte("gr\xfc\xdfe\n\x00")))
		one.settle(s)
		two.settle(s)
		if len(one.texts) != 0 || len(two.texts) != 1 || two.texts[0] != "gr\xfc\xdfe\n\x00" {
			t.Errorf("got %q and %q", one.texts, two.texts)
		}
		s.desktop.mu.Lock()
		shown := s.desktop.clipboard
		s.desktop.mu.Unlock()
		if shown != "grüße  " {
			t.Errorf("shown as %q", shown)
		}
		one.send([]byte{6, 0, 0, 0, 0xff, 0xff, 0xff, 0xfc, 1, 0, 0, 0}) // the extended clipboard's capabilities
		two.settle(s)
		if len(two.texts) != 1 {
			t.Errorf("extended data was passed on: %q", two.texts)
		}
	})
}

func TestResizeIsToldToAllWhoCanBeTold(t *testing.T) {
	together(t, func(t *testing.T, s *Server, one, two *client) {
		old, plain := connect(t, s), connect(t, s)
		one.setEncodings(rfb.EncodingRaw, rfb.EncodingDesktopSize, rfb.EncodingExtendedDesktopSize)
		two.setEncodings(rfb.EncodingRaw, rfb.EncodingExtendedDesktopSize)
		old.setEncodings(rfb.EncodingRaw, rfb.EncodingDesktopSize)
		for _, c := range []*client{one, two, old, plain} {
			c.refresh(false)
		}
		if len(one.sizes) != 1 || one.sizes[0] != (sizeTold{size: image.Pt(400, 300)}) || len(old.sizes) != 0 {
			t.Fatalf("before: %v and %v", one.sizes, old.sizes)
		}
		now := image.Pt(300, 500)
		one.send(rfb.SetDesktopSize{
			Width: 300, Height: 500, Screens: []rfb.Screen{{ID: 5, Area: image.Rectangle{Max: now}}},
		}.Append(nil))
		synctest.Wait()
		for _, c := range []*client{one, two, old} {
			c.refresh(true)
			c.settle(s)
			if c.size != now {
				t.Errorf("size %v", c.size)
			}
		}
		want := sizeTold{why: 1, size: now}
		if got := one.sizes[len(one.sizes)-1]; got != want {
			t.Errorf("who asked was told %+v, want %+v", got, want)
		}
		want.why = 2
		if got := two.sizes[len(two.sizes)-1]; got != want {
			t.Errorf("another was told %+v, want %+v", got, want)
		}
		plain.refresh(true)
		known := image.Rect(0, 0, 300, 300)
		if plain.crop(known) != frame(t, s, known) || plain.crop(image.Rect(300, 0, 400, 300)) != string(make([]byte, 100*300*4)) {
			t.Error("who can't be told must see the part that there is, and black beside it")
		}
		for _, c := range []*client{old, plain} {
			if err := c.leave(); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestImpossibleSizeIsRefused(t *testing.T) {
	screen := func(w, h int) []rfb.Screen { return []rfb.Screen{{Area: image.Rect(0, 0, w, h)}} }
	for name, c := range map[string]struct {
		ask    rfb.SetDesktopSize
		status rfb.ResizeStatus
	}{
		"nothing":       {rfb.SetDesktopSize{Screens: screen(0, 0)}, rfb.ResizeInvalidLayout},
		"too small":     {rfb.SetDesktopSize{Width: 63, Height: 64, Screens: screen(63, 64)}, rfb.ResizeInvalidLayout},
		"too wide":      {rfb.SetDesktopSize{Width: 5121, Height: 64, Screens: screen(5121, 64)}, rfb.ResizeOutOfResources},
		"too large":     {rfb.SetDesktopSize{Width: 5000, Height: 5000, Screens: screen(5000, 5000)}, rfb.ResizeOutOfResources},
		"no screen":     {rfb.SetDesktopSize{Width: 640, Height: 480}, rfb.ResizeInvalidLayout},
		"two screens":   {rfb.SetDesktopSize{Width: 640, Height: 480, Screens: append(screen(320, 480), screen(640, 480)...)}, rfb.ResizeInvalidLayout},
		"screen beside": {rfb.SetDesktopSize{Width: 640, Height: 480, Screens: screen(641, 480)}, rfb.ResizeInvalidLayout},
	} {
		t.Run(name, func(t *testing.T) {
			together(t, func(t *testing.T, s *Server, one, two *client) {
				one.setEncodings(rfb.EncodingExtendedDesktopSize)
				two.setEncodings(rfb.EncodingExtendedDesktopSize)
				one.refresh(false)
				two.refresh(false)
				one.send(c.ask.Append(nil))
				synctest.Wait()
				one.refresh(true)
				want := sizeTold{why: 1, status: int(c.status), size: image.Pt(400, 300)}
				if got := one.sizes[len(one.sizes)-1]; got != want {
					t.Errorf("told %+v, want %+v", got, want)
				}
				two.refresh(true)
				if len(two.sizes) != 1 {
					t.Errorf("the other viewer was told %+v", two.sizes)
				}
			})
		})
	}
}

func TestViewerThatReadsNothingHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := small()
		hostile, other := connect(t, s), connect(t, s)
		for range 1000 {
			hostile.ask(false)
			hostile.send(rfb.AppendCutText(nil, make([]byte, 1000)))
		}
		other.refresh(false)
		began := time.Now()
		for range 20 {
			hostile.press('x')
			other.refresh(true)
		}
		other.settle(s)
		if took := time.Since(began); took > 25*frameEvery {
			t.Errorf("20 updates took %v", took)
		}
		s.desktop.mu.Lock()
		silent := s.desktop.viewers[0]
		s.desktop.mu.Unlock()
		for _, c := range []*client{hostile, other} {
			if err := c.leave(); err != nil {
				t.Error(err)
			}
		}
		held := cap(silent.out) + cap(silent.scratch) + cap(silent.message) + cap(silent.cutText)
		if held > 4<<20 {
			t.Errorf("the silent viewer holds %d bytes", held)
		}
	})
}
