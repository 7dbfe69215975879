package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"

	"github.com/streamspace-dev/streamspace-edge/proxy/rfb"
)

// DirectConfig is where the edge connects to VNC servers itself. The zero value
// allows nothing.
type DirectConfig struct {
	Allow     []string // see ParseAllow
	Passwords []Password
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
		d.passwords = append(d.passwords, rule)
	}
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

// Check is Allow.Check.
func (d *Direct) Check(endpoint string) error { return d.allow.Check(endpoint) }

// Dial connects to endpoint as Allow.Dial does. Where there is a password for it,
// the handshake is gone through and what is returned is a *Server. A server that
// asks for something else than a password is left to the viewer. The error is a
// *Refusal.
func (d *Direct) Dial(ctx context.Context, endpoint string) (net.Conn, error) {
	conn, err := d.allow.Dial(ctx, endpoint)
	if err != nil {
		return nil, err
	}
	rule := d.passwordFor(endpoint, conn.RemoteAddr())
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
