package rfb

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"image"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience only guards against a hang.
const patience = 30 * time.Second

// serverLog is what a server prints.
type serverLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *serverLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *serverLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *serverLog) waitFor(t *testing.T, line string) {
	t.Helper()
	for end := time.Now().Add(patience); !strings.Contains(l.String(), line); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the server does not say %q", line)
		}
	}
}

// startXvnc starts TigerVNC on a UNIX socket and returns how to connect.
func startXvnc(t *testing.T, arguments ...string) (dial func() net.Conn) {
	t.Helper()
	return startXvncLogging(t, &serverLog{}, arguments...)
}

func startXvncLogging(t *testing.T, log *serverLog, arguments ...string) (dial func() net.Conn) {
	t.Helper()
	dir := t.TempDir()
	socket := filepath.Join(dir, "vnc.sock")
	display, displayEnd, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer display.Close()
	ctx, cancel := context.WithCancel(t.Context())
	server := exec.CommandContext(ctx, "Xtigervnc", append([]string{
		"-displayfd", "3", "-rfbunixpath", socket, "-rfbport=-1", "-nolisten", "tcp",
		"-geometry", "320x200", "-depth", "24", "-UseBlacklist=0",
	}, arguments...)...)
	server.ExtraFiles = []*os.File{displayEnd}
	server.Stderr = log
	server.Cancel = func() error { return server.Process.Signal(os.Interrupt) } // so that it removes its lock
	server.WaitDelay = patience
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	displayEnd.Close()
	t.Cleanup(func() {
		cancel()
		_ = server.Wait()
		if t.Failed() {
			t.Log(log)
		}
	})
	_ = display.SetReadDeadline(time.Now().Add(patience))
	if _, err := bufio.NewReader(display).ReadString('\n'); err != nil { // it listens when it tells its display
		t.Fatal(err)
	}
	return func() net.Conn {
		t.Helper()
		conn, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(patience))
		t.Cleanup(func() { conn.Close() })
		return conn
	}
}

// passwordFile is what vncpasswd writes: one block, encrypted with the key that
// all VNC programs know.
func passwordFile(t *testing.T, password string) string {
	t.Helper()
	const everybodysKey = "\x17\x52\x6b\x06\x23\x4e\x58\x07"
	var plain, obfuscated [MaxPassword]byte
	copy(plain[:], password)
	vncEncrypt(obfuscated[:], plain[:], everybodysKey)
	file := filepath.Join(t.TempDir(), "passwd")
	if err := os.WriteFile(file, obfuscated[:], 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// olderGreeting makes a server seem to speak an older version; it follows its
// client's answer.
type olderGreeting struct {
	net.Conn
	version Version
	greeted bool
}

func (o *olderGreeting) Read(p []byte) (int, error) {
	if o.greeted {
		return o.Conn.Read(p)
	}
	o.greeted = true
	if _, err := io.ReadFull(o.Conn, make([]byte, greetingLen)); err != nil {
		return 0, err
	}
	line := o.version.Bytes()
	return copy(p, line[:]), nil
}

func TestAuthenticateWithTigerVNC(t *testing.T) {
	const secret = "correct horse"
	withPassword := startXvnc(t, "-SecurityTypes", "VncAuth", "-PasswordFile", passwordFile(t, secret))
	old := startXvnc(t, "-SecurityTypes", "VncAuth", "-Protocol3.3=1", "-PasswordFile", passwordFile(t, secret))
	without := startXvnc(t, "-SecurityTypes", "None")
	encrypted := startXvnc(t, "-SecurityTypes", "TLSNone")
	for name, c := range map[string]struct {
		dial     func() net.Conn
		version  Version
		password string
		fault    string // empty: all is well
	}{
		"3.8 password":       {withPassword, V38, secret, ""},
		"3.7 password":       {withPassword, V37, secret, ""},
		"3.3 password":       {withPassword, V33, secret, ""},
		"3.3 only, password": {old, V33, secret, ""},
		"8 bytes suffice":    {withPassword, V38, secret[:8], ""},
		"7 bytes do not":     {withPassword, V38, secret[:7], `refused the password: "Authentication fail`},
		"3.7 wrong":          {withPassword, V37, "wrong", "refused the password"},
		"3.3 wrong":          {withPassword, V33, "wrong", "refused the password"},
		"no password":        {withPassword, V38, "", "wants a password"},
		"3.8 None":           {without, V38, "", ""},
		"3.7 None":           {without, V37, "", ""},
		"3.3 None":           {without, V33, "", ""},
		"only TLS":           {encrypted, V38, secret, "offers only VeNCrypt"},
	} {
		t.Run(name, func(t *testing.T) {
			conn := c.dial()
			if c.version != V38 {
				conn = &olderGreeting{Conn: conn, version: c.version}
			}
			var observer Observer
			watched := &tap{Conn: conn, o: &observer}
			h, err := Authenticate(watched, c.password)
			if phase, err := observer.phase, observer.Err(); phase != PhaseHandshake || err != nil {
				t.Errorf("seen from outside: %v, %v", phase, err)
			}
			if c.fault != "" {
				var refused *RefusedError
				if err == nil || !strings.Contains(err.Error(), c.fault) || strings.HasPrefix(c.fault, "refused") != errors.As(err, &refused) {
					t.Errorf("%v, want %q", err, c.fault)
				}
				return
			}
			if err != nil || h.Version != c.version {
				t.Fatalf("%+v, %v", h, err)
			}
			handshake := watched.n
			if _, err := watched.Write(append(ClientInit{Shared: true}.Append(nil), UpdateRequest{}.Append(nil)...)); err != nil {
				t.Fatal(err)
			}
			if observer.phase != PhaseNormal || watched.n != handshake+ClientInitLen || observer.Handshake() != h {
				t.Errorf("seen from outside: %v after %d bytes, %+v; want %d, %+v", observer.phase, watched.n, observer.Handshake(), handshake+1, h)
			}
			init, err := ReadServerInit(watched)
			if err != nil || init.Width != 320 || init.Height != 200 || init.Format.Validate() != nil {
				t.Errorf("%+v, %v", init, err)
			}
		})
	}
}

// Debian 12's TigerVNC has no ExtendedMouseButtons: it ignores that the viewer
// asks for them.
func TestTigerVNCGetsNoHiddenPaste(t *testing.T) {
	for name, c := range map[string]struct {
		policy Policy
		pastes bool
	}{
		"all may pass": {Policy{}, true},
		"no clipboard": {Policy{NoClipboardIn: true}, false},
		"view":         {Policy{View: true}, false},
	} {
		t.Run(name, func(t *testing.T) {
			var log serverLog
			conn := startXvncLogging(t, &log, "-SecurityTypes", "None", "-Log", "*:stderr:100")()
			if _, err := Authenticate(conn, ""); err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Write(ClientInit{Shared: true}.Append(nil)); err != nil {
				t.Fatal(err)
			}
			if _, err := ReadServerInit(conn); err != nil {
				t.Fatal(err)
			}
			f := Filter{Policy: c.policy}
			kept, _, err := f.Pass(UpdateRequest{Area: image.Rect(0, 0, 1, 1)}.Append(hiddenPaste()))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Write(kept); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(conn, make([]byte, 20)); err != nil { // the update: it has read all
				t.Fatal(err)
			}
			conn.Close()
			log.waitFor(t, "Connections: closed")
			if pasted := strings.Contains(log.String(), "Remote clipboard announced"); pasted != c.pastes {
				t.Errorf("the server got a clipboard: %t", pasted)
			}
		})
	}
}
