package agent

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/streamspace-dev/streamspace-edge/proxy/rfb"
)

// maxPasswordFile is far more than a VNC server looks at, in bytes.
const maxPasswordFile = 4 << 10

// dial connects, and goes through the handshake where the agent has the
// password: then ClientInit is the next thing that the VNC server waits for.
func (e Endpoint) dial(ctx context.Context) (net.Conn, error) {
	if e.PasswordFile == "" {
		return dialAddress(ctx, e.Address)
	}
	password, err := readPassword(e.PasswordFile)
	if err != nil {
		return nil, fmt.Errorf("its password_file %w", err)
	}
	conn, err := dialAddress(ctx, e.Address)
	if err != nil {
		return nil, err
	}
	if err := authenticate(ctx, conn, password); err != nil {
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

// authenticate leaves conn without a deadline.
func authenticate(ctx context.Context, conn net.Conn, password string) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	_, err := rfb.Authenticate(conn, password)
	if !stop() && err == nil {
		return ctx.Err() // conn has a deadline in the past
	}
	return err
}

// readPassword never tells the password in an error.
func readPassword(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("can't be read: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxPasswordFile+1))
	if err != nil {
		return "", fmt.Errorf("can't be read: %w", err)
	}
	if len(text) > maxPasswordFile {
		return "", fmt.Errorf("%s has more than %d bytes; it must hold the password and nothing else", file, maxPasswordFile)
	}
	password := strings.TrimRight(string(text), "\r\n")
	if password == "" {
		return "", fmt.Errorf("%s is empty; write the VNC server's password into it", file)
	}
	return password, nil
}
