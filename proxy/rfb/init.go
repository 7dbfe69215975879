package rfb

import (
	"encoding/binary"
	"fmt"
	"io"
)

// ClientInit is the client's last word of the handshake (RFC 6143 section 7.3.1).
type ClientInit struct {
	Shared bool // others may stay connected
}

// ClientInitLen is its size in bytes.
const ClientInitLen = 1

// Append adds the wire form.
func (c ClientInit) Append(b []byte) []byte { return append(b, flag(c.Shared)) }

// ParseClientInit reads the wire form; any value but 0 means shared.
func ParseClientInit(b [ClientInitLen]byte) ClientInit { return ClientInit{Shared: b[0] != 0} }

// ServerInit is the server's answer, after which messages begin (RFC 6143
// section 7.3.2).
type ServerInit struct {
	Width, Height uint16 // pixels
	Format        PixelFormat
	Name          string
}

// MaxName is the longest desktop name that ReadServerInit accepts, in bytes.
const MaxName = 64 << 10

const serverInitHead = 4 + PixelFormatLen + 4

// Append adds the wire form.
func (s ServerInit) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, s.Width)
	b = binary.BigEndian.AppendUint16(b, s.Height)
	b = s.Format.Append(b)
	b = binary.BigEndian.AppendUint32(b, uint32(len(s.Name)))
	return append(b, s.Name...)
}

// ReadServerInit reads exactly one ServerInit from r. The pixel format is not
// validated.
func ReadServerInit(r io.Reader) (ServerInit, error) {
	var head [serverInitHead]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return ServerInit{}, err
	}
	length := binary.BigEndian.Uint32(head[4+PixelFormatLen:])
	if length > MaxName {
		return ServerInit{}, fmt.Errorf("the desktop's name has %d bytes, more than %d", length, MaxName)
	}
	name := make([]byte, length)
	if _, err := io.ReadFull(r, name); err != nil {
		return ServerInit{}, unexpected(err)
	}
	return ServerInit{
		Width:  binary.BigEndian.Uint16(head[0:]),
		Height: binary.BigEndian.Uint16(head[2:]),
		Format: ParsePixelFormat([PixelFormatLen]byte(head[4:])),
		Name:   string(name),
	}, nil
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func flag(set bool) byte {
	if set {
		return 1
	}
	return 0
}
