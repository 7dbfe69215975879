package agent

import (
	"context"
	"fmt"
	"net"

	"github.com/streamspace-dev/streamspace-edge/proxy/rfb"
)

// dial connects, and goes through the handshake where the agent has the
// password: then ClientInit is the next thing that the VNC server waits for.
func (e Endpoint) dial(ctx context.Context) (net.Conn, error) {
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

// check connects and leaves. A server that is left before it has heard its
// password counts that as an attack, so it gets the password.
func (e Endpoint) check(ctx context.Context) error {
	if e.PasswordFile == "" {
		return checkGreeting(ctx, e.Address)
	}
	conn, err := e.dial(ctx)
	if err != nil {
		return err
	}
	return conn.Close()
}
