package websocket

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

const (
	subprotocol = "binary" // what websockify and its kin call RFB in binary messages
	maxAnswer   = 16 << 10 // bytes of the answer's head
	userAgent   = "streamspace"
)

// RefusedError is a server that answers, but with no WebSocket.
type RefusedError struct {
	Status int // of HTTP
}

func (e *RefusedError) Error() string {
	text := fmt.Sprintf("it answers with HTTP status %d %s", e.Status, http.StatusText(e.Status))
	switch {
	case e.Unauthorized():
		return text + "; check user and password"
	case e.Status >= 300 && e.Status < 400:
		return text + "; give the address to which it points"
	case e.Status == http.StatusNotFound:
		return text + "; check the address's path"
	}
	return text
}

// Unauthorized tells whether credentials were refused or are missing.
func (e *RefusedError) Unauthorized() bool {
	return e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden
}

// Credentials are for HTTP's basic authentication; without a User there are
// none.
type Credentials struct{ User, Password string }

// Open makes a WebSocket of conn, which is connected to a: TLS where a has it,
// then the opening handshake of RFC 6455 section 4.1. It returns the connection
// on which frames follow, without a deadline and with nothing read ahead. No
// extension is asked for; the subprotocol is "binary" or none.
//
// After an error the caller closes conn. No error holds the credentials. A
// server that refuses is a *RefusedError.
func Open(ctx context.Context, conn net.Conn, a Address, t Trust, c Credentials) (net.Conn, error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	upgraded, err := open(ctx, conn, a, t, c)
	if !stop() && err == nil {
		err = ctx.Err() // conn has a deadline in the past
	}
	return upgraded, err
}

func open(ctx context.Context, conn net.Conn, a Address, t Trust, c Credentials) (net.Conn, error) {
	if a.Secure {
		secure, err := t.secure(ctx, conn, a.Host)
		if err != nil {
			return nil, err
		}
		conn = secure
	}
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // never fails: it crashes the program rather
	key := base64.StdEncoding.EncodeToString(nonce[:])
	if _, err := io.WriteString(conn, request(a, key, c)); err != nil {
		return nil, err
	}
	// Byte by byte, so that the first frame stays where it is: whoever carries
	// the frames needs the bare connection.
	head := bufio.NewReader(byteByByte{io.LimitReader(conn, maxAnswer)})
	answer, err := http.ReadResponse(head, nil)
	if err != nil {
		return nil, fmt.Errorf("it does not answer as a WebSocket server: %w", err)
	}
	return conn, check(answer, key)
}

func request(a Address, key string, c Credentials) string {
	host := a.HostPort()
	if a.Secure && a.Port == "443" || !a.Secure && a.Port == "80" {
		host = strings.TrimSuffix(host, ":"+a.Port)
	}
	text := "GET " + a.Path + " HTTP/1.1\r\nHost: " + host + "\r\nUser-Agent: " + userAgent +
		"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key +
		"\r\nSec-WebSocket-Protocol: " + subprotocol + "\r\n"
	if c.User != "" {
		text += "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(c.User+":"+c.Password)) + "\r\n"
	}
	return text + "\r\n"
}

// check tells whether answer accepts the WebSocket that was asked for with key.
func check(answer *http.Response, key string) error {
	header := answer.Header
	switch protocol := header.Get("Sec-WebSocket-Protocol"); {
	case answer.StatusCode != http.StatusSwitchingProtocols:
		return &RefusedError{Status: answer.StatusCode}
	case !strings.EqualFold(header.Get("Upgrade"), "websocket"), !strings.Contains(strings.ToLower(header.Get("Connection")), "upgrade"):
		return errors.New("it switches to another protocol than WebSocket")
	case header.Get("Sec-WebSocket-Accept") != acceptKey(key):
		return errors.New("its answer belongs to another WebSocket (Sec-WebSocket-Accept is wrong)")
	case header.Get("Sec-WebSocket-Extensions") != "":
		return errors.New("it uses a WebSocket extension that was not asked for")
	case protocol != "" && protocol != subprotocol:
		return fmt.Errorf("it wants the subprotocol %.20q; it must be %q or none", protocol, subprotocol)
	}
	return nil
}

// acceptKey is what a server makes of a client's key.
func acceptKey(key string) string {
	const guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" // section 1.3
	sum := sha1.Sum([]byte(key + guid))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// byteByByte reads no further than it is asked to.
type byteByByte struct{ io.Reader }

func (r byteByByte) Read(p []byte) (int, error) { return r.Reader.Read(p[:min(1, len(p))]) }
