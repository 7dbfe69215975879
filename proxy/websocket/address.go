// Package websocket reaches VNC servers that speak WebSocket themselves, such as
// websockify or KasmVNC: their addresses, TLS, and a client's opening handshake.
// It carries no frames.
package websocket

import (
	"fmt"
	"net"
	"net/url"
	"strings"
)

// Address is a parsed "ws://host:port/path" or "wss://…".
type Address struct {
	Secure     bool   // TLS
	Host, Port string // without brackets
	Path       string // with its query, at least "/"
}

const form = `write it like "ws://127.0.0.1:6080/websockify" or "wss://vm7.example.org:8443/websockify"`

// Is tells whether text is meant to be an Address.
func Is(text string) bool {
	return strings.HasPrefix(text, "ws://") || strings.HasPrefix(text, "wss://")
}

// Parse reads an address. Without a port it is 80, with TLS 443. A user in it is
// an error: addresses are shown and logged.
func Parse(text string) (Address, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || !Is(text) || u.Hostname() == "" || strings.ContainsAny(text, " #"):
		return Address{}, fmt.Errorf("%q is not a WebSocket's address; %s", withoutUser(text), form)
	case u.User != nil:
		return Address{}, fmt.Errorf("%q has a user in it, which whoever sees the address would see; remove that", withoutUser(text))
	}
	a := Address{Secure: u.Scheme == "wss", Host: u.Hostname(), Port: u.Port(), Path: u.RequestURI()}
	if a.Port == "" {
		a.Port = "80"
		if a.Secure {
			a.Port = "443"
		}
	}
	return a, nil
}

// withoutUser hides what may be a password from an error.
func withoutUser(text string) string {
	scheme, rest, found := strings.Cut(text, "://")
	if at := strings.LastIndexByte(rest, '@'); found && at >= 0 {
		return scheme + "://" + rest[at+1:]
	}
	return text
}

// HostPort is what to connect to.
func (a Address) HostPort() string { return net.JoinHostPort(a.Host, a.Port) }
