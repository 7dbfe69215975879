package agent

import (
	"context"
	"fmt"
	"net"

	"github.com/streamspace-dev/streamspace-edge/proxy/rfb"
	"github.com/streamspace-dev/streamspace-edge/proxy/tunnel"
	"github.com/streamspace-dev/streamspace-edge/proxy/websocket"
)

// dial connects, and goes through the handshake where the agent has the
// password: then ClientInit is the next thing that the VNC server waits for.
func (e Endpoint) dial(ctx context.Context) (net.Conn, error) {
	if websocket.Is(e.Address) {
		return e.dialWebSocket(ctx)
	}
	if e.PasswordFile == "" {
		return dialAddress(ctx, e.Address)
	}
	password, err := rfb.ReadPassword(e.PasswordFile)
	if err != nil {
		return nil, fmt.Errorf("its password_file %w", err)
	}
	conn, err := dialAddress(ctx, e.Address)
	if err != nil {
		return nil, err
	}
	if err := rfb.LogIn(ctx, conn, password); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// dialWebSocket returns a *tunnel.WebSocket.
func (e Endpoint) dialWebSocket(ctx context.Context) (net.Conn, error) {
	address, err := websocket.Parse(e.Address)
	if err != nil {
		return nil, err
	}
	login := websocket.Credentials{User: e.User}
	if e.User != "" {
		if login.Password, err = rfb.ReadPassword(e.PasswordFile); err != nil {
			return nil, fmt.Errorf("its password_file %w", err)
		}
	}
	conn, err := dialAddress(ctx, address.HostPort())
	if err != nil {
		return nil, err
	}
	upgraded, err := websocket.Open(ctx, conn, address, e.trust(), login)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return &tunnel.WebSocket{Conn: upgraded}, nil
}

func (e Endpoint) trust() websocket.Trust { return websocket.Trust{CAFile: e.CAFile, Pin: e.Pin} }

// welcomes tells whether the agent goes through the VNC handshake.
func (e Endpoint) welcomes() bool { return e.PasswordFile != "" && !websocket.Is(e.Address) }

// check connects and leaves. Of a WebSocket only its opening handshake is looked
// at. A server that is left before it has heard its
// password counts that as an attack, so it gets the password.
func (e Endpoint) check(ctx context.Context) error {
	if e.PasswordFile == "" && !websocket.Is(e.Address) {
		return checkGreeting(ctx, e.Address)
	}
	conn, err := e.dial(ctx)
	if err != nil {
		return err
	}
	return conn.Close()
}
