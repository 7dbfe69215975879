package proxy

import (
	"slices"
	"testing"
)

// fragments is payload in frames of size bytes each, with between before every
// frame but the first.
func fragments(payload []byte, size int, between []byte) (all []byte) {
	op := opBinary
	for len(payload) > size {
		all = append(append(all, clientFrame(false, op, payload[:size])...), between...)
		op, payload = opContinuation, payload[size:]
	}
	return append(all, clientFrame(true, op, payload)...)
}

func TestConformanceFragments(t *testing.T) {
	first := func(payload string) []byte { return clientFrame(false, opBinary, []byte(payload)) }
	middle := func(payload string) []byte { return clientFrame(false, opContinuation, []byte(payload)) }
	last := func(payload string) []byte { return clientFrame(true, opContinuation, []byte(payload)) }
	payload := pattern(10_000)
	conform(t, []conformanceCase{
		{name: "two", sends: join(first("one"), last("two")), echo: []byte("onetwo")},
		{name: "three", sends: join(first("one"), middle("two"), last("three")), echo: []byte("onetwothree")},
		{name: "one octet each", sends: fragments([]byte("message"), 1, nil), echo: []byte("message")},
		{name: "many", sends: fragments(payload, 100, nil), echo: payload},
		{name: "two messages", sends: join(first("a"), last("b"), first("c"), last("d")), echo: []byte("abcd")},
		{name: "all empty", sends: join(first(""), middle(""), last(""), binaryFrame("good")), echo: []byte("good")},
		{name: "empty first", sends: join(first(""), last("good")), echo: []byte("good")},
		{name: "empty middle", sends: join(first("go"), middle(""), last("od")), echo: []byte("good")},
		{name: "empty last", sends: join(first("good"), last("")), echo: []byte("good")},
		{name: "a message without its end", sends: join(first("go"), middle("od")), echo: []byte("good")},

		{name: "a ping between", sends: join(first("one"), pingFrame("p"), last("two")), echo: []byte("onetwo"), pongs: []string{"p"}},
		{name: "a pong between", sends: join(first("one"), pongFrame("p"), last("two")), echo: []byte("onetwo")},
		{name: "pings between all", sends: fragments([]byte("message"), 1, pingFrame("p")), echo: []byte("message"), pongs: slices.Repeat([]string{"p"}, 6)},
		{name: "a ping of 125 bytes between", sends: join(first("one"), pingFrame(string(payload[:maxControl])), last("two")),
			echo: []byte("onetwo"), pongs: []string{string(payload[:maxControl])}},
		{name: "a close frame between", sends: join(first("one"), clientFrame(true, opClose, []byte{0x03, 0xE8}), last("late")),
			echo: []byte("one"), ends: ViewerLeft, left: true},
		{name: "a fragmented ping between", sends: join(first("one"), clientFrame(false, opPing, nil), last("late")), echo: []byte("one"), ends: ProtocolError},

		{name: "a last one without a message", sends: join(last("bad"), binaryFrame("late")), ends: ProtocolError},
		{name: "a middle one without a message", sends: join(middle("bad"), last("late")), ends: ProtocolError},
		{name: "an empty one without a message", sends: join(last(""), binaryFrame("late")), ends: ProtocolError},
		{name: "one more than the message has", sends: join(first("one"), last("two"), last("bad")), echo: []byte("onetwo"), ends: ProtocolError},
		{name: "one behind a whole message", sends: join(binaryFrame("good"), last("bad")), echo: []byte("good"), ends: ProtocolError},
		{name: "a whole message inside", sends: join(first("one"), binaryFrame("bad"), last("late")), echo: []byte("one"), ends: ProtocolError},
		{name: "a first one inside", sends: join(first("one"), first("bad"), last("late")), echo: []byte("one"), ends: ProtocolError},
		{name: "an empty first one inside", sends: join(first("one"), first(""), last("late")), echo: []byte("one"), ends: ProtocolError},
		{name: "a message inside behind a ping", sends: join(first("one"), pingFrame("p"), binaryFrame("bad")), echo: []byte("one"), pongs: []string{"p"}, ends: ProtocolError},
	})
}
