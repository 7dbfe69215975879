package rfb

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// scanned is what a consumer sees of a stream: its whole messages and the error.
type scanned struct {
	messages []string // kind, length and contents
	open     string   // what came of an incomplete message
	err      string
}

// scan feeds stream in pieces whose sizes next tells.
func scan(t testing.TB, stream []byte, next func() int) (out scanned) {
	var s Scanner
	var message []byte
	for rest := stream; len(rest) > 0; {
		size := min(max(next(), 1), len(rest))
		piece := rest[:size]
		rest = rest[size:]
		for len(piece) > 0 {
			part, err := s.Next(piece)
			if err != nil {
				if _, again := s.Next(piece); again != err {
					t.Fatalf("after %v came %v", err, again)
				}
				out.err = err.Error()
				return out
			}
			if len(part.Data) == 0 || !bytes.HasPrefix(piece, part.Data) {
				t.Fatalf("part % x of % x", part.Data, piece)
			}
			if part.Offset != int64(len(message)) {
				t.Fatalf("%v: offset %d after %d bytes", part.Kind, part.Offset, len(message))
			}
			message = append(message, part.Data...)
			if part.Last() {
				if !s.Between() {
					t.Fatalf("%v has ended and the scanner is not between messages", part.Kind)
				}
				out.messages = append(out.messages, fmt.Sprintf("%v %d %v % x", part.Kind, part.Length, part.Extended, message))
				message = message[:0]
			}
			piece = piece[len(part.Data):]
		}
	}
	out.open = string(message)
	if s.Between() != (len(message) == 0) {
		t.Fatalf("Between is %v with % x open", s.Between(), message)
	}
	return out
}

func whole(n int) func() int { return func() int { return n } }

func (a scanned) equal(b scanned) bool {
	// How much of an unknown QEMU message was seen before its second byte
	// arrived depends on the cut, so open is compared only without error.
	return slices.Equal(a.messages, b.messages) && a.err == b.err && (a.err != "" || a.open == b.open)
}

func TestEveryMessageIsFoundWhereverTheStreamIsCut(t *testing.T) {
	var stream []byte
	kinds := 0
	for _, m := range messages() {
		stream = append(stream, m...)
		kinds++
	}
	all := scan(t, stream, whole(len(stream)))
	if len(all.messages) != kinds || all.err != "" || all.open != "" {
		t.Fatalf("%d of %d messages, error %q, % x left", len(all.messages), kinds, all.err, all.open)
	}
	for size := 1; size < 40; size++ {
		if got := scan(t, stream, whole(size)); !got.equal(all) {
			t.Errorf("in pieces of %d: %q, want %q", size, got, all)
		}
	}
	for cut := 1; cut < len(stream); cut++ {
		first := true
		got := scan(t, stream, func() int {
			if first {
				first = false
				return cut
			}
			return len(stream)
		})
		if !got.equal(all) {
			t.Errorf("cut at %d: %q, want %q", cut, got, all)
		}
	}
}

func TestExtendedClipboardIsRecognised(t *testing.T) {
	var s Scanner
	part, err := s.Next(messages()["extended"])
	if err != nil || part.Kind != KindCutText || !part.Extended || part.Length != 12 || !part.Last() {
		t.Errorf("%+v, %v", part, err)
	}
	if part, err = s.Next(messages()["cut text"]); err != nil || part.Extended {
		t.Errorf("plain text after it: %+v, %v", part, err)
	}
}

func TestCutTextOfAnyLengthIsSkippedInPlace(t *testing.T) {
	for name, c := range map[string]struct {
		head   []byte
		length int64
	}{
		"2 GiB of text":          {[]byte{6, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff}, 8 + 1<<31 - 1},
		"2 GiB of extended data": {[]byte{6, 0, 0, 0, 0x80, 0, 0, 0}, 8 + 1<<31},
	} {
		t.Run(name, func(t *testing.T) {
			var s Scanner
			if part, err := s.Next(c.head); err != nil || part.Length != c.length {
				t.Fatalf("%+v, %v", part, err)
			}
			chunk := make([]byte, 16<<20)
			left := c.length - 8
			allocated := testing.AllocsPerRun(1, func() {
				for left > 0 {
					part, err := s.Next(chunk[:min(left, int64(len(chunk)))])
					if err != nil || part.Kind != KindCutText {
						t.Fatalf("%v, %v", part.Kind, err)
					}
					left -= int64(len(part.Data))
				}
			})
			if allocated != 0 {
				t.Errorf("%v allocations", allocated)
			}
			if part, err := s.Next([]byte{4}); err != nil || part.Kind != KindKeyEvent {
				t.Errorf("the message after it: %+v, %v", part, err)
			}
		})
	}
}

func TestPointerMarkerCountsOnlyAfterItWasAskedFor(t *testing.T) {
	press := PointerEvent{Buttons: 0x80}.Append(nil)
	var s Scanner
	if part, err := s.Next(append(press, 4)); err != nil || part.Length != 6 || part.Extended {
		t.Errorf("button 8 of an old client: %+v, %v", part, err)
	}
	asks := AppendSetEncodings(nil, EncodingRaw, EncodingExtendedMouseButtons)
	for len(asks) > 0 {
		part, err := s.Next(asks[:1])
		if err != nil {
			t.Fatal(err)
		}
		asks = asks[len(part.Data):]
	}
	if part, err := s.Next(append(press, 1)); err != nil || part.Length != 7 || !part.Extended {
		t.Errorf("marked event: %+v, %v", part, err)
	}
	if part, err := s.Next(PointerEvent{Buttons: 1}.Append(nil)); err != nil || part.Length != 6 || part.Extended {
		t.Errorf("plain event: %+v, %v", part, err)
	}
}

func TestUnknownMessageIsNamed(t *testing.T) {
	key := messages()["key"]
	for name, c := range map[string]struct {
		bytes []byte
		want  string
	}{
		"type 1":            {[]byte{1}, "unknown client message type 1 at byte 8"},
		"type 77":           {[]byte{77, 0, 0}, "unknown client message type 77 at byte 8"},
		"an HTTP request":   {[]byte("GET / HTTP/1.1\r\n"), "unknown client message type 71 at byte 8"},
		"a QEMU submessage": {[]byte{255, 9}, "unknown QEMU client message 255/9 at byte 8"},
	} {
		got := scan(t, append(bytes.Clone(key), c.bytes...), whole(100))
		if len(got.messages) != 1 || !strings.HasPrefix(got.err, c.want) {
			t.Errorf("%s: %q, want the key and %q", name, got, c.want)
		}
	}
	var s Scanner
	_, err := s.Next([]byte{99})
	var unknown *UnknownMessageError
	if !errors.As(err, &unknown) || unknown.Type != 99 {
		t.Errorf("%v", err)
	}
}

func TestNothingInNothingOut(t *testing.T) {
	var s Scanner
	if part, err := s.Next(nil); err != nil || len(part.Data) != 0 || !s.Between() {
		t.Errorf("%+v, %v", part, err)
	}
}

func TestScannerAllocatesNothing(t *testing.T) {
	var stream []byte
	for _, m := range messages() {
		stream = append(stream, m...)
	}
	var s Scanner
	if n := testing.AllocsPerRun(100, func() {
		for p := stream; len(p) > 0; {
			part, err := s.Next(p)
			if err != nil {
				t.Fatal(err)
			}
			p = p[len(part.Data):]
		}
	}); n != 0 {
		t.Errorf("%v allocations a stream", n)
	}
}

func FuzzScanner(f *testing.F) {
	var all []byte
	for _, m := range messages() {
		f.Add(m, []byte{1})
		all = append(all, m...)
	}
	f.Add(all, []byte{3, 1, 7})
	f.Add([]byte{6, 0, 0, 0, 0x80, 0, 0, 0, 1, 2}, []byte{2})
	f.Add(append(AppendSetEncodings(nil, EncodingExtendedMouseButtons), PointerEvent{Buttons: 3}.AppendExtended(nil)...), []byte{5})
	f.Fuzz(func(t *testing.T, stream, cuts []byte) {
		at := 0
		pieces := func() int {
			if len(cuts) == 0 {
				return 1
			}
			at++
			return int(cuts[at%len(cuts)])
		}
		all, cut := scan(t, stream, whole(len(stream))), scan(t, stream, pieces)
		if !all.equal(cut) {
			t.Errorf("whole: %q\ncut by %v: %q", all, cuts, cut)
		}
	})
}

func BenchmarkScanner(b *testing.B) {
	stream := bytes.Repeat(PointerEvent{Buttons: 1}.Append(UpdateRequest{Incremental: true}.Append(nil)), 64)
	var s Scanner
	b.SetBytes(int64(len(stream)))
	b.ReportAllocs()
	for b.Loop() {
		for p := stream; len(p) > 0; {
			part, err := s.Next(p)
			if err != nil {
				b.Fatal(err)
			}
			p = p[len(part.Data):]
		}
	}
}
