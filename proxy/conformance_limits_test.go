package proxy

import (
	"bytes"
	"encoding/binary"
	"io"
	"slices"
	"testing"
)

// TestConformanceLimits: the largest message passes in one frame and in many,
// and one byte more does not.
func TestConformanceLimits(t *testing.T) {
	payload := bytes.Repeat(pattern(1<<16), maxMessage>>16)
	var small []byte
	for i := range 5000 {
		small = append(small, clientFrame(true, opBinary, binary.BigEndian.AppendUint32(nil, uint32(i)))...)
	}
	var tiny []byte
	for range 20_000 {
		tiny = append(tiny, clientFrame(false, opBinary, nil)...)
		tiny = append(tiny, clientFrame(true, opContinuation, []byte("x"))...)
	}
	numbers := make([]byte, 0, 4*5000)
	for i := range 5000 {
		numbers = binary.BigEndian.AppendUint32(numbers, uint32(i))
	}
	cases := []conformanceCase{
		{name: "16 MiB in one frame", sends: clientFrame(true, opBinary, payload), echo: payload},
		{name: "16 MiB in fragments of 64 KiB", sends: fragments(payload, 64<<10, nil), echo: payload},
		{name: "16 MiB in fragments of 1000 bytes with pings", sends: fragments(payload, 1000, pingFrame("p")), echo: payload, pongs: slices.Repeat([]string{"p"}, (maxMessage-1)/1000)},
		{name: "5000 messages of 4 bytes", sends: small, echo: numbers},
		{name: "20000 messages of one byte with an empty fragment each", sends: tiny, echo: bytes.Repeat([]byte("x"), 20_000)},
		{
			name: "16 MiB and one byte in fragments", ends: MessageTooBig, echo: payload,
			sends: join(clientFrame(false, opBinary, payload), clientFrame(true, opContinuation, []byte("x"))),
		},
	}
	transports(t, func(t *testing.T, options ...edgeOption) {
		c := startConformance(t, options...)
		for _, test := range cases {
			t.Run(test.name, func(t *testing.T) { c.check(t, test, len(test.sends)) })
		}
	})
}

// TestConformanceLargeUpdates: what the server sends comes as whole messages
// whatever its size, each in one frame with a length of the shortest form;
// rawViewer.read checks the rest of the header.
func TestConformanceLargeUpdates(t *testing.T) {
	transports(t, func(t *testing.T, options ...edgeOption) {
		const size = 8 << 20
		server, _ := startRandom(t)
		e := startEdge(t, Options{}, server.addr, options...)
		v := e.viewRaw()
		v.exchangeGreetings()
		v.write(clientFrame(true, opBinary, streamRequest(3, size)))
		var got bytes.Buffer
		for got.Len() < size {
			if op, b := v.frame(); op == opBinary {
				got.Write(b)
			}
		}
		want, _ := io.ReadAll(randomBytes(3, size))
		if !bytes.Equal(got.Bytes(), want) {
			t.Error("the bytes are not the ones that were sent")
		}
		v.leave([]byte{0x03, 0xE8})
		if code, _ := v.closed(); code != 1000 && code != ServerClosed.Info().Close {
			t.Errorf("closed with %d", code)
		}
	})
}
