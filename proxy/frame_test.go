package proxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"testing"
)

func TestHeadersThatBreakTheRules(t *testing.T) {
	long := func(n uint64, more ...byte) []byte {
		return append(binary.BigEndian.AppendUint64([]byte{0x82, 0xFF}, n), more...)
	}
	for name, test := range map[string]struct {
		b      []byte
		reason Reason
	}{
		"not masked":                     {[]byte{0x82, 0x05}, ProtocolError},
		"first reserved bit":             {[]byte{0xC2, 0x85}, ProtocolError},
		"last reserved bit":              {[]byte{0x92, 0x85}, ProtocolError},
		"reserved data opcode":           {[]byte{0x83, 0x85}, ProtocolError},
		"reserved control opcode":        {[]byte{0x8B, 0x85}, ProtocolError},
		"fragmented ping":                {[]byte{0x09, 0x80}, ProtocolError},
		"ping of 126 bytes":              {[]byte{0x89, 0xFE, 0, 126}, ProtocolError},
		"2^63 bytes":                     {long(1 << 63), ProtocolError},
		"2^64-1 bytes":                   {long(math.MaxUint64), ProtocolError},
		"2^63-1 bytes":                   {long(math.MaxInt64, 0, 0, 0, 0), MessageTooBig},
		"one byte more than a message":   {long(maxMessage+1, 0, 0, 0, 0), MessageTooBig},
		"64 bits for 65535":              {long(0xFFFF), ProtocolError},
		"16 bits for 125":                {[]byte{0x82, 0xFE, 0, 125}, ProtocolError},
		"text":                           {[]byte{0x81, 0x80, 0, 0, 0, 0}, TextFrame},
		"continuation of nothing":        {[]byte{0x80, 0x80, 0, 0, 0, 0}, ProtocolError},
		"message inside a message":       {[]byte{0x02, 0x80, 0, 0, 0, 0, 0x82, 0x80, 0, 0, 0, 0}, ProtocolError},
		"too much in several fragments":  {append([]byte{0x02, 0x81, 0, 0, 0, 0, 'x'}, append([]byte{0x80}, long(maxMessage, 0, 0, 0, 0)[1:]...)...), MessageTooBig},
		"text continued in a later part": {[]byte{0x02, 0x80, 0, 0, 0, 0, 0x01, 0x80, 0, 0, 0, 0}, TextFrame},
	} {
		t.Run(name, func(t *testing.T) {
			var d decoder
			_, err := d.decode(bytes.Clone(test.b), controlFunc(ignoreControl))
			var fault *frameError
			if !errors.As(err, &fault) || fault.reason != test.reason {
				t.Errorf("%x: %v, not %s", test.b, err, test.reason)
			}
		})
	}
}

func ignoreControl(opcode, []byte) error { return nil }

func TestLengthsAtTheirLimitsSurviveEncodingAndDecoding(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 127, 0xFFFF, 0x10000, maxMessage} {
		payload := bytes.Repeat([]byte{0x5A}, n)
		b := append(make([]byte, headerRoom), payload...)
		frame := b[putHeader(b, opBinary, n):]
		// A server's frame is a client's but for the mask.
		masked := clientFrame(true, opBinary, payload)
		h, size, err := parseHeader(masked)
		if err != nil || h.length != int64(n) || !h.fin || h.op != opBinary || size != len(masked)-n {
			t.Errorf("%d: %+v, %d, %v", n, h, size, err)
		}
		if want := size - 4; len(frame)-n != want || frame[0] != masked[0] || frame[1] != masked[1]&^maskBit || !bytes.Equal(frame[2:want], masked[2:want]) {
			t.Errorf("%d: server's header %x", n, frame[:len(frame)-n])
		}
	}
}

func TestCloseCodes(t *testing.T) {
	for code, valid := range map[uint16]bool{
		0: false, 999: false, 1000: true, 1003: true, 1004: false, 1005: false, 1006: false, 1007: true, 1014: true,
		1015: false, 1016: false, 2999: false, 3000: true, 4999: true, 5000: false, 65535: false,
	} {
		if _, _, err := parseClose(binary.BigEndian.AppendUint16(nil, code)); (err == nil) != valid {
			t.Errorf("%d: %v", code, err)
		}
	}
	if code, _, err := parseClose(nil); code != statusMissing || err != nil {
		t.Errorf("no code: %d, %v", code, err)
	}
	if _, _, err := parseClose([]byte{3}); err == nil {
		t.Error("half a code is taken")
	}
	if _, _, err := parseClose([]byte{0x03, 0xE8, 0xFF}); err == nil {
		t.Error("text that is not UTF-8 is taken")
	}
}

func FuzzFrameHeader(f *testing.F) {
	f.Add(clientFrame(true, opBinary, []byte("hello")))
	f.Add(clientFrame(false, opBinary, make([]byte, 300)))
	f.Add(binary.BigEndian.AppendUint64([]byte{0x82, 0xFF}, 1<<63))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, size, err := parseHeader(b)
		switch {
		case errors.Is(err, errShortHeader):
			if len(b) >= maxHeader {
				t.Fatalf("%d bytes are not enough", len(b))
			}
		case err == nil:
			if size < 6 || size > min(maxHeader, len(b)) || h.length < 0 {
				t.Fatalf("%+v, %d", h, size)
			}
			// No shorter piece of it is a header, and no other length writes the same.
			for i := range size {
				if _, _, err := parseHeader(b[:i]); !errors.Is(err, errShortHeader) {
					t.Fatalf("%d of %d bytes: %v", i, size, err)
				}
			}
			room := make([]byte, headerRoom)
			if start := putHeader(room, h.op, int(h.length)); headerRoom-start != size-4 {
				t.Fatalf("a header for %d takes %d bytes, not %d", h.length, headerRoom-start, size-4)
			}
		}
	})
}

func naiveUnmask(b []byte, mask [4]byte, offset int64) {
	for i := range b {
		b[i] ^= mask[(offset+int64(i))%4]
	}
}

func FuzzUnmask(f *testing.F) {
	f.Add([]byte("some bytes that are longer than thirty-two of them are"), uint32(0x01020304), int64(3), uint8(1))
	f.Fuzz(func(t *testing.T, b []byte, key uint32, offset int64, skip uint8) {
		if offset < 0 || int(skip) > len(b) {
			return
		}
		var mask [4]byte
		binary.BigEndian.PutUint32(mask[:], key)
		want := bytes.Clone(b)
		naiveUnmask(want[skip:], mask, offset)
		unmask(b[skip:], mask, offset)
		if !bytes.Equal(b, want) {
			t.Fatalf("%x, not %x", b, want)
		}
	})
}

// decodeNaively is the framing rules again, on the whole input and slowly.
func decodeNaively(b []byte) (payload []byte, controls int, fault bool) {
	inMessage, total := false, int64(0)
	for {
		h, size, err := parseHeader(b)
		if err != nil {
			return payload, controls, !errors.Is(err, errShortHeader)
		}
		if !h.op.control() {
			if h.op == opText || (h.op == opBinary) == inMessage {
				return payload, controls, true
			}
			if h.op == opBinary {
				total = 0
			}
			if total += h.length; total > maxMessage {
				return payload, controls, true
			}
			inMessage = !h.fin
		}
		body := bytes.Clone(b[size:min(int64(len(b)), int64(size)+h.length)])
		naiveUnmask(body, h.mask, 0)
		switch {
		case !h.op.control():
			payload = append(payload, body...)
		case int64(len(body)) == h.length:
			controls++
		}
		if int64(len(body)) < h.length {
			return payload, controls, false
		}
		b = b[size+len(body):]
	}
}

func FuzzDecoder(f *testing.F) {
	var all []byte
	for _, frame := range [][]byte{
		clientFrame(false, opBinary, []byte("one")), clientFrame(true, opPing, []byte("p")), clientFrame(true, opContinuation, nil),
		clientFrame(true, opBinary, make([]byte, 200)), clientFrame(true, opClose, []byte{3, 232}), clientFrame(true, opText, []byte("text")),
	} {
		all = append(all, frame...)
	}
	f.Add(all, uint8(3))
	f.Add([]byte{0x82, 0x80, 0, 0, 0, 0}, uint8(1))
	f.Fuzz(func(t *testing.T, b []byte, step uint8) {
		want, controls, fault := decodeNaively(b)
		var d decoder
		var got []byte
		var err error
		count := 0
		rest := bytes.Clone(b)
		for len(rest) > 0 && err == nil {
			piece := rest[:min(len(rest), int(step)+1)]
			rest = rest[len(piece):]
			var n int
			n, err = d.decode(piece, controlFunc(func(opcode, []byte) error { count++; return nil }))
			got = append(got, piece[:n]...)
		}
		if !bytes.Equal(got, want) || (err != nil) != fault || count != controls {
			t.Fatalf("%x, %d controls, %v; naively %x, %d, %v", got, count, err, want, controls, fault)
		}
	})
}

// controlFunc takes control frames with a function.
type controlFunc func(op opcode, payload []byte) error

func (f controlFunc) takeControl(op opcode, payload []byte) error { return f(op, payload) }
