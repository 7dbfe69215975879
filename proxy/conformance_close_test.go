package proxy

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
)

func leaving(code uint16, text string) []byte {
	return clientFrame(true, opClose, append(binary.BigEndian.AppendUint16(nil, code), text...))
}

func TestConformanceCloseCodes(t *testing.T) {
	var cases []conformanceCase
	for _, code := range []uint16{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999} {
		cases = append(cases, conformanceCase{
			name: fmt.Sprintf("%d is answered with itself", code), sends: join(binaryFrame("good"), leaving(code, "bye")),
			echo: []byte("good"), ends: ViewerLeft, code: code, left: true,
		})
	}
	for _, code := range []uint16{0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535} {
		cases = append(cases, conformanceCase{
			name: fmt.Sprintf("%d may not be sent", code), sends: join(binaryFrame("good"), leaving(code, "bye")),
			echo: []byte("good"), ends: ProtocolError, left: true,
		})
	}
	conform(t, cases)
}

func TestConformanceCloseFrames(t *testing.T) {
	bye := leaving(1000, "bye")
	left := func(name string, sends []byte) conformanceCase {
		return conformanceCase{name: name, sends: sends, ends: ViewerLeft, left: true}
	}
	wrong := func(name string, sends []byte) conformanceCase {
		return conformanceCase{name: name, sends: sends, ends: ProtocolError, left: true}
	}
	cases := []conformanceCase{
		left("without a code", clientFrame(true, opClose, nil)),
		left("without words", leaving(1000, "")),
		left("with words", bye),
		left("with words in several languages", leaving(1000, "κόσμε 漢字 🖥")),
		left("with 123 bytes of words", leaving(1000, strings.Repeat("x", 123))),
		wrong("with half a code", clientFrame(true, opClose, []byte{0x03})),
		wrong("with 124 bytes of words", leaving(1000, strings.Repeat("x", 124))),
		wrong("fragmented", clientFrame(false, opClose, []byte{0x03, 0xE8})),
		wrong("with words that are no UTF-8", leaving(1000, "bad \xff end")),
		wrong("with words that are cut off", leaving(1000, "\xe6\xbc")),
		wrong("with a surrogate", leaving(1000, "\xed\xa0\x80")),
		wrong("with words of a longer form", leaving(1000, "\xc0\xaf")),

		left("and a message behind", join(bye, binaryFrame("late"))),
		left("and a ping behind", join(bye, pingFrame("late"))),
		left("and a pong behind", join(bye, pongFrame("late"))),
		left("twice", join(bye, bye)),
		left("twice, then with another code", join(bye, leaving(1001, "again"))),
		left("and a breach behind", join(bye, changed(pingFrame("late"), 0x40))),
		left("and text behind", join(bye, clientFrame(true, opText, []byte("late")))),
		left("and half a frame behind", join(bye, binaryFrame("late")[:3])),
		left("and bytes behind that are no frames", join(bye, []byte("GET / HTTP/1.1\r\n\r\n"))),
		left("and much behind", join(bye, clientFrame(true, opBinary, pattern(1<<20)))),
		wrong("wrong, and much behind", join(leaving(1005, ""), clientFrame(true, opBinary, pattern(1<<20)))),
	}
	before := left("behind messages and a ping", join(binaryFrame("one"), pingFrame("p"), binaryFrame("two"), bye))
	before.echo, before.pongs = []byte("onetwo"), []string{"p"}
	conform(t, append(cases, before))
}

// Whoever closes first, the other answers, and the edge closes the connection.
func TestConformanceEdgeClosesFirst(t *testing.T) {
	transports(t, func(t *testing.T, options ...edgeOption) {
		for name, answer := range map[string][]byte{
			"answered with the code":         nil, // rawViewer's own
			"answered with another code":     leaving(4000, "mine"),
			"answered without a code":        clientFrame(true, opClose, nil),
			"answered wrongly":               leaving(1005, ""),
			"messages before the answer":     join(binaryFrame("late"), pingFrame("late"), binaryFrame("late"), leaving(1000, "")),
			"a message's end and the answer": join(clientFrame(true, opContinuation, []byte("late")), leaving(1000, "")),
			"a breach as the answer":         []byte{0xFF, 0xFF, 0xFF},
		} {
			t.Run(name, func(t *testing.T) {
				c := startConformance(t, options...)
				v := c.viewRaw()
				v.exchangeGreetings()
				v.write(clientFrame(false, opBinary, []byte("early")))
				for got := ""; got != "early"; {
					if op, b := v.frame(); op == opBinary {
						got += string(b)
					}
				}
				c.End("session-1", TakenDown)
				op, b := v.frame()
				for ; op == opPing; op, b = v.frame() {
				}
				if code, text, _ := parseClose(b); op != opClose || code != TakenDown.Info().Close || !strings.HasPrefix(text, string(TakenDown)) {
					t.Fatalf("frame %x %q", op, b)
				}
				v.early = []frame{{op, b}}
				if answer != nil {
					v.leaving = true
					v.write(answer)
				}
				v.wantClose(TakenDown)
				if got := <-c.received; string(got) != "early" {
					t.Errorf("the server received %q", got)
				}
				c.wantEnd(TakenDown, phaseRelay)
			})
		}
	})
}

// Both close frames cross: each side has its own and takes the other's for the
// answer.
func TestConformanceBothClose(t *testing.T) {
	transports(t, func(t *testing.T, options ...edgeOption) {
		c := startConformance(t, options...)
		v := c.viewRaw()
		v.exchangeGreetings()
		v.leave([]byte{0x0F, 0xA1})
		c.End("session-1", TakenDown)
		code, text := v.closed()
		switch {
		case code == 4001 && strings.HasPrefix(text, string(ViewerLeft)):
		case code == TakenDown.Info().Close && strings.HasPrefix(text, string(TakenDown)):
		default:
			t.Errorf("%d %q", code, text)
		}
		c.ends(1)
	})
}
