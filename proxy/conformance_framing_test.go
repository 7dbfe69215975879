package proxy

import (
	"encoding/binary"
	"fmt"
	"testing"
)

func TestConformanceFraming(t *testing.T) {
	var cases []conformanceCase
	for _, n := range []int{0, 1, 125, 126, 127, 128, 65535, 65536, 65537, 200_000} {
		payload := pattern(n)
		cases = append(cases, conformanceCase{
			name: fmt.Sprintf("%d bytes", n), sends: clientFrame(true, opBinary, payload), echo: payload,
		})
	}
	cases = append(cases,
		conformanceCase{name: "messages in a row", sends: join(binaryFrame("one"), binaryFrame("two"), binaryFrame("three")), echo: []byte("onetwothree")},
		conformanceCase{name: "empty messages between others", sends: join(binaryFrame(""), binaryFrame("a"), binaryFrame(""), binaryFrame(""), binaryFrame("b")), echo: []byte("ab")},
		conformanceCase{name: "a mask of zeroes", sends: append([]byte{0x82, 0x83, 0, 0, 0, 0}, "abc"...), echo: []byte("abc")},
	)
	conform(t, cases)
}

// long is a frame's header with a length in 64 bits.
func long(n uint64) []byte {
	return append(binary.BigEndian.AppendUint64([]byte{0x82, 0xFF}, n), 1, 2, 3, 4)
}

func TestConformanceLengths(t *testing.T) {
	short := func(n uint16) []byte {
		return append(binary.BigEndian.AppendUint16([]byte{0x82, 0xFE}, n), 0, 0, 0, 0)
	}
	var cases []conformanceCase
	for name, test := range map[string]struct {
		header []byte
		ends   Reason
	}{
		"2^63":                    {long(1 << 63), ProtocolError},
		"2^64-1":                  {long(1<<64 - 1), ProtocolError},
		"2^63-1":                  {long(1<<63 - 1), MessageTooBig},
		"2^32":                    {long(1 << 32), MessageTooBig},
		"16 MiB and one":          {long(maxMessage + 1), MessageTooBig},
		"0 in 16 bits":            {short(0), ProtocolError},
		"125 in 16 bits":          {append(short(125), make([]byte, 125)...), ProtocolError},
		"0 in 64 bits":            {long(0), ProtocolError},
		"126 in 64 bits":          {append(long(126), make([]byte, 126)...), ProtocolError},
		"65535 in 64 bits":        {append(long(65535), make([]byte, 100)...), ProtocolError},
		"a ping of 2^63":          {append([]byte{0x89}, long(1 << 63)[1:]...), ProtocolError},
		"a continuation of 2^63":  {append([]byte{0x80}, long(1 << 63)[1:]...), ProtocolError},
		"2^63 with much behind":   {append(long(1<<63), make([]byte, 1<<20)...), ProtocolError},
		"2^63-1 with much behind": {append(long(1<<63-1), make([]byte, 1<<20)...), MessageTooBig},
	} {
		cases = append(cases, conformanceCase{name: name, sends: join(binaryFrame("good"), test.header), echo: []byte("good"), ends: test.ends})
	}
	conform(t, cases)
}

func TestConformanceMasks(t *testing.T) {
	unmasked := func(op opcode, payload string) []byte { return controlFrame(op, []byte(payload)) }
	var cases []conformanceCase
	for name, frame := range map[string][]byte{
		"an unmasked message":       unmasked(opBinary, "bad"),
		"an unmasked empty message": unmasked(opBinary, ""),
		"an unmasked ping":          unmasked(opPing, "bad"),
		"an unmasked pong":          unmasked(opPong, "bad"),
		"an unmasked close frame":   unmasked(opClose, "\x03\xE8"),
		"no frames at all":          []byte("GET / HTTP/1.1\r\nHost: edge\r\n\r\n"),
	} {
		cases = append(cases, conformanceCase{name: name, sends: join(binaryFrame("good"), frame, binaryFrame("late")), echo: []byte("good"), ends: ProtocolError})
	}
	conform(t, cases)
}

func TestConformanceReservedBits(t *testing.T) {
	var cases []conformanceCase
	for bits := byte(0x10); bits <= 0x70; bits += 0x10 {
		for name, frame := range map[string][]byte{
			"a message":       binaryFrame("bad"),
			"an empty one":    binaryFrame(""),
			"a text message":  clientFrame(true, opText, []byte("bad")),
			"a ping":          pingFrame("bad"),
			"a pong":          pongFrame("bad"),
			"a close frame":   clientFrame(true, opClose, []byte{0x03, 0xE8}),
			"a long message":  clientFrame(true, opBinary, pattern(70_000)),
			"a continuation":  clientFrame(true, opContinuation, []byte("bad")),
			"a first of many": clientFrame(false, opBinary, []byte("bad")),
		} {
			cases = append(cases, conformanceCase{
				name: fmt.Sprintf("bits %03b of %s", bits>>4, name), ends: ProtocolError,
				sends: join(binaryFrame("good"), changed(frame, bits), pingFrame("late")), echo: []byte("good"),
			})
		}
	}
	cases = append(cases, conformanceCase{
		name: "a bit of the second fragment", ends: ProtocolError, echo: []byte("first"),
		sends: join(clientFrame(false, opBinary, []byte("first")), changed(clientFrame(true, opContinuation, []byte("bad")), 0x40)),
	})
	conform(t, cases)
}

func TestConformanceOpcodes(t *testing.T) {
	var cases []conformanceCase
	for _, op := range []opcode{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		for name, frame := range map[string][]byte{
			"empty":        clientFrame(true, op, nil),
			"with payload": clientFrame(true, op, []byte("bad")),
			"fragmented":   clientFrame(false, op, []byte("bad")),
		} {
			cases = append(cases, conformanceCase{
				name: fmt.Sprintf("%d %s, in the middle", op, name), ends: ProtocolError, pongs: []string{"before"},
				sends: join(binaryFrame("good"), pingFrame("before"), frame, pingFrame("late"), binaryFrame("late")), echo: []byte("good"),
			})
		}
		cases = append(cases,
			conformanceCase{name: fmt.Sprintf("%d first", op), sends: clientFrame(true, op, nil), ends: ProtocolError},
			conformanceCase{
				name: fmt.Sprintf("%d between fragments", op), ends: ProtocolError, echo: []byte("good"),
				sends: join(clientFrame(false, opBinary, []byte("good")), clientFrame(true, op, nil), clientFrame(true, opContinuation, []byte("late"))),
			})
	}
	conform(t, cases)
}
