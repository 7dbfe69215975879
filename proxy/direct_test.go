package proxy

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/streamspace-dev/streamspace-edge/proxy/rfb"
)

const secret, wrong = "tr0ub4dor", "wr0ng-0ne"

func writePassword(t *testing.T, text string) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// startLocked is a VNC server that offers types, asks for secret where one is
// VNC authentication, and then echoes.
func startLocked(t *testing.T, types ...rfb.SecurityType) *vncServer {
	return startRaw(t, func(conn net.Conn) {
		if greetAsServer(conn) != nil {
			return
		}
		_, _ = conn.Write(rfb.AppendSecurityTypes(nil, types...))
		var choice [1]byte
		if _, err := io.ReadFull(conn, choice[:]); err != nil || !slices.Contains(types, rfb.SecurityType(choice[0])) {
			return
		}
		if rfb.SecurityType(choice[0]) == rfb.SecurityVNCAuth {
			challenge := [rfb.ChallengeLen]byte{1, 2, 3}
			_, _ = conn.Write(challenge[:])
			var response [rfb.ChallengeLen]byte
			if _, err := io.ReadFull(conn, response[:]); err != nil {
				return
			}
			if response != rfb.VNCAuthResponse(challenge, secret) {
				_, _ = conn.Write(rfb.AppendReason(rfb.AppendSecurityResult(nil, rfb.SecurityFailed), "not "+wrong+"!"))
				return
			}
		}
		_, _ = conn.Write(rfb.AppendSecurityResult(nil, rfb.SecurityOK))
		echo(conn)
	})
}

func mustDirect(t *testing.T, passwords ...Password) *Direct {
	t.Helper()
	d, err := NewDirect(DirectConfig{Allow: []string{"127.0.0.1/32:1-65535"}, Passwords: passwords})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDirectLogsInWhereItHasThePassword(t *testing.T) {
	locked := startLocked(t, rfb.SecurityTLS, rfb.SecurityVNCAuth)
	_, port, _ := net.SplitHostPort(locked.addr)
	file := writePassword(t, secret+"\n")
	for _, place := range []string{locked.addr, "127.0.0.0/8:" + port, "127.0.0.1/32:1-65535"} {
		conn, err := mustDirect(t, Password{Endpoint: place, File: file}).Dial(deadline(t), locked.addr)
		if err != nil {
			t.Fatalf("%s: %v", place, err)
		}
		if server, ok := conn.(*Server); !ok || !server.Welcome {
			t.Errorf("%s: a %T", place, conn)
		}
		b := make([]byte, 4)
		if _, err := conn.Write([]byte("init")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, b); err != nil || string(b) != "init" {
			t.Errorf("%s: %q, %v behind the handshake", place, b, err)
		}
		conn.Close()
	}
	for _, place := range []string{"127.0.0.1:1", "127.0.0.2/32:1-65535", "localhost:" + port, "127.0.0.0/8:1"} {
		conn, err := mustDirect(t, Password{Endpoint: place, File: file}).Dial(deadline(t), locked.addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := conn.(*net.TCPConn); !ok {
			t.Errorf("%s covers %s", place, locked.addr)
		}
		conn.Close()
	}
}

// A name leads to its own password only, and a network's goes by the address.
func TestPasswordsOfNames(t *testing.T) {
	locked := startLocked(t, rfb.SecurityVNCAuth)
	_, port, _ := net.SplitHostPort(locked.addr)
	file := writePassword(t, secret)
	for place, logsIn := range map[string]bool{
		"LOCALHOST:" + port: true, "127.0.0.1/32:" + port: true, "127.0.0.1:" + port: true, "vm.example.org:" + port: false, "10.0.0.0/8:" + port: false,
	} {
		conn, err := mustDirect(t, Password{Endpoint: place, File: file}).Dial(deadline(t), "localhost:"+port)
		if err != nil {
			t.Fatalf("%s: %v", place, err)
		}
		if _, ok := conn.(*Server); ok != logsIn {
			t.Errorf("%s: a %T", place, conn)
		}
		conn.Close()
	}
}

func TestServersThatCannotBeLoggedInTo(t *testing.T) {
	good, bad := writePassword(t, secret), writePassword(t, wrong)
	gone := writePassword(t, secret)
	for name, c := range map[string]struct {
		server *vncServer
		file   string
		want   Reason
		words  string
	}{
		"wrong password": {startLocked(t, rfb.SecurityVNCAuth), bad, VNCPassword, "refused the password"},
		"file gone":      {startLocked(t, rfb.SecurityVNCAuth), gone, VNCPassword, "no such file"},
		"web server":     {startRaw(t, func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n") }), good, NotVNC, "not RFB"},
		"closes":         {startRaw(t, func(net.Conn) {}), good, VNCRefused, "its greeting"},
		"closes later":   {startRaw(t, func(c net.Conn) { _ = greetAsServer(c) }), good, VNCRefused, "its security types"},
		"refuses": {startRaw(t, func(c net.Conn) {
			_ = greetAsServer(c)
			_, _ = c.Write(rfb.AppendReason([]byte{0}, "too many failures"))
		}), good, VNCRefused, "too many failures"},
	} {
		d := mustDirect(t, Password{Endpoint: c.server.addr, File: c.file})
		if name == "file gone" {
			if err := os.Remove(gone); err != nil {
				t.Fatal(err)
			}
		}
		_, err := d.Dial(deadline(t), c.server.addr)
		var refusal *Refusal
		if !errors.As(err, &refusal) || refusal.Reason != c.want || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: %v, want %s with %q", name, err, c.want, c.words)
			continue
		}
		if text := err.Error() + closeText(refusal); strings.Contains(text, wrong[:rfb.MaxPassword]) || strings.Contains(text, secret[:rfb.MaxPassword]) {
			t.Errorf("%s: %q tells a password", name, text)
		}
	}
}

func TestSilentServerCostsADialsTimeOnly(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	silent := startRaw(t, func(c net.Conn) {
		_ = greetAsServer(c)
		cancel()
		_, _ = io.Copy(io.Discard, c)
	})
	d := mustDirect(t, Password{Endpoint: silent.addr, File: writePassword(t, secret)})
	var refusal *Refusal
	if _, err := d.Dial(ctx, silent.addr); !errors.As(err, &refusal) || refusal.Reason != VNCSilent {
		t.Errorf("%v", err)
	}
}

// What the edge has no words for is between the viewer and its server.
func TestOtherSecurityIsLeftToTheViewer(t *testing.T) {
	server := startLocked(t, rfb.SecurityTLS, rfb.SecurityVeNCrypt)
	d := mustDirect(t, Password{Endpoint: server.addr, File: writePassword(t, secret)})
	conn, err := d.Dial(deadline(t), server.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, ok := conn.(*net.TCPConn); !ok {
		t.Errorf("a %T", conn)
	}
	exchangeGreetings(t, conn)
}

func TestDirectConfigFaults(t *testing.T) {
	good := writePassword(t, secret)
	faults := DirectConfig{
		Allow: []string{"10.0.0.0/8:5900-5999", "10.0.0.0:5900"},
		Passwords: []Password{
			{Endpoint: "10.0.0.5:5900", File: good}, {Endpoint: "10.0.0.0/8:5900", File: good}, {Endpoint: "vm7.example.org:5900", File: good},
			{Endpoint: "10.0.0.5", File: good}, {Endpoint: "10.0.0.5:6000", File: good}, {Endpoint: "10.0.0.5/8:5900", File: good}, {Endpoint: "", File: good}, {Endpoint: "vm7.example.org:80", File: good},
			{Endpoint: "10.0.0.5:5900", File: good + "-not"}, {Endpoint: "10.0.0.5:5900", File: writePassword(t, "\n")}, {Endpoint: "10.0.0.5:5900", File: ""}, {Endpoint: "10.0.0.5:5900", File: "password"},
		},
	}.Validate()
	want := []string{
		"allow[1]: write it", "passwords[3].endpoint: write it like", "passwords[4].endpoint: outside direct.allow", "passwords[5].endpoint: the network is",
		"passwords[6].endpoint: write it", "passwords[7].endpoint: in no rule of direct.allow",
		"passwords[8].file: can't be read", "passwords[9].file: is empty", "passwords[10].file: must be the absolute path", "passwords[11].file: \"password\" must be",
	}
	if len(faults) != len(want) {
		t.Fatalf("%q", faults)
	}
	for i, w := range want {
		key, words, _ := strings.Cut(w, ": ")
		if faults[i].Key != key || !strings.Contains(faults[i].Text, words) {
			t.Errorf("%+v, want %q", faults[i], w)
		}
	}
}

// The whole way: a viewer that knows no password and is kept to looking.
func TestViewerOfALockedServerNeedsNoPassword(t *testing.T) {
	server := startLocked(t, rfb.SecurityVNCAuth)
	d := mustDirect(t, Password{Endpoint: server.addr, File: writePassword(t, secret)})
	e := startEdge(t, Options{
		Dial: func(ctx context.Context, _ Grant, _ string) (net.Conn, error) { return d.Dial(ctx, server.addr) },
		Authorize: func(context.Context, string) (Grant, error) {
			return Grant{Session: "s", Mode: View}, nil
		},
	}, "")
	conn, _ := e.viewStream()
	b := make([]byte, 2)
	if _, err := io.ReadFull(conn, b); err != nil || string(b) != "\x01\x01" {
		t.Fatalf("offered is %q, %v", b, err)
	}
	_, _ = io.WriteString(conn, "\x01\x00"+aKey+anUpdate)
	answer := make([]byte, 4+1+len(anUpdate))
	if _, err := io.ReadFull(conn, answer); err != nil || binary.BigEndian.Uint32(answer) != 0 || string(answer[4:]) != "\x01"+anUpdate {
		t.Errorf("%q, %v", answer, err)
	}
}

// startWebSocketVNC is a VNC server behind a WebSocket that wants kasm and secret.
func startWebSocketVNC(t *testing.T) (address string) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch user, password, given := r.BasicAuth(); {
		case r.URL.Path != "/websockify":
			w.WriteHeader(http.StatusNotFound)
			return
		case !given || user != "kasm" || password != secret:
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{subprotocol}})
		if err != nil {
			return
		}
		defer c.CloseNow()
		conn := websocket.NetConn(r.Context(), c, websocket.MessageBinary)
		if greetAsServer(conn) == nil {
			echo(conn)
		}
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func TestDirectWebSocket(t *testing.T) {
	at := startWebSocketVNC(t)
	good := Password{Endpoint: at, User: "kasm", File: writePassword(t, secret)}
	d := mustDirect(t, Password{Endpoint: at, File: writePassword(t, wrong)}, good) // the first is for a VNC server
	e := startEdge(t, Options{Dial: func(ctx context.Context, _ Grant, _ string) (net.Conn, error) {
		return d.Dial(ctx, "ws://"+at+"/websockify")
	}}, "")
	conn, _ := e.viewStream()
	if _, err := io.WriteString(conn, "typed"); err != nil {
		t.Fatal(err)
	}
	back := make([]byte, 5)
	if _, err := io.ReadFull(conn, back); err != nil || string(back) != "typed" {
		t.Errorf("%q, %v", back, err)
	}
	conn.Close()
	e.ends(1)

	for name, c := range map[string]struct {
		endpoint string
		password Password
		want     Reason
		words    string
	}{
		"wrong password": {"ws://" + at + "/websockify", Password{Endpoint: at, User: "kasm", File: writePassword(t, wrong)}, VNCPassword, "HTTP status 401"},
		"none":           {"ws://" + at + "/websockify", Password{Endpoint: at, File: good.File}, VNCPassword, "HTTP status 401"},
		"wrong path":     {"ws://" + at, good, NotVNC, "HTTP status 404"},
		"no TLS":         {"wss://" + at, good, NotVNC, "TLS"},
		"outside":        {"ws://192.0.2.1:80/", good, EndpointDenied, "outside direct.allow"},
		"malformed":      {"ws://me:" + wrong + "@" + at, good, EndpointDenied, "has a user in it"},
		"no server":      {"ws://127.0.0.1:1/", good, VNCRefused, "refused"},
		"VNC":            {"ws://" + startLocked(t, rfb.SecurityNone).addr, good, NotVNC, "does not answer as a WebSocket server"},
	} {
		d := mustDirect(t, c.password)
		if err := d.Check(c.endpoint); (err != nil) != (c.want == EndpointDenied) {
			t.Errorf("%s: checked: %v", name, err)
		}
		_, err := d.Dial(deadline(t), c.endpoint)
		var refusal *Refusal
		if !errors.As(err, &refusal) || refusal.Reason != c.want || !strings.Contains(err.Error(), c.words) || strings.Contains(err.Error(), wrong) {
			t.Errorf("%s: %v, want %s with %q", name, err, c.want, c.words)
		}
	}
	faults := DirectConfig{CAFile: "/does/not/exist", Passwords: []Password{{Endpoint: "127.0.0.1/32:1", User: "a:b", File: good.File}}}.Validate()
	if len(faults) != 2 || faults[0].Key != "passwords[0].user" || faults[1].Key != "ca_file" {
		t.Errorf("%+v", faults)
	}
}
