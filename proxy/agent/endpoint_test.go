//go:build linux

package agent

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/streamspace-dev/streamspace-edge/proxy/rfb"
	"github.com/streamspace-dev/streamspace-edge/proxy/tunnel"
)

// lockedServer runs a TigerVNC that asks for a password and returns its
// address. Its blacklist is on: it locks out who leaves early too often.
func lockedServer(t *testing.T, password string) (address string) {
	t.Helper()
	// What vncpasswd writes: one block, encrypted with the key that all VNC
	// programs know.
	const everybodysKey = "\x17\x52\x6b\x06\x23\x4e\x58\x07"
	var plain [rfb.ChallengeLen]byte
	copy(plain[:rfb.MaxPassword], password)
	obfuscated := rfb.VNCAuthResponse(plain, everybodysKey)
	file := filepath.Join(t.TempDir(), "passwd")
	if err := os.WriteFile(file, obfuscated[:rfb.MaxPassword], 0o600); err != nil {
		t.Fatal(err)
	}
	data := t.TempDir()
	a := startAgent(t, data, RuntimeConfig{
		Name: "locked", Type: TypeProcess, Desktop: []string{"sleep", "1000"},
		Command: []string{
			"Xtigervnc", "-displayfd", "{displayfd}", "-rfbunixpath", "{socket}", "-rfbport=-1", "-nolisten", "tcp",
			"-auth", "{xauth}", "-SecurityTypes", "VncAuth", "-PasswordFile", file, "-geometry", "320x200",
		},
	})
	return "unix:" + filepath.Join(data, sessionsFolder, a.running("locked"), socketFile)
}

func writePassword(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// desktopSize is what the VNC server tells whoever has gone through the
// handshake.
func desktopSize(t *testing.T, conn net.Conn) (width, height uint16) {
	t.Helper()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(rfb.ClientInit{Shared: true}.Append(nil)); err != nil {
		t.Fatal(err)
	}
	init, err := rfb.ReadServerInit(conn)
	if err != nil {
		t.Fatal(err)
	}
	return init.Width, init.Height
}

// welcomed is the viewer's end of a stream that Greet speaks on.
func welcomed(t *testing.T, a *testAgent, id string) (rfb.Handshake, error) {
	t.Helper()
	edge, viewer := net.Pipe()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	greeted := make(chan error, 1)
	go func() {
		greeted <- a.Greet(ctx, tunnel.OpenRequest{Session: id}, edge)
		_ = edge.Close()
	}()
	h, err := rfb.Authenticate(viewer, "")
	_ = viewer.Close()
	if failed := <-greeted; failed != nil {
		return h, failed
	}
	return h, err
}

func TestAgentKeepsThePasswordOfAnEndpoint(t *testing.T) {
	const secret, wrong = "tr0ub4dor", "wr0ng-0ne"
	file := filepath.Join(t.TempDir(), "password")
	writePassword(t, file, secret+"\n")
	a := startAgent(t, t.TempDir(), RuntimeConfig{Name: "vm", Type: TypeStatic, Endpoints: []Endpoint{
		{Name: "one", Address: lockedServer(t, secret), PasswordFile: file},
	}})
	id := a.running("vm")
	for range 12 { // more than the blacklist lets pass
		conn, err := a.open(id)
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	conn, err := a.open(id)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if width, height := desktopSize(t, conn); width != 320 || height != 200 {
		t.Errorf("the desktop has %dx%d pixels", width, height)
	}
	if h, err := welcomed(t, a, id); err != nil || h.Security != rfb.SecurityNone {
		t.Errorf("a viewer is greeted with %+v, %v", h, err)
	}

	writePassword(t, file, wrong+"\r\n")
	_, err = a.open(id)
	wantCode(t, err, tunnel.CodeVNCPassword, "refused the password")
	if text := err.Error(); strings.Contains(text, wrong[:rfb.MaxPassword]) || strings.Contains(text, secret[:rfb.MaxPassword]) {
		t.Errorf("%q tells a password", text)
	}
	a.stop(id)
	a.becomes(id, tunnel.SessionEnded)
	start := tunnel.Command{Action: tunnel.ActionStart, Session: newID(t), Runtime: "vm"}
	wantCode(t, a.command(start), tunnel.CodeVNCPassword, "one", "can't be used: it refused the password")

	writePassword(t, file, secret)
	if err := a.command(start); err != nil { // read at each use
		t.Fatal(err)
	}
	a.becomes(start.Session, tunnel.SessionRunning)
}

// TestARefusedPasswordIsHopelessOnlyWhenNothingElseIsLeft: a start is worth
// another try while some endpoint may become free or come back.
func TestARefusedPasswordIsHopelessOnlyWhenNothingElseIsLeft(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	writePassword(t, file, "wr0ng-0ne")
	locked := Endpoint{Name: "locked", Address: lockedServer(t, "tr0ub4dor"), PasswordFile: file}
	free := Endpoint{Name: "free", Address: vncServer(t, "tcp", "127.0.0.1:0")}
	gone := Endpoint{Name: "gone", Address: "127.0.0.1:1"}
	a := startAgent(t, t.TempDir(),
		RuntimeConfig{Name: "taken", Type: TypeStatic, Endpoints: []Endpoint{locked, free}},
		RuntimeConfig{Name: "away", Type: TypeStatic, Endpoints: []Endpoint{gone, locked}})
	a.running("taken")
	start := func(runtime, endpoint string) error {
		return a.command(tunnel.Command{Action: tunnel.ActionStart, Session: newID(t), Runtime: runtime, Endpoint: endpoint})
	}
	wantCode(t, start("taken", ""), tunnel.CodeVNCRefused, "refused the password")
	wantCode(t, start("away", ""), tunnel.CodeVNCRefused, "locked")
	wantCode(t, start("taken", "locked"), tunnel.CodeVNCPassword, "refused the password")
}

func TestPasswordFilesThatHoldNone(t *testing.T) {
	folder := t.TempDir()
	files := map[string]string{"empty": "", "newlines": "\r\n\n", "long": strings.Repeat("x", 4097)}
	for name, text := range files {
		writePassword(t, filepath.Join(folder, name), text)
	}
	for name, word := range map[string]string{
		"empty": "is empty", "newlines": "is empty", "long": "more than 4096 bytes", "missing": "can't be read", ".": "can't be read",
	} {
		file := filepath.Join(folder, name)
		_, err := Endpoint{Address: "127.0.0.1:1", PasswordFile: file}.dial(t.Context())
		if err == nil || strings.Contains(err.Error(), "xxx") {
			t.Errorf("%s: %v", name, err)
			continue
		}
		wantWords(t, err.Error(), "password_file", word, filepath.Clean(file))
	}
}

// Where the agent has no password, the handshake is between viewer and server.
func TestViewersShakeHandsThemselvesWithoutAPasswordFile(t *testing.T) {
	a := startAgent(t, t.TempDir(), RuntimeConfig{Name: "vm", Type: TypeStatic, Endpoints: []Endpoint{
		{Name: "one", Address: vncServer(t, "tcp", "127.0.0.1:0")},
	}}, demoRuntime())
	for _, runtime := range []string{"vm", "demo"} {
		id := a.running(runtime)
		a.greets(id)
		if h, err := welcomed(t, a, id); err == nil || h != (rfb.Handshake{}) {
			t.Errorf("%s: the agent says %+v, %v", runtime, h, err)
		}
	}
	_, err := welcomed(t, a, newID(t))
	wantCode(t, err, tunnel.CodeNoSession)
}

// A server that accepts and says nothing costs the caller's time and no more.
func TestSilentServerIsGivenUpInTheHandshake(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	file := filepath.Join(t.TempDir(), "password")
	writePassword(t, file, "secret")
	ctx, cancel := context.WithCancel(t.Context())
	accepted := make(chan net.Conn, 1)
	go func() {
		conn, _ := listener.Accept()
		accepted <- conn
		cancel()
	}()
	if _, err := (Endpoint{Address: listener.Addr().String(), PasswordFile: file}).dial(ctx); err == nil {
		t.Error("a silent server was taken for one that knows the password")
	}
	(<-accepted).Close()
}

// TestReasonsNameNoAddressOfAnEndpointWithAName: users read them, and where in
// the operator's network a machine is, is not theirs to know.
func TestReasonsNameNoAddressOfAnEndpointWithAName(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.(*net.TCPConn).SetLinger(0) // a reset, which the network's error tells with both addresses
			_ = conn.Close()
		}
	}()
	defer func() { _ = l.Close(); <-served }()
	file := filepath.Join(t.TempDir(), "password")
	writePassword(t, file, "s3cret")
	resets := Endpoint{Name: "resets", Address: l.Addr().String()}
	locked := Endpoint{Name: "locked", Address: l.Addr().String(), PasswordFile: file}
	web := Endpoint{Name: "web", Address: "ws://" + l.Addr().String() + "/websockify"}
	nameless := Endpoint{Address: l.Addr().String()}
	for _, e := range []Endpoint{resets, locked, web, nameless} {
		a := startAgent(t, t.TempDir(), RuntimeConfig{Name: "vm", Type: TypeStatic, Endpoints: []Endpoint{e}})
		err := a.command(tunnel.Command{Action: tunnel.ActionStart, Session: newID(t), Runtime: "vm"})
		wantCode(t, err, tunnel.CodeVNCRefused, "can't be used")
		text := err.Error()
		if strings.Contains(text, "127.0.0.1") != (e.Name == "") || !strings.Contains(text, e.Name) {
			t.Errorf("the endpoint %q: %s", e.Name, text)
		}
	}
}
