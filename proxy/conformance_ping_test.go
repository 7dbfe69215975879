package proxy

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

func TestConformancePings(t *testing.T) {
	var ten []byte
	var tenPongs []string
	for i := range 10 {
		payload := fmt.Sprintf("ping %d", i)
		ten, tenPongs = append(ten, pingFrame(payload)...), append(tenPongs, payload)
	}
	full := string(pattern(maxControl))
	conform(t, []conformanceCase{
		{name: "empty", sends: pingFrame(""), pongs: []string{""}},
		{name: "with text", sends: pingFrame("hello"), pongs: []string{"hello"}},
		{name: "with bytes that are no text", sends: pingFrame("\x00\xff\xfe\xfd\xfc\xfb\x00\xff"), pongs: []string{"\x00\xff\xfe\xfd\xfc\xfb\x00\xff"}},
		{name: "124 bytes", sends: pingFrame(full[1:]), pongs: []string{full[1:]}},
		{name: "125 bytes", sends: pingFrame(full), pongs: []string{full}},
		{name: "126 bytes", sends: pingFrame(full + "x"), ends: ProtocolError},
		{name: "65536 bytes", sends: pingFrame(strings.Repeat("x", 65536)), ends: ProtocolError},
		{name: "ten at once", sends: ten, pongs: tenPongs},
		{name: "fragmented", sends: join(clientFrame(false, opPing, []byte("a")), clientFrame(true, opContinuation, []byte("b"))), ends: ProtocolError},
		{name: "between messages", sends: join(binaryFrame("one"), pingFrame("p"), binaryFrame("two"), pingFrame("q"), binaryFrame("three")),
			echo: []byte("onetwothree"), pongs: []string{"p", "q"}},
		{name: "the same payload again and again", sends: join(pingFrame("p"), pingFrame("p"), pingFrame("p")), pongs: []string{"p", "p", "p"}},
		{name: "before a breach", sends: join(binaryFrame("good"), pingFrame("p"), changed(pingFrame("q"), 0x40)), echo: []byte("good"), pongs: []string{"p"}, ends: ProtocolError},
	})
}

func TestConformancePongs(t *testing.T) {
	full := string(pattern(maxControl))
	conform(t, []conformanceCase{
		{name: "nobody asked", sends: join(pongFrame("unasked"), binaryFrame("good")), echo: []byte("good")},
		{name: "nobody asked, empty", sends: join(pongFrame(""), binaryFrame("good")), echo: []byte("good")},
		{name: "nobody asked, 125 bytes", sends: join(pongFrame(full), binaryFrame("good")), echo: []byte("good")},
		{name: "like a ping of the edge, of the future", sends: join(pongFrame("\xff\xff\xff\xff\xff\xff\xff\xff"), binaryFrame("good")), echo: []byte("good")},
		{name: "many, and a ping", sends: join(pongFrame("a"), pongFrame("b"), pingFrame("c"), pongFrame("d")), pongs: []string{"c"}},
		{name: "126 bytes", sends: pongFrame(full + "x"), ends: ProtocolError},
		{name: "fragmented", sends: clientFrame(false, opPong, []byte("a")), ends: ProtocolError},
	})
}

// TestFloodsOfPingsAreAnsweredInPart: the newest of them always.
func TestFloodsOfPingsAreAnsweredInPart(t *testing.T) {
	transports(t, func(t *testing.T, options ...edgeOption) {
		server := startVNC(t, echo)
		e := startEdge(t, Options{}, server.addr, options...)
		v := e.viewRaw()
		v.exchangeGreetings()
		const pings = 10_000
		v.write(join(bytes.Repeat(pingFrame(""), pings), pingFrame("last"), binaryFrame("word")))
		pongs, last, heard := 0, false, false
		for !last || !heard {
			switch op, payload := v.frame(); op {
			case opPong:
				pongs++
				last = last || string(payload) == "last"
			case opBinary:
				heard = string(payload) == "word"
			}
		}
		if pongs > pings/10 { // one is enough where all come in one read
			t.Errorf("%d pongs to %d pings", pongs, pings)
		}
	})
}
