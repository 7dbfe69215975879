package listen

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/pires/go-proxyproto"
)

// Sizes of a PROXY header, in bytes (HAProxy's proxy-protocol.txt, sections 2.1
// and 2.2).
const (
	longestV1 = 107
	fixedV2   = 16
	// longestV2 is what is taken of a header of version 2: addresses have 216 at
	// most, and what proxies tell beside them (TLS, a name, an id) some hundred.
	longestV2 = 4 << 10
)

var (
	signatureV1 = []byte("PROXY ")
	signatureV2 = []byte("\r\n\r\n\x00\r\nQUIT\n")
)

// IsHeader tells whether what a connection begins with looks like a PROXY header.
func IsHeader(b []byte) bool {
	return bytes.HasPrefix(b, signatureV1) || bytes.HasPrefix(b, signatureV2)
}

// begin reads the PROXY header, when there is one.
func (c *Conn) begin() {
	err := c.readHeader()
	c.begins = false
	if err == nil {
		return
	}
	c.failed, c.ahead = err, nil
	var bad *headerError
	if errors.As(err, &bad) {
		_ = c.Conn.Close() // what follows can't be told from the header
		if c.options.Refused != nil {
			c.options.Refused(c.remote, err)
		}
	}
}

// headerError is why a PROXY header is not taken.
type headerError struct{ text string }

func (e *headerError) Error() string { return "the PROXY header " + e.text }

func (c *Conn) readHeader() error {
	b := make([]byte, 0, 512)
	for {
		n, err := c.Conn.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		size, need, bad := headerSize(b)
		switch {
		case bad != nil:
			return bad
		case need <= len(b):
			c.ahead = b[size:]
			if size == 0 {
				return &headerError{"is missing: the connection begins with something else"}
			}
			return c.takeHeader(b[:size])
		case err != nil && len(b) > 0 && n == 0:
			return fmt.Errorf("amid what may be a PROXY header: %w", err)
		case err != nil && n == 0:
			return err
		case need > cap(b):
			b = append(make([]byte, 0, need), b...)
		}
	}
}

// headerSize finds the PROXY header that b begins with; its size is 0 when there
// is none. It is known when need is not more than len(b); otherwise a header would
// have need bytes at least.
func headerSize(b []byte) (size, need int, err error) {
	is := func(signature []byte) bool {
		n := min(len(b), len(signature))
		return bytes.Equal(b[:n], signature[:n])
	}
	switch {
	case len(b) == 0:
		return 0, 1, nil
	case is(signatureV1):
		if end := bytes.Index(b[:min(len(b), longestV1)], []byte("\r\n")); end >= 0 {
			return end + 2, end + 2, nil
		}
		if len(b) >= longestV1 {
			return 0, 0, &headerError{"of version 1 has no end in its first 107 bytes"}
		}
		return 0, len(b) + 1, nil
	case is(signatureV2):
		if len(b) < fixedV2 {
			return 0, fixedV2, nil
		}
		size := fixedV2 + int(binary.BigEndian.Uint16(b[fixedV2-2:]))
		if size > longestV2 {
			return 0, 0, &headerError{fmt.Sprintf("has %d bytes; %d are taken", size, longestV2)}
		}
		return size, size, nil
	default:
		return 0, 0, nil
	}
}

// takeHeader takes the addresses that a whole header tells. One of a proxy's own
// connection (LOCAL), of none that it knows (UNKNOWN) and of a UNIX socket tells
// none.
func (c *Conn) takeHeader(b []byte) error {
	reader := bufio.NewReader(bytes.NewReader(b))
	header, err := proxyproto.Read(reader)
	if err != nil {
		return &headerError{"is not valid: " + err.Error()}
	}
	if reader.Buffered() > 0 {
		return &headerError{"is longer than it says"}
	}
	if source, destination, ok := header.TCPAddrs(); ok && header.Command.IsProxy() {
		c.remote, c.local = source, destination
	}
	return nil
}
