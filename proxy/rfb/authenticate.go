package rfb

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// MaxReason is how many bytes of a server's reason for a refusal are read.
const MaxReason = 256

// Handshake is what the two sides agreed on before ClientInit.
type Handshake struct {
	Offered  Version // by the server's greeting
	Version  Version // that is spoken: V33, V37 or V38
	Security SecurityType
}

// RefusedError is a server that wants no client, or not this one.
type RefusedError struct {
	Security SecurityType // that was gone through; SecurityInvalid: none, the server refused before
	Reason   string       // the server's words, at most MaxReason bytes; it may give none
}

func (e *RefusedError) Error() string {
	text := "the VNC server refused the connection"
	if e.Security == SecurityVNCAuth {
		text = "the VNC server refused the password"
	}
	if e.Reason != "" {
		text += fmt.Sprintf(": %q", e.Reason)
	}
	return text
}

// UnsupportedError is a server that offers nothing which Authenticate knows.
type UnsupportedError struct {
	Offered []SecurityType // at most 255
}

func (e *UnsupportedError) Error() string {
	names := make([]string, 0, len(e.Offered))
	for _, t := range e.Offered[:min(len(e.Offered), 8)] {
		names = append(names, t.String())
	}
	return fmt.Sprintf("the VNC server offers only %s; let it offer VNC authentication (VncAuth) or None", strings.Join(names, ", "))
}

// Authenticate goes through the handshake with a VNC server as its client, up
// to ClientInit, which is the next thing to send (RFC 6143 sections 7.1.1 to
// 7.1.3). Of what the server offers it takes VNC authentication when there is a
// password, else None; at most MaxPassword bytes of the password count.
//
// Exactly the handshake's bytes are read from rw. Deadlines are the caller's,
// who also closes rw after an error: the server is in the middle of a word. No
// error holds the password. A server that refuses is a *RefusedError, one that
// offers neither of the two an *UnsupportedError.
func Authenticate(rw io.ReadWriter, password string) (Handshake, error) {
	c := client{rw: rw, password: password}
	if err := c.greet(); err != nil {
		return c.Handshake, err
	}
	if err := c.choose(); err != nil {
		return c.Handshake, err
	}
	if c.Security == SecurityVNCAuth {
		if err := c.prove(); err != nil {
			return c.Handshake, err
		}
	} else if c.Version != V38 {
		return c.Handshake, nil // only 3.8 has a result for None
	}
	return c.Handshake, c.result()
}

type client struct {
	Handshake
	rw       io.ReadWriter
	password string
}

func (c *client) greet() error {
	var line [greetingLen]byte
	if err := c.read(line[:], "its greeting"); err != nil {
		return err
	}
	var err error
	if c.Offered, err = ParseVersion(line); err != nil {
		return err
	}
	var ok bool
	if c.Version, ok = c.Offered.Spoken(); !ok {
		return fmt.Errorf("the VNC server speaks RFB %v, which is older than 3.3", c.Offered)
	}
	answer := c.Version.Bytes()
	return c.write(answer[:])
}

// choose ends with the security type that both know.
func (c *client) choose() error {
	if c.Version == V33 {
		kind, err := c.uint32("its security type")
		if err != nil {
			return err
		}
		if kind == uint32(SecurityInvalid) {
			return c.refusal()
		}
		if kind > 0xff {
			return fmt.Errorf("the VNC server wants security type %d, which does not exist", kind)
		}
		return c.take([]byte{byte(kind)})
	}
	var list [255]byte
	count := list[:1]
	if err := c.read(count, "its security types"); err != nil {
		return err
	}
	if count[0] == 0 {
		return c.refusal()
	}
	types := list[:count[0]]
	if err := c.read(types, "its security types"); err != nil {
		return err
	}
	if err := c.take(types); err != nil {
		return err
	}
	return c.write([]byte{byte(c.Security)})
}

func (c *client) take(offered []byte) error {
	none := bytes.IndexByte(offered, byte(SecurityNone)) >= 0
	vncAuth := bytes.IndexByte(offered, byte(SecurityVNCAuth)) >= 0
	switch {
	case vncAuth && c.password != "":
		c.Security = SecurityVNCAuth
	case none:
		c.Security = SecurityNone
	case vncAuth:
		return errors.New("the VNC server wants a password, and none is set")
	default:
		unsupported := &UnsupportedError{}
		for _, t := range offered {
			unsupported.Offered = append(unsupported.Offered, SecurityType(t))
		}
		return unsupported
	}
	return nil
}

func (c *client) prove() error {
	var challenge [ChallengeLen]byte
	if err := c.read(challenge[:], "its challenge"); err != nil {
		return err
	}
	response := VNCAuthResponse(challenge, c.password)
	return c.write(response[:])
}

func (c *client) result() error {
	result, err := c.uint32("the result of the authentication")
	switch {
	case err != nil:
		return err
	case SecurityResult(result) == SecurityOK:
		return nil
	case c.Version == V38:
		return c.refusal()
	case SecurityResult(result) == SecurityTooMany:
		return &RefusedError{Security: c.Security, Reason: "too many attempts"}
	default:
		return &RefusedError{Security: c.Security}
	}
}

// refusal reads the reason; a part of it is better than none.
func (c *client) refusal() error {
	refused := &RefusedError{Security: c.Security}
	length, err := c.uint32("its reason")
	if err != nil {
		return refused
	}
	reason := make([]byte, min(length, MaxReason))
	n, _ := io.ReadFull(c.rw, reason)
	refused.Reason = string(reason[:n])
	if secret := c.password[:min(len(c.password), MaxPassword)]; secret != "" && strings.Contains(refused.Reason, secret) {
		refused.Reason = "" // it may say what it likes, but not that
	}
	return refused
}

func (c *client) uint32(what string) (uint32, error) {
	var number [4]byte
	err := c.read(number[:], what)
	return binary.BigEndian.Uint32(number[:]), err
}

func (c *client) read(b []byte, what string) error {
	if _, err := io.ReadFull(c.rw, b); err != nil {
		return fmt.Errorf("waiting for the VNC server to say %s: %w", what, unexpected(err))
	}
	return nil
}

func (c *client) write(b []byte) error {
	if _, err := c.rw.Write(b); err != nil {
		return fmt.Errorf("answering the VNC server: %w", err)
	}
	return nil
}
