package websocket

import (
	"bufio"
	"context"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// patience only guards against a hang.
const patience = 30 * time.Second

// accept is a WebSocket server that speaks first, in the same write as its
// answer as far as it can.
func accept(w http.ResponseWriter, r *http.Request) {
	if user, password, _ := r.BasicAuth(); r.URL.Path == "/locked" && (user != "kasm" || password != "s3cret:word") {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if r.URL.RequestURI() == "/nothing" || r.Header.Get("Origin") != "" || r.Header.Get("Cookie") != "" || r.Header.Get("Sec-WebSocket-Extensions") != "" {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	options := websocket.AcceptOptions{CompressionMode: websocket.CompressionContextTakeover}
	if r.URL.Query().Get("protocol") != "none" {
		options.Subprotocols = []string{subprotocol}
	}
	c, err := websocket.Accept(w, r, &options)
	if err != nil {
		return
	}
	defer c.CloseNow()
	_ = c.Write(r.Context(), websocket.MessageBinary, []byte("hello"))
	_, _, _ = c.Read(r.Context())
}

func dial(t *testing.T, address string, trust Trust, login Credentials) (net.Conn, error) {
	t.Helper()
	a, err := Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", a.HostPort())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return Open(ctx, conn, a, trust, login)
}

func TestOpenLeavesTheFirstFrameWhereItIs(t *testing.T) {
	plain, secure := httptest.NewServer(http.HandlerFunc(accept)), httptest.NewTLSServer(http.HandlerFunc(accept))
	defer plain.Close()
	defer secure.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	ws, wss := strings.Replace(plain.URL, "http", "ws", 1), strings.Replace(secure.URL, "https", "wss", 1)
	login := Credentials{User: "kasm", Password: "s3cret:word"}
	for _, c := range []struct {
		address string
		trust   Trust
		login   Credentials
		fault   string // empty: all is well
	}{
		{ws, Trust{}, Credentials{}, ""},
		{ws + "/websockify?token=vm%207", Trust{}, Credentials{}, ""},
		{ws + "/?protocol=none", Trust{}, Credentials{}, ""},
		{ws + "/locked", Trust{}, login, ""},
		{ws + "/locked", Trust{}, Credentials{}, "HTTP status 401 Unauthorized; check user and password"},
		{ws + "/locked", Trust{}, Credentials{User: "kasm", Password: "wr0ng"}, "HTTP status 401"},
		{ws + "/nothing", Trust{}, Credentials{}, "HTTP status 404 Not Found; check the address's path"},
		{wss, Trust{CAFile: ca}, Credentials{}, ""},
		{wss, Trust{Pin: PinOf(secure.Certificate())}, Credentials{}, ""},
		{wss, Trust{}, Credentials{}, "unknown authority"},
		{wss, Trust{Pin: pinPrefix + strings.Repeat("0", 64)}, Credentials{}, "its key is sha256:"},
		{wss, Trust{CAFile: ca + "-not"}, Credentials{}, "can't be read"},
		{strings.Replace(wss, "wss", "ws", 1), Trust{}, Credentials{}, "HTTP status 400"},
		{strings.Replace(ws, "ws", "wss", 1), Trust{}, Credentials{}, "TLS"},
	} {
		conn, err := dial(t, c.address, c.trust, c.login)
		if c.fault != "" {
			if err == nil || !strings.Contains(err.Error(), c.fault) || strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "wr0ng") {
				t.Errorf("%s %+v: %v, want %q", c.address, c.trust, err, c.fault)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s %+v: %v", c.address, c.trust, err)
			continue
		}
		frame := make([]byte, 7)
		if _, err := io.ReadFull(conn, frame); err != nil || string(frame) != "\x82\x05hello" {
			t.Errorf("%s: the first frame is %q, %v", c.address, frame, err)
		}
	}
}

// answering serves one answer to whatever is asked; %s is the right accept key.
func answering(t *testing.T, answer func(key string) string) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan bool)
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		request, err := http.ReadRequest(bufio.NewReader(conn))
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, answer(acceptKey(request.Header.Get("Sec-WebSocket-Key"))))
		_, _ = io.Copy(io.Discard, conn)
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return "ws://" + l.Addr().String()
}

func TestAnswersThatAreNoWebSocket(t *testing.T) {
	const good = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n"
	for name, c := range map[string]struct{ answer, fault string }{
		"good":                {good + "Sec-WebSocket-Accept: %s\r\n\r\n", ""},
		"no key":              {good + "\r\n", "Sec-WebSocket-Accept"},
		"another's key":       {good + "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n", "Sec-WebSocket-Accept"},
		"compression":         {good + "Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n", "extension"},
		"base64":              {good + "Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: base64\r\n\r\n", `subprotocol "base64"`},
		"another protocol":    {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", "another protocol"},
		"no upgrade":          {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP status 200"},
		"redirect":            {"HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\n\r\n", "to which it points"},
		"a VNC server":        {"RFB 003.008\n", "does not answer as a WebSocket server"},
		"an endless answer":   {"HTTP/1.1 101 X\r\n" + strings.Repeat("A: b\r\n", maxAnswer/6+1), "does not answer"},
		"truncated":           {good, "ctx"},
		"header without name": {"HTTP/1.1 101 X\r\n: x\r\n\r\n", "does not answer"},
	} {
		t.Run(name, func(t *testing.T) {
			address := answering(t, func(key string) string { return strings.Replace(c.answer, "%s", key, 1) })
			a, err := Parse(address)
			if err != nil {
				t.Fatal(err)
			}
			conn, err := net.Dial("tcp", a.HostPort())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			if c.fault == "ctx" {
				cancel()
			}
			defer cancel()
			_, err = Open(ctx, conn, a, Trust{}, Credentials{})
			switch {
			case c.fault == "ctx":
				if !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("%v", err)
				}
			case (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault):
				t.Errorf("%v, want %q", err, c.fault)
			}
		})
	}
}

func TestAddresses(t *testing.T) {
	for text, want := range map[string]Address{
		"ws://127.0.0.1:6080":               {false, "127.0.0.1", "6080", "/"},
		"ws://127.0.0.1:6080/websockify":    {false, "127.0.0.1", "6080", "/websockify"},
		"wss://vm7.example.org/a%20b?t=1&u": {true, "vm7.example.org", "443", "/a%20b?t=1&u"},
		"ws://[fd00::1]/":                   {false, "fd00::1", "80", "/"},
	} {
		if got, err := Parse(text); err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "ws://", "ws:///path", "http://host/", "host:5900", "ws://host:port/", "ws://ho st/", "ws://host/#part", "ws://user:hidden@host/", "ws://hidden@host/", "ws://host\r\n/", "ws://a:hidden@b@:1:1"} {
		if _, err := Parse(text); err == nil || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestTrust(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	hash := strings.Repeat("ab", 32)
	for _, good := range []Trust{{}, {Pin: pinPrefix + hash}, {Pin: pinPrefix + strings.ToUpper(hash)}} {
		if err := good.Check(); err != nil {
			t.Errorf("%+v: %v", good, err)
		}
	}
	for want, bad := range map[string]Trust{
		"remove one": {CAFile: empty, Pin: pinPrefix + hash}, "holds no PEM": {CAFile: empty}, "can't be read": {CAFile: empty + "-not"},
		"is not a pin": {Pin: hash}, "64 hexadecimal": {Pin: pinPrefix + hash[2:]}, "write sha256:": {Pin: pinPrefix + "x" + hash[1:]},
	} {
		if err := bad.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", bad, err, want)
		}
	}
}

func FuzzAddress(f *testing.F) {
	for _, text := range []string{"ws://127.0.0.1:6080/websockify", "wss://[::1]/?a", "ws://u:p@h/", "ws://h\r\nX: y/"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, err := Parse(text)
		if err != nil {
			return
		}
		asked, err := http.ReadRequest(bufio.NewReader(strings.NewReader(request(a, "key", Credentials{}))))
		if err != nil || len(asked.Header) != 6 || asked.Header.Get("Upgrade") != "websocket" || !strings.HasPrefix(a.Path, "/") {
			t.Errorf("%q: %+v asks for %+v, %v", text, a, asked, err)
		}
	})
}
