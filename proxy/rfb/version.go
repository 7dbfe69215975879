// Package rfb is what must be understood of the Remote Framebuffer protocol:
// RFC 6143, and the community's extensions that TigerVNC and noVNC speak
// (github.com/rfbproto/rfbproto). It works on byte slices and opens no sockets.
//
// AppendX and x.Append add the wire form to a slice and return it, ParseX reads
// the wire form of one whole message, its type byte included. A parser never
// panics and never keeps the slice that it was given.
package rfb

import "fmt"

// Version is a protocol version: the major number in the upper 16 bits, the
// minor in the lower, so that versions compare with < and >.
type Version uint32

// The versions that RFC 6143 section 7.1.1 defines.
const (
	V33 Version = 3<<16 | 3
	V37 Version = 3<<16 | 7
	V38 Version = 3<<16 | 8
)

const greetingLen = 12 // bytes

// ParseVersion reads a greeting, "RFB 003.008\n".
func ParseVersion(line [greetingLen]byte) (Version, error) {
	major, okMajor := threeDigits(line[4:7])
	minor, okMinor := threeDigits(line[8:11])
	if string(line[:4]) != "RFB " || line[7] != '.' || line[11] != '\n' || !okMajor || !okMinor {
		return 0, fmt.Errorf("greeting %q is not RFB: want \"RFB 003.008\\n\" or another version", string(line[:]))
	}
	return Version(major<<16 | minor), nil
}

func threeDigits(s []byte) (n uint32, ok bool) {
	for _, c := range s {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint32(c-'0')
	}
	return n, true
}

// Bytes is the greeting that ParseVersion reads. Numbers above 999, which no
// greeting can hold, lose their upper digits.
func (v Version) Bytes() [greetingLen]byte {
	line := [greetingLen]byte([]byte("RFB 000.000\n"))
	for i, n := 2, uint32(v>>16); i >= 0; i, n = i-1, n/10 {
		line[4+i] = byte('0' + n%10)
	}
	for i, n := 2, uint32(v&0xffff); i >= 0; i, n = i-1, n/10 {
		line[8+i] = byte('0' + n%10)
	}
	return line
}

func (v Version) String() string { return fmt.Sprintf("%d.%d", v>>16, v&0xffff) }

// Spoken is the one of V33, V37 and V38 whose handshake a peer of version v
// follows. Unofficial versions exist in the field: 3.4 to 3.6 are 3.3 with
// another number, 3.889 (Apple), 4.x and 5.x understand 3.8. Not ok: below 3.3,
// which no handshake fits.
func (v Version) Spoken() (spoken Version, ok bool) {
	switch {
	case v < V33:
		return 0, false
	case v < V37:
		return V33, true
	case v < V38:
		return V37, true
	default:
		return V38, true
	}
}
