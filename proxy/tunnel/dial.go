package tunnel

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

	"github.com/coder/websocket"

	"github.com/streamspace-dev/streamspace-edge/proxy/reactor"
)

const (
	dialTimeout    = 10 * time.Second // TCP, TLS and the upgrade
	maxRefusalBody = 4096             // bytes of a refusal's body; the WebSocket client keeps 1024 of them
)

// dialer makes an agent's connections to one edge.
type dialer struct {
	home    Home    // whose URL and Pin it goes by
	url     url.URL // of ConnectPath
	address string  // host:port
	tls     *tls.Config
	header  http.Header // the control connection's
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
}

// newDialer makes a dialer to the edge at a home's address. An agent's seed is a
// home of an unknown node.
func newDialer(home Home, o ClientOptions, dial func(context.Context, string, string) (net.Conn, error)) (*dialer, error) {
	edge, err := url.Parse(home.URL)
	if err != nil || edge.Host == "" || edge.Path != "" && edge.Path != "/" || edge.Scheme != "https" && edge.Scheme != "http" || edge.User != nil || edge.RawQuery != "" {
		return nil, Errorf(CodeBadRequest, "the edge's address is %q, want https://HOST or https://HOST:PORT", home.URL)
	}
	trust := o.TLS
	if home.Pin != "" && edge.Scheme == "https" {
		if o.Pinned == nil {
			return nil, Errorf(CodeBadRequest, "the edge at %s is known by a pin, which this agent can't check", edge.Host)
		}
		trust = o.Pinned(home.Pin)
	}
	d := &dialer{home: home, url: url.URL{Scheme: edge.Scheme, Host: edge.Host, Path: ConnectPath}, address: edge.Host, dial: dial}
	if edge.Port() == "" {
		port := "443"
		if edge.Scheme == "http" {
			port = "80"
		}
		d.address = net.JoinHostPort(edge.Hostname(), port)
	}
	if edge.Scheme == "https" {
		d.tls = trust.Clone()
		if d.tls == nil {
			d.tls = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		if d.tls.ServerName == "" {
			d.tls.ServerName = edge.Hostname()
		}
		d.tls.NextProtos = []string{"http/1.1"} // upgrades don't exist in HTTP/2
		if d.tls.ClientSessionCache == nil {
			d.tls.ClientSessionCache = tls.NewLRUClientSessionCache(16) // spares resume the session: no certificate to check anew
		}
	}
	d.header = http.Header{}
	d.header.Set("Authorization", "Bearer "+o.Token)
	d.header.Set(HeaderAgentKey, o.AgentKey)
	return d, nil
}

// connect makes a TCP connection with keep-alive, and TLS on it where the edge
// has TLS. Its errors are *unreachable, or ctx's end.
func (d *dialer) connect(ctx context.Context) (net.Conn, error) {
	plain, err := d.dial(ctx, "tcp", d.address)
	if err != nil {
		return nil, d.notReached(err)
	}
	reactor.KeepAlive(plain)
	if d.tls == nil {
		return plain, nil
	}
	secure := tls.Client(reactor.NewTransport(plain), d.tls)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = plain.Close()
		return nil, d.notTrusted(err)
	}
	return secure, nil
}

// control opens a control channel. An *Error is the edge's refusal.
func (d *dialer) control(ctx context.Context, agentID string) (*websocket.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	connect := func(ctx context.Context, _, _ string) (net.Conn, error) { return d.connect(ctx) }
	header := d.header.Clone()
	header.Set(HeaderAgentID, agentID)
	ws, answer, err := websocket.Dial(ctx, d.url.String(), &websocket.DialOptions{
		HTTPClient: &http.Client{
			Transport: &http.Transport{DialContext: connect, DialTLSContext: connect, DisableKeepAlives: true},
			// Credentials go to the edge that the operator named and nowhere else.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		HTTPHeader:   header,
		Subprotocols: []string{ControlProtocol},
	})
	if err != nil {
		if answer != nil && answer.StatusCode != http.StatusSwitchingProtocols {
			return nil, refusedBy(answer)
		}
		return nil, d.unanswered(err)
	}
	if ws.Subprotocol() != ControlProtocol {
		_ = ws.CloseNow()
		return nil, fmt.Errorf("%s does not speak %s; is it a streamspace edge?", d.url.Host, ControlProtocol)
	}
	return ws, nil
}

// stream opens a stream connection; what was read ahead from it is in reader.
// An *Error is the edge's refusal.
func (d *dialer) stream(ctx context.Context, agentID, token string) (net.Conn, *bufio.Reader, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := d.connect(ctx)
	if err != nil {
		return nil, nil, err
	}
	stop := interruptAtEnd(ctx, conn)
	reader, err := d.upgrade(conn, agentID, token)
	if !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = conn.Close()
		return nil, nil, d.unanswered(err)
	}
	return conn, reader, nil
}

func (d *dialer) upgrade(conn net.Conn, agentID, token string) (*bufio.Reader, error) {
	request := http.Request{Method: http.MethodGet, URL: &d.url, Host: d.url.Host, Header: http.Header{}}
	request.Header.Set("Connection", "Upgrade")
	request.Header.Set("Upgrade", StreamProtocol)
	request.Header.Set(HeaderAgentID, agentID)
	request.Header.Set(HeaderStream, token)
	if err := request.Write(conn); err != nil {
		return nil, err
	}
	reader := bufio.NewReaderSize(conn, frameHeader+maxPayload)
	answer, err := http.ReadResponse(reader, &request)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusSwitchingProtocols || answer.Header.Get("Upgrade") != StreamProtocol {
		return nil, errors.Join(refusedBy(answer), answer.Body.Close())
	}
	return reader, nil
}

// refusedBy reads why the edge, or whatever answers at its address, refused.
func refusedBy(answer *http.Response) error {
	if answer.StatusCode >= 300 && answer.StatusCode < 400 {
		return fmt.Errorf("the edge answers with a redirect to %s; give that address as the edge's", answer.Header.Get("Location"))
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxRefusalBody))
	if err != nil {
		return fmt.Errorf("the edge answers %s: %w", answer.Status, err)
	}
	var refusal Error
	if json.Unmarshal(body, &refusal) == nil && refusal.Code != "" {
		return &refusal
	}
	if line := firstLine(answer.Header.Get("Content-Type"), body); line != "" {
		return fmt.Errorf("the edge answers %s (%q); is there a streamspace edge at this address?", answer.Status, line)
	}
	return fmt.Errorf("the edge answers %s; is there a streamspace edge at this address?", answer.Status)
}
