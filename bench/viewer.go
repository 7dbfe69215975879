package bench

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// door is where the viewers of one measurement come in.
type door struct {
	Address string // host:port
	TLS     bool
	Tickets []string // one for each viewer, or none
	Cookies []*http.Cookie
}

const viewerPath = "/ws/vnc"

// tlsOffer is what every viewer offers, so that all systems do the same work:
// TLS 1.3 with X25519. The cipher can't be chosen by a Go client; that it was
// the agreed one is checked.
func tlsOffer() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		CurvePreferences:   []tls.CurveID{tls.X25519},
		InsecureSkipVerify: true, // the certificate is the run's own; its signature is checked all the same
		NextProtos:         []string{"http/1.1"},
	}
}

const theCipher = tls.TLS_AES_128_GCM_SHA256

// viewer is one browser.
type viewer struct {
	wire     *wire
	plain    net.Conn // under TLS
	check    checker
	number   uint32 // of the next input
	born     time.Time
	sent     [outstanding]atomic.Int64 // by number: when, in nanoseconds since born
	answered atomic.Uint32             // inputs
}

// outstanding is how many inputs of one viewer may be unanswered.
const outstanding = 64

// connect comes in and goes through the RFB handshake.
func connect(ctx context.Context, d door, offer *tls.Config, index int, pixels block) (*viewer, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeLimit)
	defer cancel()
	plain, err := (&net.Dialer{}).DialContext(ctx, "tcp", d.Address)
	if err != nil {
		return nil, err
	}
	v := &viewer{plain: plain, born: time.Now()}
	_ = plain.SetDeadline(time.Now().Add(handshakeLimit))
	if err := v.enter(ctx, d, offer, index, pixels); err != nil {
		_ = plain.Close()
		return nil, err
	}
	_ = plain.SetDeadline(time.Time{})
	return v, nil
}

func (v *viewer) enter(ctx context.Context, d door, offer *tls.Config, index int, pixels block) error {
	conn := v.plain
	if d.TLS {
		secure, err := handshake(ctx, v.plain, offer)
		if err != nil {
			return err
		}
		conn = secure
	}
	v.wire = newWire(conn)
	if err := v.upgrade(d, index); err != nil {
		return fmt.Errorf("WebSocket: %w", err)
	}
	number, err := v.hello()
	if err != nil {
		return fmt.Errorf("RFB: %w", err)
	}
	v.check = checker{block: pixels, at: start(number)}
	return nil
}

// handshake agrees on TLS, on what all systems must agree on or on nothing.
func handshake(ctx context.Context, plain net.Conn, offer *tls.Config) (*tls.Conn, error) {
	secure := tls.Client(plain, offer)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS: %w", err)
	}
	if s := secure.ConnectionState(); s.Version != tls.VersionTLS13 || s.CipherSuite != theCipher || s.CurveID != tls.X25519 {
		return nil, fmt.Errorf("TLS: agreed on %s with %s and %s; all systems must use TLS 1.3 with %s and X25519, or their costs don't compare",
			tls.VersionName(s.Version), tls.CipherSuiteName(s.CipherSuite), s.CurveID, tls.CipherSuiteName(theCipher))
	}
	return secure, nil
}

var errRefused = errors.New("refused")

func (v *viewer) upgrade(d door, index int) error {
	protocols := "binary"
	if len(d.Tickets) > 0 {
		protocols += ", " + d.Tickets[index]
	}
	cookies := ""
	if len(d.Cookies) > 0 {
		cookies = "Cookie: " + joinCookies(d.Cookies) + "\r\n"
	}
	const key = "AAAAAAAAAAAAAAAAAAAAAA=="
	request := "GET " + viewerPath + " HTTP/1.1\r\nHost: " + d.Address + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + "\r\nSec-WebSocket-Protocol: " + protocols + "\r\n" + cookies + "\r\n"
	if _, err := v.wire.conn.Write([]byte(request)); err != nil {
		return err
	}
	first, header, err := v.wire.httpHead()
	switch {
	case err != nil:
		return err
	case !strings.HasPrefix(first, "HTTP/1.1 101"):
		return fmt.Errorf("%w with %q: %s", errRefused, first, v.wire.pending)
	case header.Get("Sec-WebSocket-Accept") != acceptKey(key):
		return errors.New("the Sec-WebSocket-Accept is not the key's")
	}
	v.wire.frame(true)
	return nil
}

// joinCookies is the Cookie header's value (RFC 6265 section 5.4).
func joinCookies(all []*http.Cookie) string {
	pairs := make([]string, len(all))
	for i, c := range all {
		pairs[i] = c.Name + "=" + c.Value
	}
	return strings.Join(pairs, "; ")
}

// hello is the viewer's side of the handshake; it returns the connection's
// number, which the desktop's name tells.
func (v *viewer) hello() (number uint32, err error) {
	for _, step := range helloSteps() {
		heard, err := v.wire.exactly(len(step.server))
		if err != nil {
			return 0, err
		}
		if string(heard) != step.server {
			return 0, fmt.Errorf("%q came where %q was sent", heard, step.server)
		}
		if err := v.wire.send([]byte(step.viewer)); err != nil {
			return 0, err
		}
	}
	init, err := v.wire.exactly(serverInitLen)
	if err != nil {
		return 0, err
	}
	number = binary.BigEndian.Uint32(init[serverInitLen-8:])
	if want := appendServerInit(nil, number); !bytes.Equal(init, want) {
		return 0, fmt.Errorf("the ServerInit came as % x where % x was sent", init, want)
	}
	return number, nil
}

// input sends the next numbered input.
func (v *viewer) input(key bool) error {
	var message []byte
	if key {
		message = appendKey(nil, v.number, true)
	} else {
		message = appendPointer(nil, v.number)
	}
	v.sent[v.number%outstanding].Store(int64(time.Since(v.born)))
	v.number++
	return v.wire.send(message)
}

func (v *viewer) order(keysym uint32) error { return v.wire.send(appendKey(nil, keysym, false)) }

// leave closes the WebSocket and waits until the other side has, for at most
// limit.
func (v *viewer) leave(limit time.Duration) {
	v.bye(limit)
	for v.wire.read() == nil {
	}
	_ = v.plain.Close()
}

// bye sends the close frame; the other side has limit to answer it.
func (v *viewer) bye(limit time.Duration) {
	_ = v.plain.SetDeadline(time.Now().Add(limit))
	_, _ = v.wire.conn.Write(append(appendFrameHead(nil, opClose, 2, true), 0x03, 0xE8)) // 1000
}
