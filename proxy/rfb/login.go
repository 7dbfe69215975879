package rfb

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"
)

// maxPasswordFile is far more than a VNC server looks at, in bytes.
const maxPasswordFile = 4 << 10

// ReadPassword reads a file that holds a password in plain text; newlines at
// its end are left out. The error names the file and never the password.
func ReadPassword(file string) (string, error) {
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
		return "", fmt.Errorf("%s is empty; write the password into it", file)
	}
	return password, nil
}

// LogIn is Authenticate within ctx. It leaves conn without a deadline; after an
// error the caller closes it.
func LogIn(ctx context.Context, conn net.Conn, password string) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	_, err := Authenticate(conn, password)
	if !stop() && err == nil {
		return ctx.Err() // conn has a deadline in the past
	}
	return err
}
