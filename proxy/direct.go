package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"

	"github.com/streamspace-dev/streamspace-edge/proxy/rfb"
	"github.com/streamspace-dev/streamspace-edge/proxy/websocket"
)

// DirectConfig is where the edge connects to VNC servers itself. The zero value
// allows nothing.
type DirectConfig struct {
	Allow     []string // see ParseAllow
	Passwords []Password
	CAFile    string // PEM roots for wss:// instead of the system's; read at each use
}

// Fault is what is wrong with one key of a DirectConfig.
type Fault struct {
	Key  string // "allow[0]", "passwords[1].file"
	Text string // which value is wrong and what to change
}

// Validate tells everything that is wrong, files that can't be used included.
func (c DirectConfig) Validate() []Fault {
	_, faults := c.parse()
	return faults
}

func (c DirectConfig) parse() (*Direct, []Fault) {
	var faults []Fault
	add := func(text error, key string, args ...any) {
		if text != nil {
			faults = append(faults, Fault{Key: fmt.Sprintf(key, args...), Text: text.Error()})
		}
	}
	d := &Direct{allow: newAllow()}
	for i, text := range c.Allow {
		add(d.allow.add(text), "allow[%d]", i)
	}
	for i, p := range c.Passwords {
		rule, err := parsePasswordRule(p, d.allow)
		add(err, "passwords[%d].endpoint", i)
		add(checkFile(p.File), "passwords[%d].file", i)
		if strings.Contains(p.User, ":") {
			add(fmt.Errorf("%q has a colon, which HTTP's basic authentication can't carry", p.User), "passwords[%d].user", i)
		}
		d.passwords = append(d.passwords, rule)
	}
	d.trust = websocket.Trust{CAFile: c.CAFile}
	add(d.trust.Check(), "ca_file")
	return d, faults
}

func checkFile(file string) error {
	if !filepath.IsAbs(file) {
		return fmt.Errorf("%q must be the absolute path of the file that holds the password", file)
	}
	_, err := rfb.ReadPassword(file)
	return err
}

// Direct connects to the VNC servers that sessions name as their endpoint, and
// logs in to those whose password it has.
type Direct struct {
	allow     *Allow
	passwords []passwordRule
	trust     websocket.Trust
}

// NewDirect fails with all that Validate tells.
func NewDirect(c DirectConfig) (*Direct, error) {
	d, faults := c.parse()
	if len(faults) == 0 {
		return d, nil
	}
	var all []error
	for _, f := range faults {
		all = append(all, fmt.Errorf("direct.%s: %s", f.Key, f.Text))
	}
	return nil, errors.Join(all...)
}

// Check is Allow.Check; endpoint may also be the address of a WebSocket, "ws://…"
// or "wss://…".
func (d *Direct) Check(endpoint string) error {
	if !websocket.Is(endpoint) {
		return d.allow.Check(endpoint)
	}
	address, err := parseWebSocket(endpoint)
	if err != nil {
		return err
	}
	return d.allow.Check(address.HostPort())
}

func parseWebSocket(endpoint string) (websocket.Address, error) {
	address, err := websocket.Parse(endpoint)
	if err != nil {
		return address, &Refusal{Reason: EndpointDenied, Detail: err.Error()}
	}
	return address, nil
}

// Dial connects to endpoint as Allow.Dial does. Where there is a password for it,
// the handshake is gone through and what is returned is a *Server. A server that
// asks for something else than a password is left to the viewer. The error is a
// *Refusal.
func (d *Direct) Dial(ctx context.Context, endpoint string) (net.Conn, error) {
	if websocket.Is(endpoint) {
		return d.dialWebSocket(ctx, endpoint)
	}
	conn, err := d.allow.Dial(ctx, endpoint)
	if err != nil {
		return nil, err
	}
	rule := d.passwordFor(endpoint, conn.RemoteAddr(), false)
	if rule == nil {
		return conn, nil
	}
	err = rule.logIn(ctx, conn)
	var unsupported *rfb.UnsupportedError
	switch {
	case err == nil:
		return &Server{Conn: conn, Welcome: true}, nil
	case errors.As(err, &unsupported):
		_ = conn.Close()
		return d.allow.Dial(ctx, endpoint)
	default:
		_ = conn.Close()
		return nil, loginRefusal(err)
	}
}

func (d *Direct) dialWebSocket(ctx context.Context, endpoint string) (net.Conn, error) {
	address, err := parseWebSocket(endpoint)
	if err != nil {
		return nil, err
	}
	conn, err := d.allow.Dial(ctx, address.HostPort())
	if err != nil {
		return nil, err
	}
	var login websocket.Credentials
	if rule := d.passwordFor(address.HostPort(), conn.RemoteAddr(), true); rule != nil {
		if login.Password, err = rule.password(); err != nil {
			_ = conn.Close()
			return nil, err
		}
		login.User = rule.user
	}
	upgraded, err := websocket.Open(ctx, conn, address, d.trust, login)
	if err != nil {
		_ = conn.Close()
		return nil, webSocketRefusal(err)
	}
	return &Server{Conn: upgraded, WebSocket: true}, nil
}

// webSocketRefusal finds the reason in an error of an opening handshake.
func webSocketRefusal(err error) *Refusal {
	var refused *websocket.RefusedError
	var network *net.OpError
	switch {
	case errors.As(err, &refused) && refused.Unauthorized():
		return &Refusal{Reason: VNCPassword, Cause: err}
	case errors.As(err, &refused) && refused.Status >= 500:
		return &Refusal{Reason: VNCRefused, Cause: err}
	case isTimeout(err):
		return &Refusal{Reason: VNCSilent, Cause: err}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &network):
		return &Refusal{Reason: VNCRefused, Cause: err}
	default:
		return &Refusal{Reason: NotVNC, Cause: err}
	}
}
