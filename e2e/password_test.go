package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto/des"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// startXvnc runs a TigerVNC on a free port of 127.0.0.1 and returns its address.
func startXvnc(t *testing.T, arguments ...string) (address string) {
	t.Helper()
	address = freePort(t)
	display, displayEnd, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer display.Close()
	server := exec.Command("Xtigervnc", append([]string{
		"-displayfd", "3", "-localhost", "-rfbport", address[strings.LastIndexByte(address, ':')+1:], "-nolisten", "tcp",
		"-geometry", "320x200", "-depth", "24",
	}, arguments...)...)
	server.Env = environment(t)
	server.ExtraFiles = []*os.File{displayEnd}
	var log bytes.Buffer
	server.Stderr = &log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	displayEnd.Close()
	t.Cleanup(func() {
		_ = server.Process.Signal(os.Interrupt) // so that it removes its lock
		_ = server.Wait()
		if t.Failed() {
			t.Logf("%s", log.Bytes())
		}
	})
	_ = display.SetReadDeadline(time.Now().Add(patience))
	if _, err := bufio.NewReader(display).ReadString('\n'); err != nil { // it listens when it tells its display
		t.Fatal(err)
	}
	return address
}

// startLockedXvnc runs a TigerVNC that asks for password.
func startLockedXvnc(t *testing.T, password string) (address string) {
	t.Helper()
	// What vncpasswd writes: one block of DES, with the key that all VNC programs
	// know, each of its bytes mirrored.
	block, err := des.NewCipher([]byte("\xe8\x4a\xd6\x60\xc4\x72\x1a\xe0"))
	if err != nil {
		t.Fatal(err)
	}
	var obfuscated [des.BlockSize]byte
	copy(obfuscated[:], password)
	block.Encrypt(obfuscated[:], obfuscated[:])
	file := writeText(t, filepath.Join(t.TempDir(), "passwd"), string(obfuscated[:]))
	return startXvnc(t, "-SecurityTypes", "VncAuth", "-PasswordFile", file)
}

// tryToWiden visits a desktop that is width pixels wide and asks for more, which
// only who controls it gets. It returns how wide the desktop is then.
func (in *installation) tryToWiden(ctx context.Context, id, mode string, width int) int {
	in.t.Helper()
	conn, err := in.view(ctx, in.ticket(id, mode))
	if err != nil {
		in.t.Fatal(err)
	}
	defer conn.Close()
	have, _, err := rfbHello(conn)
	if err != nil || have != width {
		in.t.Fatalf("%s: a desktop %d pixels wide, %v; want %d", mode, have, err, width)
	}
	if err := resize(conn, uint16(width+16), 200); err != nil {
		in.t.Fatal(err)
	}
	if mode == "control" {
		width += 16
	}
	return width
}

// resize asks for another size of the screen, which who only looks may not do,
// and waits until the VNC server has come to it.
func resize(conn net.Conn, width, height uint16) error {
	ask := []byte{2, 0, 0, 1, 0xff, 0xff, 0xfe, 0xcc}               // SetEncodings: ExtendedDesktopSize, -308
	ask = binary.BigEndian.AppendUint16(append(ask, 251, 0), width) // SetDesktopSize with one screen
	ask = binary.BigEndian.AppendUint16(ask, height)
	ask = append(ask, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	ask = binary.BigEndian.AppendUint16(ask, width)
	ask = binary.BigEndian.AppendUint16(ask, height)
	ask = append(ask, 0, 0, 0, 0)
	ask = append(ask, 3, 0, 0, 0, 0, 0, 0, 1, 0, 1) // an update of one pixel (RFC 6143 section 7.5.3)
	_, err := conn.Write(ask)
	if err == nil {
		_, err = io.ReadFull(conn, make([]byte, 4))
	}
	return err
}

// TestBrowsersNeedNoPasswordOfAVNCServer with the edge as with an agent in
// between, to control and to look, and nobody is told it.
func TestBrowsersNeedNoPasswordOfAVNCServer(t *testing.T) {
	const secret, wrong = "tr0ub4dor", "wr0ng-0ne"
	for _, way := range []string{"agent", "direct"} {
		t.Run(way, func(t *testing.T) {
			server := startLockedXvnc(t, secret)
			file := writeText(t, filepath.Join(t.TempDir(), "password"), secret+"\n")
			in := startEdgeAndAgent(t,
				fmt.Sprintf("  - {name: consoles, type: static, endpoints: [{name: one, address: %q, password_file: %q}]}", server, file),
				fmt.Sprintf("direct: {allow: [\"127.0.0.0/8:1-65535\"], passwords: [{endpoint: \"127.0.0.0/8:1-65535\", file: %q}]}", file))
			body := map[string]any{}
			if way == "direct" {
				body["endpoint"] = server
			}
			id := in.running(body).ID
			ctx := testContext(t)
			width := 320
			for range 6 { // more than TigerVNC lets pass of those who do not log in
				for _, mode := range []string{"control", "view"} {
					width = in.tryToWiden(ctx, id, mode, width)
				}
			}

			writeText(t, file, wrong)
			conn, err := in.view(ctx, in.ticket(id, "control"))
			if err != nil {
				t.Fatal(err)
			}
			_, err = io.ReadAll(conn)
			code, reason := closeOf(err)
			if want := websocket.StatusCode(4507); code != want {
				t.Errorf("a wrong password ends the viewer with %d %q, not %d", code, reason, want)
			}
			writeText(t, file, secret) // read at each use
			if _, _, err := rfbHello(in.mustView(ctx, id)); err != nil {
				t.Error(err)
			}

			said := reason + in.process.output.String() + in.agent.output.String()
			for _, path := range []string{"/api/v1/sessions", "/api/v1/sessions/" + id, "/api/v1/agents"} {
				_, answer, err := in.try("GET", path, nil, nil)
				if err != nil {
					t.Fatal(err)
				}
				said += string(answer)
			}
			response, err := http.Get(in.AdminURL + "/metrics")
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			metrics, _ := io.ReadAll(response.Body)
			said += string(metrics)
			for _, password := range []string{secret, wrong} {
				if strings.Contains(said, password[:8]) {
					t.Errorf("the password %q was told", password)
				}
			}
			if !strings.Contains(said, "refused the password") {
				t.Error("the operator is not told that the password was refused")
			}
		})
	}
}
