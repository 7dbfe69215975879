package rfb

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
)

// server is how a VNC server reads what its client sends.
type server struct {
	extensions      bool // that add messages: it knows those of all
	extendedButtons bool
}

// servers are the two ends of what may be found behind an edge, and those with
// and without the extension that changes a message of the RFC.
func servers() map[string]server {
	return map[string]server{
		"nothing but the RFC":   {},
		"extended buttons only": {extendedButtons: true},
		"all but buttons":       {extensions: true},
		"all extensions":        {extensions: true, extendedButtons: true},
	}
}

// reads is the types of the messages that the server finds. It ends, as servers
// do, at one that it does not know.
func (s server) reads(stream []byte) (kinds []Kind) {
	asked := false // for extended buttons
	for len(stream) > 0 {
		head := append(bytes.Clone(stream[:min(len(stream), 16)]), make([]byte, 16)...) // of a message that is cut off, the rest is zeros
		length := 0
		switch head[0] {
		case 0:
			length = 20
		case 2:
			length = 4 + 4*int(binary.BigEndian.Uint16(head[2:]))
			for list := stream[min(4, len(stream)):min(length, len(stream))]; len(list) >= 4; list = list[4:] {
				asked = asked || bytes.Equal(list[:4], []byte{0xff, 0xff, 0xfe, 0xc4})
			}
		case 3:
			length = 10
		case 4:
			length = 8
		case 5:
			length = 6
			if s.extendedButtons && asked && head[1] >= 128 {
				length = 7
			}
		case 6:
			length = 8 + int(binary.BigEndian.Uint32(head[4:]))
		default:
			if !s.extensions {
				return kinds
			}
			switch head[0] {
			case 150:
				length = 10
			case 248:
				length = 9 + int(head[8])
			case 250:
				length = 4
			case 251:
				length = 8 + 16*int(head[6])
			case 253:
				length = 4 + int(binary.LittleEndian.Uint16(head[2:]))
				if head[1] >= 128 {
					length = 4 + int(binary.BigEndian.Uint16(head[2:]))
				}
			case 255:
				switch {
				case head[1] == 0:
					length = 12
				case head[1] > 1:
					return kinds
				case head[2] == 0 && head[3] == 2:
					length = 10
				default:
					length = 4
				}
			default:
				return kinds
			}
		}
		kinds = append(kinds, Kind(head[0]))
		stream = stream[min(length, len(stream)):]
	}
	return kinds
}

// hiddenPaste is a clipboard behind a PointerEvent of six bytes. Who takes it for
// one of seven finds a KeyEvent and a SetEncodings instead.
func hiddenPaste() []byte {
	stream := AppendSetEncodings(nil, EncodingRaw, EncodingExtendedMouseButtons)
	stream = append(stream, PointerEvent{Buttons: 1 << 7}.Append(nil)...)
	paste := AppendCutText(nil, []byte("T\x02\x00\x00\x03SECRETCOMMND"))
	paste[1] = byte(KindKeyEvent) // in the padding
	return append(stream, paste...)
}

func TestNoServerFindsAPasteThatTheFilterDoesNot(t *testing.T) {
	kept := filter(t, hiddenPaste(), Policy{NoClipboardIn: true}, whole(1000)).kept
	for name, s := range servers() {
		kinds := s.reads(hiddenPaste())
		if slices.Contains(kinds, KindCutText) == s.extendedButtons || len(kinds) < 3 {
			t.Errorf("a server with %s reads %v of what hides a paste", name, kinds)
		}
		if kinds := s.reads(kept); slices.Contains(kinds, KindCutText) || !slices.Contains(kinds, KindPointerEvent) {
			t.Errorf("a server with %s reads %v of what is left", name, kinds)
		}
	}
}

func TestAskingForExtendedButtonsIsStruckOut(t *testing.T) {
	asks := AppendSetEncodings(nil, EncodingExtendedMouseButtons, EncodingZRLE, EncodingFence, EncodingExtendedMouseButtons)
	struck := AppendSetEncodings(nil, encodingNone, EncodingZRLE, EncodingFence, encodingNone)
	for _, policy := range policies() {
		want := struck
		if policy == (Policy{}) {
			want = asks
		}
		for size := 1; size <= len(asks); size++ {
			if got := filter(t, asks, policy, whole(size)); !bytes.Equal(got.kept, want) || got.fails {
				t.Errorf("%+v, in pieces of %d: % x", policy, size, got.kept)
			}
		}
	}
}
