package rfb

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"
)

// filtered is what comes of a stream.
type filtered struct {
	kept  []byte
	human bool
	fails bool
}

// reference reads the whole stream as it is written in the protocol's
// description, one message after another.
func reference(stream []byte, policy Policy) (out filtered) {
	stream = bytes.Clone(stream)
	extendedButtons := false
	for len(stream) > 0 {
		have := func(n int) bool { return len(stream) >= n }
		length := -1 // not known yet
		human, inView, known := false, false, true
		switch stream[0] {
		case 0:
			length, inView = 20, true
		case 2:
			inView = true
			if have(4) {
				length = 4 + 4*int(binary.BigEndian.Uint16(stream[2:]))
				for i := 4; i+4 <= min(length, len(stream)); i += 4 {
					switch {
					case int32(binary.BigEndian.Uint32(stream[i:])) != -316:
					case policy == (Policy{}):
						extendedButtons = true
					default:
						binary.BigEndian.PutUint32(stream[i:], 0xfffffe80)
					}
				}
			}
		case 3:
			length, inView = 10, true
		case 4:
			length, human = 8, true
		case 5:
			human = true
			if have(2) {
				length = 6
				if extendedButtons && stream[1] >= 128 {
					length = 7
				}
			}
		case 6:
			if have(8) {
				length = int(int32(binary.BigEndian.Uint32(stream[4:])))
				length = 8 + max(length, -length)
			}
		case 150:
			length, inView = 10, true
		case 248:
			inView = true
			if have(9) {
				length = 9 + int(stream[8])
			}
		case 250:
			length = 4
		case 251:
			if have(7) {
				length = 8 + 16*int(stream[6])
			}
		case 253:
			if have(4) {
				length = 4 + int(stream[2]) + int(stream[3])<<8
				if stream[1] >= 128 {
					length = 4 + int(stream[3]) + int(stream[2])<<8
				}
			}
		case 255:
			switch {
			case have(2) && stream[1] == 0:
				length, human = 12, true
			case have(2) && stream[1] == 1:
				if have(4) {
					length = 4
					if stream[2] == 0 && stream[3] == 2 {
						length = 10
					}
				}
			case have(2):
				known = false
			}
		default:
			known = false
		}
		if !known {
			if policy == (Policy{}) {
				out.kept = append(out.kept, stream...)
				out.human = true
			} else {
				out.fails = true
			}
			return out
		}
		message := stream
		if length >= 0 && length < len(stream) {
			message = stream[:length]
		}
		stream = stream[len(message):]
		if policy.View && !inView || policy.NoClipboardIn && message[0] == 6 {
			continue
		}
		out.kept = append(out.kept, message...)
		out.human = out.human || human
	}
	return out
}

// filter feeds stream in pieces whose sizes next tells.
func filter(t testing.TB, stream []byte, policy Policy, next func() int) (out filtered) {
	t.Helper()
	f := Filter{Policy: policy}
	for rest := bytes.Clone(stream); len(rest) > 0; {
		piece := rest[:min(max(next(), 1), len(rest))]
		rest = rest[len(piece):]
		beyond := bytes.Clone(rest)
		kept, human, err := f.Pass(piece)
		if len(kept) > len(piece) || len(kept) > 0 && &kept[0] != &piece[0] || !bytes.Equal(beyond, rest) {
			t.Fatalf("%d bytes were kept of %d, elsewhere or too many", len(kept), len(piece))
		}
		out.kept = append(out.kept, kept...)
		out.human = out.human || human
		if err != nil {
			var unknown *UnknownMessageError
			if kept, human, again := f.Pass([]byte{3}); again != err || len(kept) != 0 || human || !errors.As(err, &unknown) {
				t.Fatalf("after %v came %q, %v, %v", err, kept, human, again)
			}
			out.fails = true
			return out
		}
	}
	return out
}

func (got filtered) equal(want filtered) bool {
	if got.fails && want.fails && len(got.kept) == len(want.kept)+1 {
		// The type of a QEMU message may have passed before its next byte was seen.
		got.kept = bytes.TrimSuffix(got.kept, []byte{byte(KindQEMU)})
	}
	return bytes.Equal(got.kept, want.kept) && got.human == want.human && got.fails == want.fails
}

func policies() []Policy {
	return []Policy{{}, {View: true}, {NoClipboardIn: true}, {View: true, NoClipboardIn: true}}
}

func TestFilterPassesWhatThePolicyAllows(t *testing.T) {
	input := []string{"key", "pointer", "QEMU key"}
	looks := []string{"SetPixelFormat", "SetEncodings", "no encodings", "update request", "continuous", "fence", "empty fence"}
	clipboard := []string{"cut text", "empty cut text", "extended"}
	for name, message := range messages() {
		for _, policy := range policies() {
			passes := !policy.View && !policy.NoClipboardIn || slices.Contains(looks, name) ||
				!policy.View && !slices.Contains(clipboard, name)
			want := filtered{human: passes && slices.Contains(input, name)}
			if passes {
				want.kept = message
			}
			if got := filter(t, message, policy, whole(len(message))); !got.equal(want) {
				t.Errorf("%s with %+v: %+v, want %+v", name, policy, got, want)
			}
			if got := reference(message, policy); !got.equal(want) {
				t.Errorf("the reference takes %s with %+v for %+v, want %+v", name, policy, got, want)
			}
		}
	}
}

func TestFilterDoesNotMindWhereTheStreamIsCut(t *testing.T) {
	var stream []byte
	for range 2 { // each message follows others, kept and dropped
		for _, m := range messages() {
			stream = append(stream, m...)
		}
	}
	stream = append(stream, hiddenPaste()...)
	stream = append(stream, PointerEvent{Buttons: 0x101}.AppendExtended(nil)...)
	stream = append(stream, UpdateRequest{}.Append(nil)...)
	for _, policy := range policies() {
		for _, end := range []string{"", "\x06\x00\x00", "\xff", "\x07unknown", "\xff\x09unknown"} {
			stream := append(bytes.Clone(stream), end...)
			want := reference(stream, policy)
			for size := range 40 {
				if got := filter(t, stream, policy, whole(size)); !got.equal(want) {
					t.Errorf("%+v, in pieces of %d: %+v, want %+v", policy, size, got, want)
				}
			}
			for cut := range len(stream) {
				first := true
				got := filter(t, stream, policy, func() int {
					if first {
						first = false
						return cut
					}
					return len(stream)
				})
				if !got.equal(want) {
					t.Errorf("%+v, cut at %d: %+v, want %+v", policy, cut, got, want)
				}
			}
		}
	}
}

func TestHugeClipboardIsDroppedWithoutMemory(t *testing.T) {
	for name, c := range map[string]struct {
		head   []byte
		length int64
	}{
		"text":     {[]byte{6, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff}, 1<<31 - 1},
		"extended": {[]byte{6, 0, 0, 0, 0x80, 0, 0, 0}, 1 << 31},
	} {
		t.Run(name, func(t *testing.T) {
			f := Filter{Policy: Policy{NoClipboardIn: true}}
			if kept, human, err := f.Pass(c.head); len(kept) != 0 || human || err != nil {
				t.Fatalf("%q, %v, %v", kept, human, err)
			}
			chunk := make([]byte, 16<<20)
			left := c.length
			if n := testing.AllocsPerRun(1, func() {
				for left > 0 {
					piece := chunk[:min(left, int64(len(chunk)))]
					if kept, _, err := f.Pass(piece); len(kept) != 0 || err != nil {
						t.Fatalf("%d bytes, %v", len(kept), err)
					}
					left -= int64(len(piece))
				}
			}); n != 0 {
				t.Errorf("%v allocations", n)
			}
			key := KeyEvent{Down: true}.Append(nil)
			if kept, human, err := f.Pass(bytes.Clone(key)); !bytes.Equal(kept, key) || !human || err != nil {
				t.Errorf("the key after it: %q, %v, %v", kept, human, err)
			}
		})
	}
}

// Without a policy a client may speak what it likes, and is never taken for idle.
func TestUnknownMessagesEndOnlyWhatCantBeEnforced(t *testing.T) {
	for _, policy := range policies() {
		f := Filter{Policy: policy}
		_, _, err := f.Pass([]byte{3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 127, 1})
		if (err == nil) != (policy == Policy{}) {
			t.Errorf("%+v: %v", policy, err)
		}
		if kept, human, err := f.Pass([]byte{6}); err == nil && (len(kept) != 1 || !human) {
			t.Errorf("%+v then keeps %q, %v", policy, kept, human)
		}
	}
}

func FuzzFilter(f *testing.F) {
	var all []byte
	for _, m := range messages() {
		f.Add(m, []byte{1}, true, false)
		all = append(all, m...)
	}
	for i, policy := range policies() {
		f.Add(all, []byte{byte(i), 7, 1}, policy.View, policy.NoClipboardIn)
	}
	f.Add([]byte{255, 7}, []byte{1}, false, true)
	f.Add([]byte{6, 0, 0, 0, 0x80, 0, 0, 0, 1, 2}, []byte{2}, true, true)
	f.Add(append(AppendSetEncodings(nil, EncodingExtendedMouseButtons), PointerEvent{Buttons: 0x181}.AppendExtended(nil)...), []byte{5}, false, true)
	f.Add(hiddenPaste(), []byte{7}, false, true)
	f.Add(hiddenPaste(), []byte{5, 1}, true, false)
	f.Fuzz(func(t *testing.T, stream, cuts []byte, view, noClipboardIn bool) {
		policy := Policy{View: view, NoClipboardIn: noClipboardIn}
		want := reference(stream, policy)
		if got := filter(t, stream, policy, whole(len(stream))); !got.equal(want) {
			t.Errorf("%+v: whole %+v, want %+v", policy, got, want)
		}
		at := 0
		got := filter(t, stream, policy, func() int {
			if len(cuts) == 0 {
				return 1
			}
			at++
			return int(cuts[at%len(cuts)])
		})
		if !got.equal(want) {
			t.Errorf("%+v, cut by %v: %+v, want %+v", policy, cuts, got, want)
		}
		for name, server := range servers() {
			for _, kind := range server.reads(got.kept) {
				if policy.drops(kind) {
					t.Errorf("%+v, cut by %v: a server with %s reads a %v in % x", policy, cuts, name, kind, got.kept)
				}
			}
		}
	})
}

func BenchmarkFilter(b *testing.B) {
	one := PointerEvent{Buttons: 1}.Append(UpdateRequest{Incremental: true}.Append(nil))
	for name, policy := range map[string]Policy{"all": {}, "view": {View: true}, "no clipboard": {NoClipboardIn: true}} {
		b.Run(name, func(b *testing.B) {
			stream := bytes.Repeat(one, 64)
			again := bytes.Clone(stream)
			f := Filter{Policy: policy}
			b.SetBytes(int64(len(stream)))
			b.ReportAllocs()
			for b.Loop() {
				copy(again, stream)
				if _, _, err := f.Pass(again); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestFilterAllocatesNothing(t *testing.T) {
	var stream []byte
	for _, m := range messages() {
		stream = append(stream, m...)
	}
	again := bytes.Clone(stream)
	for _, policy := range policies() {
		f := Filter{Policy: policy}
		if n := testing.AllocsPerRun(100, func() {
			copy(again, stream)
			if _, _, err := f.Pass(again); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%+v: %v allocations", policy, n)
		}
	}
}
