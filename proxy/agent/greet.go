package agent

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/streamspace-dev/streamspace-edge/proxy/rfb"
)

const (
	unixPrefix = "unix:"
	// sun_path of unix(7) has 108 bytes, one of them for the final zero.
	maxSocketPath = 107
	maxRefusal    = 200 // bytes of a VNC server's own words that are passed on
)

// dialAddress connects to "host:port" or "unix:/path". Its error says in words
// why not; where to, its caller knows.
func dialAddress(ctx context.Context, address string) (net.Conn, error) {
	conn, err := connect(ctx, address)
	if err != nil {
		return nil, inWords(err)
	}
	return conn, nil
}

// inWords is a network's error without the addresses at both ends.
func inWords(err error) error {
	var name *net.DNSError
	var number syscall.Errno
	var timeout interface{ Timeout() bool }
	switch {
	case errors.As(err, &name):
		return fmt.Errorf("its name can't be resolved: %s", name.Err)
	case errors.As(err, &number):
		return number
	case errors.As(err, &timeout) && timeout.Timeout():
		return errors.New("it took too long to answer")
	}
	return err
}

func connect(ctx context.Context, address string) (net.Conn, error) {
	var dialer net.Dialer
	path, isUnix := strings.CutPrefix(address, unixPrefix)
	if !isUnix {
		return dialer.DialContext(ctx, "tcp", address)
	}
	if len(path) <= maxSocketPath {
		return dialer.DialContext(ctx, "unix", path)
	}
	// A socket deep in the file system has a short name through its folder.
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	return dialer.DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d/%s", folder.Fd(), filepath.Base(path)))
}

// checkGreeting connects to a VNC server, hears its greeting and leaves.
func checkGreeting(ctx context.Context, address string) error {
	conn, err := dialAddress(ctx, address)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	err = greet(polite{conn})
	if errors.Is(err, errSilent) && ctx.Err() == nil {
		return nil
	}
	return err
}

// politeWait is how long a server that has greeted may take for each answer of
// the handshake before it is taken for good all the same: it did greet.
const politeWait = time.Second

// errSilent is what polite's Read returns after politeWait.
var errSilent = errors.New("it greeted and then was silent")

// polite is a connection to a VNC server whose first message, the greeting, may
// take as long as it likes, and whose others politeWait.
type polite struct{ net.Conn }

func (p polite) Write(b []byte) (int, error) {
	_ = p.SetReadDeadline(time.Now().Add(politeWait))
	return p.Conn.Write(b)
}

func (p polite) Read(b []byte) (int, error) {
	n, err := p.Conn.Read(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = errSilent
	}
	return n, err
}

// greet goes through the handshake of RFC 6143 sections 7.1.1 to 7.1.3 as far
// as it can without a password. A server that is left earlier may take it for
// an attack: TigerVNC locks a host out for a while after five of those.
func greet(conn io.ReadWriter) error {
	var line [12]byte
	if _, err := io.ReadFull(conn, line[:]); err != nil {
		return fmt.Errorf("it sent no VNC greeting: %w", err)
	}
	offered, err := rfb.ParseVersion(line)
	if err != nil {
		return fmt.Errorf("it does not speak VNC: %w", err)
	}
	version, ok := offered.Spoken()
	if !ok {
		return fmt.Errorf("it speaks version %s of VNC's protocol, which is too old", offered)
	}
	answer := version.Bytes()
	if _, err := conn.Write(answer[:]); err != nil {
		return err
	}
	if err := chooseSecurity(conn, version); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("it left after the greeting: %w", err)
		}
		return err
	}
	return nil
}

func chooseSecurity(conn io.ReadWriter, version rfb.Version) error {
	if version == rfb.V33 {
		return readResult(conn, func(kind uint32) bool { return kind != uint32(rfb.SecurityInvalid) })
	}
	var count [1]byte
	if _, err := io.ReadFull(conn, count[:]); err != nil {
		return err
	}
	if count[0] == 0 {
		return refusal(conn)
	}
	types := make([]byte, count[0])
	if _, err := io.ReadFull(conn, types); err != nil {
		return err
	}
	if !slices.Contains(types, byte(rfb.SecurityNone)) {
		return nil // it wants a password, which is the viewer's to give
	}
	if _, err := conn.Write([]byte{byte(rfb.SecurityNone)}); err != nil || version == rfb.V37 {
		return err // 3.7 sends no result for None
	}
	return readResult(conn, func(result uint32) bool { return result == uint32(rfb.SecurityOK) })
}

// readResult reads a number and, when it is a bad one, the reason behind it.
func readResult(conn io.Reader, good func(uint32) bool) error {
	var number [4]byte
	if _, err := io.ReadFull(conn, number[:]); err != nil {
		return err
	}
	if good(binary.BigEndian.Uint32(number[:])) {
		return nil
	}
	return refusal(conn)
}

func refusal(conn io.Reader) error {
	var size [4]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return errors.New("it refused the connection without a reason")
	}
	words, _ := io.ReadAll(io.LimitReader(conn, int64(min(binary.BigEndian.Uint32(size[:]), maxRefusal)))) // a part of the reason is better than none
	return fmt.Errorf("it refused the connection: %q", words)
}
