package hop

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/proxy/reactor"
	"github.com/streamspace-dev/streamspace-edge/proxy/tunnel"
	"github.com/streamspace-dev/streamspace-edge/proxy/websocket"
)

// Unreachable is the error of Dial when the peer itself is at fault: another
// home of the agent may do better. It is a tunnel.Error with CodeUnavailable,
// too.
type Unreachable struct {
	Peer  string // its id
	Cause error
}

func (e *Unreachable) Error() string {
	return fmt.Sprintf("edge %s can't be reached: %v", e.Peer, e.Cause)
}

func (e *Unreachable) Unwrap() []error {
	return []error{e.Cause, tunnel.Errorf(tunnel.CodeUnavailable, "edge %s can't be reached", e.Peer)}
}

// Dial opens a stream of an agent that is connected to the peer. What it returns
// is as from tunnel.Hub.Open: a bare *net.TCPConn or *tls.Conn with nothing read
// ahead that a loop can take over, or a *tunnel.WebSocket around one; the caller
// closes it. The error is *Unreachable, or an *tunnel.Error of the peer's or its
// agent's, or ctx's end.
func (h *Hop) Dial(ctx context.Context, p Peer, agentID string, o tunnel.OpenRequest) (net.Conn, error) {
	started := time.Now()
	conn, err := h.dial(ctx, p, agentID, o)
	h.o.Metrics.dialled(err, time.Since(started))
	h.tellTrust(p, err)
	return conn, err
}

// tellTrust logs once that a peer does not take this edge for one of its cluster,
// and that it does again: streams go another way where there is one, so that
// nobody else would tell.
func (h *Hop) tellTrust(p Peer, err error) {
	var said *tunnel.Error
	refused := errors.As(err, &said) && said.Code == tunnel.CodeUnauthorized
	if err != nil && !refused {
		return
	}
	h.mu.Lock()
	told := h.strangers[p.ID]
	if refused {
		h.strangers[p.ID] = true
	} else {
		delete(h.strangers, p.ID)
	}
	h.mu.Unlock()
	switch {
	case refused && !told:
		h.o.Log.Warn("another edge refuses to carry streams of this one", zap.String("edge", p.ID), zap.Error(err))
	case !refused && told:
		h.o.Log.Info("another edge carries streams of this one again", zap.String("edge", p.ID))
	}
}

func (h *Hop) dial(ctx context.Context, p Peer, agentID string, o tunnel.OpenRequest) (net.Conn, error) {
	signed, err := h.sign(newToken(h.o.Node, p.ID, agentID, o, h.o.Now()))
	if err != nil {
		return nil, err
	}
	conn, err := h.connect(ctx, p)
	if err != nil {
		return nil, h.failed(ctx, p, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	a, err := h.exchange(ctx, conn, signed)
	if !stop() && err == nil {
		err = ctx.Err() // conn has a deadline in the past
	}
	if err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	if err == nil && a.Error != nil {
		err = a.Error
	}
	if err != nil {
		_ = conn.Close()
		return nil, h.failed(ctx, p, err)
	}
	if a.WebSocket {
		return &tunnel.WebSocket{Conn: conn}, nil
	}
	return conn, nil
}

// failed is Dial's error.
func (h *Hop) failed(ctx context.Context, p Peer, err error) error {
	var said *tunnel.Error
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &said):
		return said
	default:
		return &Unreachable{Peer: p.ID, Cause: err}
	}
}

// connect makes a connection of the peer's, over TLS where its address says so.
func (h *Hop) connect(ctx context.Context, p Peer) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, h.times.dial)
	defer cancel()
	u, err := url.Parse(p.URL)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("%q is no address of an edge", p.URL)
	}
	port := u.Port()
	if port == "" {
		port = map[bool]string{true: "443", false: "80"}[u.Scheme == "https"]
	}
	plain, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return nil, err
	}
	reactor.KeepAlive(plain)
	if u.Scheme == "http" {
		return plain, nil
	}
	trust := websocket.Trust{Pin: p.Pin}
	if p.Pin == "" {
		trust.CAFile = h.o.CAFile
	}
	config, err := trust.Config(u.Hostname())
	if err != nil {
		_ = plain.Close()
		return nil, err
	}
	config.NextProtos = []string{"http/1.1"} // upgrades don't exist in HTTP/2
	config.ClientSessionCache = h.sessions
	config.DynamicRecordSizingDisabled = true // as on the way to viewers
	secure := tls.Client(reactor.NewTransport(plain), config)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = plain.Close()
		return nil, fmt.Errorf("TLS: %w", err)
	}
	return secure, nil
}

// exchange sends the request and reads what the peer and its agent say to it.
func (h *Hop) exchange(ctx context.Context, conn net.Conn, signed string) (a answer, err error) {
	if err := within(ctx, conn, h.times.dial); err != nil {
		return a, err
	}
	_, err = io.WriteString(conn, "GET "+Path+" HTTP/1.1\r\nHost: edge\r\nConnection: Upgrade\r\nUpgrade: "+Protocol+"\r\n"+HeaderToken+": "+signed+"\r\n\r\n")
	if err != nil {
		return a, err
	}
	head := bufio.NewReader(byteByByte{io.LimitReader(conn, maxHead)})
	response, err := http.ReadResponse(head, nil)
	if err != nil {
		return a, fmt.Errorf("it does not answer as an edge: %w", err)
	}
	if response.StatusCode != http.StatusSwitchingProtocols || response.Header.Get("Upgrade") != Protocol {
		return a, refusedBy(response)
	}
	if err := within(ctx, conn, h.times.answer); err != nil {
		return a, err
	}
	return readAnswer(conn)
}

// within must not undo the deadline in the past by which ctx's end interrupts
// conn, so it looks at ctx after setting its own.
func within(ctx context.Context, conn net.Conn, d time.Duration) error {
	if err := conn.SetDeadline(time.Now().Add(d)); err != nil {
		return err
	}
	return ctx.Err()
}

const maxHead = 16 << 10 // bytes of a peer's answer, header and body

// byteByByte reads no further than it is asked to: what follows the head is the
// stream's.
type byteByByte struct{ io.Reader }

func (r byteByByte) Read(p []byte) (int, error) { return r.Reader.Read(p[:min(1, len(p))]) }

// refusedBy reads why the peer, or whatever answers at its address, refused.
func refusedBy(response *http.Response) error {
	body, err := io.ReadAll(response.Body)
	var said tunnel.Error
	if err == nil && json.Unmarshal(body, &said) == nil && said.Code != "" {
		return &said
	}
	return fmt.Errorf("it answers %s; is there a streamspace edge at this address?", response.Status)
}

// Probe fails when nothing answers GET /health at the peer's address as an edge
// does, until ctx ends. An edge that is draining, or without its database, still
// carries streams.
func (h *Hop) Probe(ctx context.Context, p Peer) error {
	conn, err := h.connect(ctx, p)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if _, err := io.WriteString(conn, "GET /health HTTP/1.1\r\nHost: edge\r\nUser-Agent: streamspace-health\r\nConnection: close\r\n\r\n"); err != nil {
		return err
	}
	response, err := http.ReadResponse(bufio.NewReader(io.LimitReader(conn, maxHead)), nil)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK && response.StatusCode != http.StatusServiceUnavailable {
		return fmt.Errorf("it answers %s", response.Status)
	}
	return nil
}
