package rfb

import (
	"bytes"
	"image"
	"testing"
)

// FuzzMessages gives every parser anything at all, and makes pixels in every
// format that is let through.
func FuzzMessages(f *testing.F) {
	for _, m := range messages() {
		f.Add(m)
	}
	f.Add(ServerInit{Width: 1, Height: 2, Format: RGB888(), Name: "name"}.Append(nil))
	img := image.NewRGBA(image.Rect(0, 0, 3, 2))
	f.Fuzz(func(t *testing.T, m []byte) {
		if format, err := ParseSetPixelFormat(m); err == nil {
			translator, err := NewTranslator(format)
			if err != nil {
				t.Fatalf("%+v was valid and has no translator: %v", format, err)
			}
			want := 6 * int(format.BitsPerPixel) / 8
			if got := len(translator.AppendRaw(nil, img, img.Rect)); got != want {
				t.Errorf("%+v: %d bytes, want %d", format, got, want)
			}
		}
		if list, err := ParseSetEncodings(nil, m); err == nil && len(list) > len(m)/4 {
			t.Errorf("%d encodings in %d bytes", len(list), len(m))
		}
		if s, err := ParseSetDesktopSize(m); err == nil && !bytes.HasPrefix(s.Append(nil)[2:6], m[2:6]) {
			t.Errorf("%+v from % x", s, m)
		}
		if text, err := ParseCutText(m); err == nil && int64(len(text.Text)) > text.Length {
			t.Errorf("%d bytes of text, announced %d", len(text.Text), text.Length)
		}
		if k, err := ParseKeyEvent(m); err == nil && !bytes.Equal(k.Append(nil)[4:], m[4:8]) {
			t.Errorf("%+v from % x", k, m)
		}
		if p, err := ParsePointerEvent(m); err == nil && (p.At.X < 0 || p.At.X > 65535) {
			t.Errorf("%+v from % x", p, m)
		}
		if r, err := ParseUpdateRequest(m); err == nil && (r.Area.Min.X > r.Area.Max.X || r.Area.Min.Y > r.Area.Max.Y) {
			t.Errorf("%+v from % x", r, m)
		}
		if s, err := ReadServerInit(bytes.NewReader(m)); err == nil && len(s.Name) > MaxName {
			t.Errorf("a name of %d bytes", len(s.Name))
		}
	})
}
