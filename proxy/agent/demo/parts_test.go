package demo

import (
	"image"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestRegionHandsOutEachChangeOnce(t *testing.T) {
	var r region
	whole := image.Rect(0, 0, 200, 130)
	r.reset(whole.Max)
	if got, want := r.take(nil, whole), []image.Rectangle{
		image.Rect(0, 0, 200, 64), image.Rect(0, 64, 200, 128), image.Rect(0, 128, 200, 130),
	}; !slices.Equal(got, want) {
		t.Errorf("new: %v, want %v", got, want)
	}
	if got := r.take(nil, whole); len(got) != 0 {
		t.Errorf("again: %v", got)
	}
	r.mark(image.Rect(63, 0, 65, 1))
	r.mark(image.Rect(190, 70, 1000, 1000))
	r.mark(image.Rect(-50, -50, -1, -1))
	r.mark(image.Rectangle{})
	if got, want := r.take(nil, whole), []image.Rectangle{
		image.Rect(0, 0, 128, 64), image.Rect(128, 64, 200, 128), image.Rect(128, 128, 200, 130),
	}; !slices.Equal(got, want) {
		t.Errorf("marked: %v, want %v", got, want)
	}
	r.mark(whole)
	before := []image.Rectangle{image.Rect(0, 0, 10, 64)}
	if got, want := r.take(before, image.Rect(10, 10, 20, 70)), []image.Rectangle{
		before[0], image.Rect(10, 10, 20, 64), image.Rect(10, 64, 20, 70),
	}; !slices.Equal(got, want) {
		t.Errorf("part: %v, want %v", got, want)
	}
}

func TestTerminalWrapsScrollsAndForgets(t *testing.T) {
	var term terminal
	write := func(s string) {
		for _, r := range s {
			term.typeRune(r)
		}
	}
	check := func(columns, rows int, want ...string) {
		t.Helper()
		if got := term.view(columns, rows); !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	check(10, 3, "$ ")
	write("abcdefghij\nk")
	check(10, 3, "$ abcdefgh", "ij", "$ k")
	check(10, 2, "ij", "$ k")
	check(0, 0, "$ k")
	if !term.erase() || term.erase() {
		t.Error("erase goes to the beginning of the line and no further")
	}
	check(80, 9, "$ abcdefghij", "$ ")
	write(strings.Repeat("x", 3*maxTyped))
	if len(term.typed) != maxTyped {
		t.Errorf("%d characters kept", len(term.typed))
	}
}

func TestKeysThatAreNoTextTypeNothing(t *testing.T) {
	for name, c := range map[string]struct {
		down []uint32
		want string
	}{
		"text":              {[]uint32{'a', 'Z', '~', ' ', 0xff, 0x010020ac}, "aZ~ ÿ€"},
		"keypad":            {[]uint32{0xffb7, 0xffab, 0xffbd, keypadEnter}, "7+=\n"},
		"arrows, functions": {[]uint32{0xff51, 0xffbe, 0xff1b, 0xffff}, ""},
		"shift and caps":    {[]uint32{0xffe1, 'A', 0xffe5, 'B'}, "AB"},
		"control":           {[]uint32{controlLeft, 'c', keyReturn}, ""},
		"alt and super":     {[]uint32{altLeft, 'x', superLeft, 'y'}, ""},
		"AltGr":             {[]uint32{0xffea, '@', 0xfe03, '{'}, "@{"},
		"control codes":     {[]uint32{0, 7, 0x7f, 0x80, 0x9f}, ""},
		"beyond Unicode":    {[]uint32{0x01110000, 0xffffffff}, ""},
		"tab, backspace":    {[]uint32{keyTab, keyBackspace}, " \b"},
	} {
		var k keyboard
		var typed []rune
		for _, key := range c.down {
			if r, ok := k.press(key); ok {
				typed = append(typed, r)
			}
		}
		if string(typed) != c.want {
			t.Errorf("%s: %q, want %q", name, string(typed), c.want)
		}
		for _, key := range c.down {
			k.release(key)
		}
		if k != (keyboard{}) {
			t.Errorf("%s: %x is still held", name, k.held)
		}
	}
}

// What is painted in pieces must look like what is painted at once.
func TestRepaintingChangesNothingElse(t *testing.T) {
	size := image.Pt(500, 400)
	d := newDesktop("pieces", "host", size)
	dice := rand.New(rand.NewPCG(3, 4))
	v := d.join(nil)
	for i := range 60 {
		switch i % 4 {
		case 0:
			d.typeRune(v, rune('a'+dice.IntN(26)))
		case 1:
			d.mu.Lock()
			v.pointer.At, v.pointed = image.Pt(dice.IntN(size.X), dice.IntN(size.Y)), true
			d.mu.Unlock()
		case 2:
			d.copyText(v, []byte(strings.Repeat("y", dice.IntN(300))))
		}
		d.mu.Lock()
		now := d.started.Add(frameEvery * 7 * 1 << (i % 8))
		d.paint(now)
		pieces := slices.Clone(d.canvas.frame.Pix)
		d.canvas.repaint(d.canvas.frame.Rect)
		same := slices.Equal(pieces, d.canvas.frame.Pix)
		d.mu.Unlock()
		if !same {
			t.Fatalf("step %d differs", i)
		}
	}
}
