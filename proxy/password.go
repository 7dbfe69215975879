package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"

	"github.com/streamspace-dev/streamspace-edge/proxy/rfb"
)

// Password tells which VNC servers ask for which password.
type Password struct {
	// Endpoint is one server as sessions name it, "10.0.0.5:5900" or
	// "vm7.example.org:5900", or a network with ports, as ParseAllow takes it.
	Endpoint string
	// User makes it a password of HTTP's basic authentication, for endpoints that
	// are WebSockets. Empty: a VNC password, for all others.
	User string
	File string // see rfb.ReadPassword; read at each use
}

// passwordRule is a Password of which the endpoint is understood: network, or
// one server.
type passwordRule struct {
	network *allowRule
	host    string
	port    uint16
	user    string
	file    string
}

func parsePasswordRule(p Password, allow *Allow) (passwordRule, error) {
	if strings.Contains(p.Endpoint, "/") {
		network, err := parseAllowRule(p.Endpoint)
		return passwordRule{network: &network, user: p.User, file: p.File}, err
	}
	host, port, err := splitEndpoint(p.Endpoint)
	if err == nil {
		err = allow.Check(p.Endpoint)
	}
	var refusal *Refusal
	if errors.As(err, &refusal) {
		text := refusal.Detail
		if text == "" {
			text = refusal.Cause.Error()
		}
		err = errors.New(text)
	}
	return passwordRule{host: host, port: port, user: p.User, file: p.File}, err
}

// passwordFor finds the first rule for a server that was connected to at
// address, with or without a user; nil: there is none.
func (d *Direct) passwordFor(endpoint string, address net.Addr, user bool) *passwordRule {
	at, err := netip.ParseAddrPort(address.String())
	if err != nil {
		return nil
	}
	at = netip.AddrPortFrom(at.Addr().Unmap().WithZone(""), at.Port())
	host, _, _ := splitEndpoint(endpoint) // Dial has understood it
	for i := range d.passwords {
		if rule := &d.passwords[i]; (rule.user != "") == user && rule.covers(host, at) {
			return rule
		}
	}
	return nil
}

// covers goes by the address that was dialled, so that a name can't lead a
// password out of its network; a rule with a name, by that name.
func (r *passwordRule) covers(host string, at netip.AddrPort) bool {
	if r.network != nil {
		return r.network.covers(at.Port()) && r.network.network.Contains(at.Addr())
	}
	if only, err := netip.ParseAddr(r.host); err == nil {
		return r.port == at.Port() && only.Unmap().WithZone("") == at.Addr()
	}
	return r.port == at.Port() && strings.EqualFold(r.host, host)
}

func (r *passwordRule) password() (string, error) {
	password, err := rfb.ReadPassword(r.file)
	if err != nil {
		err = &Refusal{Reason: VNCPassword, Detail: "This server can't read the password of the desktop's VNC server.", Cause: fmt.Errorf("the password file %w", err)}
	}
	return password, err
}

func (r *passwordRule) logIn(ctx context.Context, conn net.Conn) error {
	password, err := r.password()
	if err != nil {
		return err
	}
	if err := rfb.LogIn(ctx, conn, password); err != nil {
		return fmt.Errorf("logging in to %s with the password in %s: %w", conn.RemoteAddr(), r.file, err)
	}
	return nil
}

// loginRefusal finds the reason in an error of a login.
func loginRefusal(err error) *Refusal {
	var refused *rfb.RefusedError
	var refusal *Refusal
	var network *net.OpError
	switch {
	case errors.As(err, &refusal):
		return refusal
	case errors.As(err, &refused) && refused.Security == rfb.SecurityVNCAuth:
		return &Refusal{Reason: VNCPassword, Cause: err}
	case errors.As(err, &refused):
		return &Refusal{Reason: VNCRefused, Cause: err}
	case isTimeout(err):
		return &Refusal{Reason: VNCSilent, Cause: err}
	case errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &network):
		return &Refusal{Reason: VNCRefused, Cause: err}
	default:
		return &Refusal{Reason: NotVNC, Cause: err}
	}
}
