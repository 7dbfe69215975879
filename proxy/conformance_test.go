package proxy

import (
	"bytes"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
)

// The conformance suite holds the real server, over sockets, to RFC 6455. Its
// groups are those of the field's public suites for servers: framing, pings and
// pongs, reserved bits, opcodes, fragmentation, text, closing, limits and the
// opening handshake. Each case is what a viewer sends behind the greetings and
// what has to come of it. It runs with its bytes in one write, and again with
// each piece of them in a write of its own.
type conformanceCase struct {
	name  string
	sends []byte
	echo  []byte   // what the VNC server must get; it comes back while the stream lasts
	pongs []string // their payloads, in order; see pongsAnswer
	ends  Reason   // why the edge closes; empty: it does not, and the viewer leaves
	code  uint16   // of the edge's close frame; 0: the reason's
	left  bool     // sends has the viewer's close frame
}

// conformance is an edge in front of an RFB server that echoes.
type conformance struct {
	*edge
	received chan []byte // what the server got behind the greeting, told when its connection ends
}

func startConformance(t *testing.T, options ...edgeOption) *conformance {
	c := &conformance{received: make(chan []byte, 1)}
	server := startVNC(t, func(conn net.Conn) {
		var got []byte
		defer func() {
			select {
			case c.received <- got:
			default: // nobody asked for the last one's: its case has failed
			}
		}()
		b := make([]byte, 64<<10)
		for {
			n, err := conn.Read(b)
			got = append(got, b[:n]...)
			if err != nil {
				return
			}
			_, _ = conn.Write(b[:n])
		}
	})
	c.edge = startEdge(t, Options{}, server.addr, options...)
	return c
}

// conform runs cases over every transport.
func conform(t *testing.T, cases []conformanceCase) {
	transports(t, func(t *testing.T, options ...edgeOption) {
		c := startConformance(t, options...)
		for _, test := range cases {
			t.Run(test.name, func(t *testing.T) { c.check(t, test, len(test.sends)) })
			t.Run(test.name+", chopped", func(t *testing.T) { c.check(t, test, pieceOf(test.sends)) })
		}
	})
}

// pieceOf is one octet, unless that would be thousands of writes.
func pieceOf(b []byte) int {
	if len(b) <= 300 {
		return 1
	}
	return len(b)/100 + 1
}

func (c *conformance) check(t *testing.T, test conformanceCase, piece int) {
	v := c.viewRaw()
	v.t = t
	v.exchangeGreetings()
	var writer sync.WaitGroup
	defer writer.Wait()
	writer.Go(func() {
		for part := range slices.Chunk(test.sends, max(piece, 1)) {
			if _, err := v.Write(part); err != nil {
				t.Errorf("sending: %v", err)
				return
			}
		}
	})
	v.leaving = test.left
	var got []byte
	var pongs []string
	for {
		if test.ends == "" && !v.leaving && len(got) >= len(test.echo) && pongsAnswer(test.pongs, pongs) {
			writer.Wait()
			v.leave([]byte{0x03, 0xE8})
		}
		op, payload := v.frame()
		switch op {
		case opBinary:
			got = append(got, payload...)
		case opPong:
			pongs = append(pongs, string(payload))
		case opPing:
		case opClose:
			writer.Wait()
			v.early = []frame{{op, payload}}
			c.checkEnd(t, v, test, got, pongs)
			return
		default:
			t.Fatalf("frame %x %q", op, payload)
		}
	}
}

func (c *conformance) checkEnd(t *testing.T, v *rawViewer, test conformanceCase, got []byte, pongs []string) {
	t.Helper()
	reason := test.ends
	if reason == "" {
		reason = ViewerLeft
	}
	want := reason.Info().Close
	if test.code != 0 {
		want = test.code
	}
	code, text := v.closed()
	if code != want || !bytes.HasPrefix([]byte(text), []byte(reason+": ")) {
		t.Errorf("closed with %d %q, not with %d for %s", code, text, want, reason)
	}
	if complete := test.ends == ""; complete && !bytes.Equal(got, test.echo) || !bytes.HasPrefix(test.echo, got) {
		t.Errorf("%s came back of %s", shown(got), shown(test.echo))
	}
	if !pongsAnswer(test.pongs, pongs) {
		t.Errorf("pongs %q, not %q", pongs, test.pongs)
	}
	if received := <-c.received; !bytes.Equal(received, test.echo) {
		t.Errorf("the server received %s, not %s", shown(received), shown(test.echo))
	}
}

// pongsAnswer tells whether got answers pings: in order, the last one always,
// while others may be left out (RFC 6455 section 5.5.3).
func pongsAnswer(pings, got []string) bool {
	if len(pings) == 0 || len(got) == 0 {
		return len(pings) == len(got)
	}
	last := got[len(got)-1] == pings[len(pings)-1]
	for _, ping := range pings {
		if len(got) > 0 && got[0] == ping {
			got = got[1:]
		}
	}
	return last && len(got) == 0
}

func shown(b []byte) string {
	if len(b) > 60 {
		return fmt.Sprintf("%d bytes (%q…)", len(b), b[:20])
	}
	return fmt.Sprintf("%q", b)
}

// pattern is n bytes that are not all alike.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*31 + i>>8)
	}
	return b
}

func binaryFrame(payload string) []byte { return clientFrame(true, opBinary, []byte(payload)) }
func pingFrame(payload string) []byte   { return clientFrame(true, opPing, []byte(payload)) }
func pongFrame(payload string) []byte   { return clientFrame(true, opPong, []byte(payload)) }

// changed is a frame whose first byte has more bits.
func changed(frame []byte, bits byte) []byte {
	frame[0] |= bits
	return frame
}

func join(frames ...[]byte) []byte { return bytes.Join(frames, nil) }
