package bench

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// heard collects what frames carry.
type heard struct {
	bytes    []byte
	controls []string
}

func (h *heard) data(p []byte) error {
	h.bytes = append(h.bytes, p...)
	return nil
}

func (h *heard) control(op byte, p []byte) error {
	h.controls = append(h.controls, fmt.Sprintf("%x:%s", op, p))
	return nil
}

// feedIn gives p to a new reader in pieces of n bytes.
func feedIn(p []byte, n int, masked bool) (*heard, error) {
	h, r := &heard{}, frameReader{masked: masked}
	for len(p) > 0 {
		piece := bytes.Clone(p[:min(n, len(p))]) // unmasking changes it
		p = p[len(piece):]
		if err := r.feed(piece, h); err != nil {
			return h, err
		}
	}
	return h, nil
}

func TestFramesComeApartAgainHoweverTheyAreCut(t *testing.T) {
	pixels := newBlock(1)
	for _, masked := range []bool{false, true} {
		var stream, want []byte
		for _, size := range []int{0, 1, 125, 126, 127, 0xFFFF, 0x10000} {
			stream = append(appendFrameHead(stream, opBinary, size, masked), pixels[:size]...)
			want = append(want, pixels[:size]...)
			stream = append(appendFrameHead(stream, opPing, 2, masked), "hi"...)
		}
		for _, n := range []int{1, 3, 7, 1000, len(stream)} {
			got, err := feedIn(stream, n, masked)
			if err != nil {
				t.Fatalf("masked %t, in pieces of %d: %v", masked, n, err)
			}
			if !bytes.Equal(got.bytes, want) || len(got.controls) != 7 || got.controls[0] != "9:hi" {
				t.Errorf("masked %t, in pieces of %d: %d bytes of %d, controls %q", masked, n, len(got.bytes), len(want), got.controls)
			}
		}
	}
}

func TestAMaskIsTakenOff(t *testing.T) {
	stream := []byte{0x82, 0x85, 1, 2, 3, 4, 'h' ^ 1, 'e' ^ 2, 'l' ^ 3, 'l' ^ 4, 'o' ^ 1}
	for n := 1; n <= len(stream); n++ {
		if got, err := feedIn(stream, n, true); err != nil || string(got.bytes) != "hello" {
			t.Errorf("in pieces of %d: %q, %v", n, got.bytes, err)
		}
	}
}

func TestBrokenFramesAreRefused(t *testing.T) {
	for _, c := range []struct{ name, stream, want string }{
		{"reserved bit", "\xc2\x00", "reserved bit"},
		{"masked by a server", "\x82\x80abcd", "masked"},
		{"text", "\x81\x00", "opcode"},
		{"continuation of nothing", "\x80\x00", "out of order"},
		{"a message in a message", "\x02\x00\x82\x00", "out of order"},
		{"fragmented ping", "\x09\x00", "fragmented"},
		{"long ping", "\x89\x7e\x00\x80", "too long"},
		{"top bit of the length", "\x82\x7f\xff\x00\x00\x00\x00\x00\x00\x00", "top bit"},
		{"close", "\x88\x02\x03\xf4", "code 1012"},
	} {
		_, err := feedIn([]byte(c.stream), 1, false)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if closed := errors.Is(err, errClosed); closed != (c.name == "close") {
			t.Errorf("%s: is a close: %t", c.name, closed)
		}
	}
}

func FuzzFrameReader(f *testing.F) {
	f.Add([]byte("\x82\x05hello\x89\x01!\x02\x01a\x80\x01b\x88\x00"), 3, false)
	f.Add([]byte("\x82\x85\x01\x02\x03\x04abcde"), 1, true)
	f.Add([]byte("\x82\x7e\x00\x7eshort"), 2, false)
	f.Fuzz(func(t *testing.T, stream []byte, n int, masked bool) {
		if n < 1 {
			return
		}
		whole, wholeErr := feedIn(stream, len(stream)+1, masked)
		pieces, piecesErr := feedIn(stream, n, masked)
		if !bytes.Equal(whole.bytes, pieces.bytes) || fmt.Sprint(whole.controls, wholeErr) != fmt.Sprint(pieces.controls, piecesErr) {
			t.Errorf("at once: %q %q %v; in pieces of %d: %q %q %v", whole.bytes, whole.controls, wholeErr, n, pieces.bytes, pieces.controls, piecesErr)
		}
	})
}
