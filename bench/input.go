package bench

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// What a viewer sends after its ClientInit (RFC 6143 section 7.5): pointer and
// key events that carry a number, and two keys that direct the server.

const (
	keyEvent     = 4
	pointerEvent = 5
	keyLen       = 8
	pointerLen   = 6

	// Keysyms that no keyboard has.
	keyStart = 0x1F000001 // begin the traffic
	keyStop  = 0x1F000002 // send the last update and nothing more
)

// appendKey appends a KeyEvent. down tells commands (false) from numbered
// input (true).
func appendKey(b []byte, keysym uint32, down bool) []byte {
	var d byte
	if down {
		d = 1
	}
	return binary.BigEndian.AppendUint32(append(b, keyEvent, d, 0, 0), keysym)
}

// appendPointer appends a PointerEvent whose place carries the number.
func appendPointer(b []byte, number uint32) []byte {
	return binary.BigEndian.AppendUint32(append(b, pointerEvent, 0), number)
}

// inputReader follows a viewer's messages, cut anywhere. Numbered input must
// come in order, from 0.
type inputReader struct {
	head   [keyLen]byte
	want   [keyLen]byte // memory for what is compared with head
	have   int
	number uint32 // of the next input

	input   func(number uint32) // numbered input came; may be nil
	command func(keysym uint32)
}

func (r *inputReader) read(p []byte) error {
	for len(p) > 0 {
		if r.have == 0 {
			r.head[0] = p[0]
			if p[0] != keyEvent && p[0] != pointerEvent {
				return fmt.Errorf("behind input %d came a message of type %d, which no viewer sent", r.number, p[0])
			}
		}
		length := keyLen
		if r.head[0] == pointerEvent {
			length = pointerLen
		}
		n := copy(r.head[r.have:length], p)
		r.have += n
		p = p[n:]
		if r.have < length {
			return nil
		}
		r.have = 0
		message := r.head[:length]
		keysym := binary.BigEndian.Uint32(message[length-4:])
		switch {
		case (keysym == keyStart || keysym == keyStop) && bytes.Equal(message, appendKey(r.want[:0], keysym, false)):
			r.command(keysym)
			continue
		case !bytes.Equal(message, appendKey(r.want[:0], r.number, true)) && !bytes.Equal(message, appendPointer(r.want[:0], r.number)):
			return fmt.Errorf("where input %d was expected came % x, which no viewer sent", r.number, message)
		}
		number := r.number
		r.number++
		if r.input != nil {
			r.input(number)
		}
	}
	return nil
}
