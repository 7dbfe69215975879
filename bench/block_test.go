package bench

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// traffic is a connection's stream of updates of these sizes.
func traffic(pixels block, connection uint32, sizes ...int) []byte {
	var stream []byte
	at := start(connection)
	for i, size := range sizes {
		stream = append(appendUpdateHead(stream, uint32(i), 12345678, size), pixels.stretch(&at, size)...)
	}
	return appendUpdateHead(stream, lastUpdate, 0, 0)
}

func checkIn(pixels block, connection uint32, stream []byte, n int) (c *checker, updates int, err error) {
	c = &checker{block: pixels, at: start(connection), update: func(uint32, uint32, int) { updates++ }}
	for len(stream) > 0 && err == nil {
		piece := stream[:min(n, len(stream))]
		stream = stream[len(piece):]
		err = c.check(piece)
	}
	return c, updates, err
}

func TestTheCheckerTakesWhatWasSent(t *testing.T) {
	pixels := newBlock(7)
	var sizes []int
	for i := range 60 {
		sizes = append(sizes, (i*7001)%largest+1) // beyond the block's end and around
	}
	stream := traffic(pixels, 9, sizes...)
	for _, n := range []int{1, 19, 4096, len(stream)} {
		c, updates, err := checkIn(pixels, 9, stream, n)
		if err != nil || !c.ended || updates != len(sizes) {
			t.Errorf("in pieces of %d: %d updates, ended %t, %v", n, updates, c.ended, err)
		}
	}
}

func TestTheCheckerFindsEachWrongByte(t *testing.T) {
	pixels := newBlock(7)
	stream := traffic(pixels, 3, 40, 1, 300)
	for i := range stream {
		for bit := range 8 {
			wrong := bytes.Clone(stream)
			wrong[i] ^= 1 << bit
			c, _, err := checkIn(pixels, 3, wrong, 64)
			if err == nil && c.ended {
				t.Errorf("bit %d of byte %d is wrong and was taken", bit, i)
			}
		}
	}
}

func TestTheCheckerTellsWhereAByteIsWrong(t *testing.T) {
	pixels := newBlock(7)
	stream := traffic(pixels, 3, 100, 100)
	stream[updateHead+100+updateHead+17] ^= 1
	_, _, err := checkIn(pixels, 3, stream, 50)
	want := fmt.Sprintf("byte %d, in update 1", updateHead+100+updateHead+17)
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v; wanted %q", err, want)
	}
}

func TestAnotherConnectionsBytesAreWrongBytes(t *testing.T) {
	pixels := newBlock(7)
	if _, _, err := checkIn(pixels, 4, traffic(pixels, 5, 200), 1000); err == nil {
		t.Error("they were taken")
	}
}

func TestLostUpdatesAndBytesAreFound(t *testing.T) {
	pixels := newBlock(7)
	stream := traffic(pixels, 3, 100, 100, 100)
	for name, wrong := range map[string][]byte{
		"an update is lost": append(bytes.Clone(stream[:120]), stream[240:]...),
		"a byte is lost":    append(bytes.Clone(stream[:60]), stream[61:]...),
		"twice":             append(bytes.Clone(stream[:120]), stream...),
		"behind the last":   append(bytes.Clone(stream), 0),
	} {
		if _, _, err := checkIn(pixels, 3, wrong, 1000); err == nil {
			t.Errorf("%s: nothing was found", name)
		}
	}
}

func FuzzChecker(f *testing.F) {
	pixels := newBlock(7)
	f.Add(traffic(pixels, 1, 30, 5), 7)
	f.Add([]byte{0, 0, 0, 1}, 1)
	f.Fuzz(func(t *testing.T, stream []byte, n int) {
		if n < 1 {
			return
		}
		whole, updates, err := checkIn(pixels, 1, stream, len(stream)+1)
		pieces, again, errAgain := checkIn(pixels, 1, stream, n)
		if updates != again || whole.ended != pieces.ended || fmt.Sprint(err) != fmt.Sprint(errAgain) {
			t.Errorf("at once: %d updates, %v; in pieces of %d: %d updates, %v", updates, err, n, again, errAgain)
		}
	})
}

func readIn(stream []byte, n int) (inputs int, commands []uint32, err error) {
	r := inputReader{input: func(uint32) { inputs++ }, command: func(k uint32) { commands = append(commands, k) }}
	for len(stream) > 0 && err == nil {
		piece := stream[:min(n, len(stream))]
		stream = stream[len(piece):]
		err = r.read(piece)
	}
	return inputs, commands, err
}

func TestInputIsFollowedAndItsFaultsAreFound(t *testing.T) {
	stream := appendKey(appendPointer(appendKey(appendKey(nil, keyStart, false), 0, true), 1), 2, true)
	stream = appendKey(stream, keyStop, false)
	for n := 1; n <= len(stream); n++ {
		inputs, commands, err := readIn(stream, n)
		if err != nil || inputs != 3 || len(commands) != 2 || commands[0] != keyStart || commands[1] != keyStop {
			t.Errorf("in pieces of %d: %d inputs, commands %x, %v", n, inputs, commands, err)
		}
	}
	for name, wrong := range map[string][]byte{
		"a number is left out": appendPointer(appendPointer(nil, 0), 2),
		"a number comes twice": appendPointer(appendPointer(nil, 0), 0),
		"another message":      {6, 0, 0, 0},
		"another key":          appendKey(nil, 'a', false),
		"a command held down":  appendKey(nil, keyStart, true),
	} {
		if _, _, err := readIn(wrong, 100); err == nil {
			t.Errorf("%s: nothing was found", name)
		}
	}
}

func TestTheInputReaderFindsEachWrongByte(t *testing.T) {
	stream := appendPointer(appendKey(appendPointer(nil, 0), 1, true), 2)
	for i := range stream {
		for bit := range 8 {
			wrong := bytes.Clone(stream)
			wrong[i] ^= 1 << bit
			if inputs, _, err := readIn(wrong, 100); err == nil && inputs == 3 {
				t.Errorf("bit %d of byte %d is wrong and was taken", bit, i)
			}
		}
	}
}

func FuzzInputReader(f *testing.F) {
	f.Add(appendPointer(appendKey(appendKey(nil, keyStart, false), 0, true), 1), 3)
	f.Fuzz(func(t *testing.T, stream []byte, n int) {
		if n < 1 {
			return
		}
		inputs, commands, err := readIn(stream, len(stream)+1)
		again, commandsAgain, errAgain := readIn(stream, n)
		if inputs != again || fmt.Sprint(commands, err) != fmt.Sprint(commandsAgain, errAgain) {
			t.Errorf("at once: %d, %v; in pieces of %d: %d, %v", inputs, err, n, again, errAgain)
		}
	})
}
