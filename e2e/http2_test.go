package e2e

//lint:file-ignore SA1019 http.Transport, which is to be used instead, does not take :protocol

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"golang.org/x/net/http2"
)

func http2Client(t *testing.T) *http.Client {
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

func TestHTTP2ReachesPagesAPIAndPools(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s %s %s", r.Proto, r.RequestURI, r.Header.Get("X-Forwarded-Proto"), r.Header.Get("X-Forwarded-For"), body)
	}))
	defer upstream.Close()
	log := filepath.Join(t.TempDir(), "access.log")
	in := startEdge(t, fmt.Sprintf("access_log: {file: %q}\npools: [{name: web, affinity: {}, upstreams: [{url: %q}]}]\nroutes: [{path: /app/, pool: web}]\n", log, upstream.URL))
	web := http2Client(t)
	for _, c := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"GET", "/", "", 200, "<html"},
		{"GET", "/api/v1/me", "", 401, "unauthorized"},
		{"GET", "/app/a%2Fb?c=%20", "", 200, "HTTP/1.1 /app/a%2Fb?c=%20 https 127.0.0.1 "},
		{"POST", "/app/x", "body", 200, "HTTP/1.1 /app/x https 127.0.0.1 body"},
	} {
		request, _ := http.NewRequest(c.method, in.URL+c.path, strings.NewReader(c.body))
		response, err := web.Do(request)
		if err != nil {
			t.Fatalf("%s: %v", c.path, err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || response.ProtoMajor != 2 || response.StatusCode != c.status || !strings.Contains(string(body), c.says) {
			t.Errorf("%s %s: %s %s %.200q %v", c.method, c.path, response.Proto, response.Status, body, err)
		}
		if strings.HasPrefix(c.path, "/app/") && !strings.Contains(response.Header.Get("Set-Cookie"), "; Secure") {
			t.Errorf("%s: Set-Cookie %q", c.path, response.Header.Get("Set-Cookie"))
		}
	}
	eventually(t, "the access log tells of all four", func() error {
		over2 := map[string]bool{}
		for _, one := range accessLog(t, log) {
			over2[one.Path] = one.Protocol == "HTTP/2.0"
		}
		if !over2["/"] || !over2["/api/v1/me"] || !over2["/app/a%2Fb"] || !over2["/app/x"] {
			return fmt.Errorf("over HTTP/2: %v", over2)
		}
		return nil
	})
}

// extendedConnect switches WebSocket over HTTP/2 on.
const extendedConnect = "GODEBUG=http2xconnect=1"

// overHTTP2 opens a WebSocket over a stream of HTTP/2 (RFC 8441). What is written
// and read are its frames.
func overHTTP2(t *testing.T, url string, header http.Header) (in *io.PipeWriter, out *bufio.Reader, response *http.Response) {
	t.Helper()
	transport := &http2.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	reader, in := io.Pipe()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	request, err := http.NewRequestWithContext(ctx, http.MethodConnect, url, reader)
	if err != nil {
		t.Fatal(err)
	}
	request.Header = header
	request.Header[":protocol"] = []string{"websocket"}
	request.Header.Set("Sec-WebSocket-Version", "13")
	response, err = transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_, _ = in.Close(), response.Body.Close()
		transport.CloseIdleConnections()
	})
	return in, bufio.NewReader(response.Body), response
}

func reads(t *testing.T, from *bufio.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(from, got); err != nil || string(got) != want {
		t.Fatalf("%q came, not %q: %v", got, want, err)
	}
}

func TestWebSocketsOverHTTP2WhereTheyAreSwitchedOn(t *testing.T) {
	gone := make(chan error, 1)
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/app/ws" {
			http.Error(w, "no socket", http.StatusForbidden)
			return
		}
		conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"words"}, InsecureSkipVerify: true})
		if err != nil {
			return
		}
		stream := websocket.NetConn(r.Context(), conn, websocket.MessageBinary)
		_, err = io.Copy(stream, stream)
		gone <- err
	}))
	defer upstream.Close()
	log := filepath.Join(t.TempDir(), "access.log")
	lines := fmt.Sprintf("access_log: {file: %q}\npools: [{name: web, upstreams: [{url: %q}]}]\nroutes: [{path: /app/, pool: web}]\n", log, upstream.URL)

	t.Run("a pool's", func(t *testing.T) {
		edge := startEdge(t, lines, withVariable(extendedConnect))
		in, out, response := overHTTP2(t, edge.URL+"/app/ws", http.Header{"Sec-Websocket-Protocol": {"words"}})
		if response.StatusCode != http.StatusOK || response.Header.Get("Sec-WebSocket-Protocol") != "words" || response.Header.Get("Sec-WebSocket-Accept") != "" {
			t.Fatalf("%s %q", response.Status, response.Header)
		}
		for _, word := range []string{"word", "another"} {
			_, _ = io.WriteString(in, masked(2, word))
			reads(t, out, "\x82"+string(rune(len(word)))+word)
		}
		_, _ = io.WriteString(in, masked(8, "\x03\xe8")) // the close handshake, then the end of both
		reads(t, out, "\x88\x02\x03\xe8")
		if rest, err := io.ReadAll(out); len(rest) > 0 || err != nil {
			t.Errorf("behind the close frame: %q, %v", rest, err)
		}
		<-gone

		_, _, response = overHTTP2(t, edge.URL+"/app/other", http.Header{})
		if response.StatusCode != http.StatusForbidden {
			t.Errorf("a refusal is told as %s", response.Status)
		}
		in, out, _ = overHTTP2(t, edge.URL+"/app/ws", http.Header{})
		_, _ = io.WriteString(in, masked(2, "x"))
		reads(t, out, "\x82\x01x")
		_ = in.CloseWithError(fmt.Errorf("gone")) // resets the stream
		<-gone
		_, _, _ = overHTTP2(t, edge.URL+"/ws/vnc?token=none", http.Header{}) // a viewer's
		eventually(t, "the access log tells of all four", func() error {
			over2 := map[string]int{}
			for _, one := range accessLog(t, log) {
				if one.Protocol == "HTTP/2.0" {
					over2[one.Path]++
				}
			}
			if over2["/app/ws"] != 2 || over2["/app/other"] != 1 || over2["/ws/vnc"] != 1 {
				return fmt.Errorf("over HTTP/2: %v", over2)
			}
			return nil
		})
	})
	t.Run("a viewer", func(t *testing.T) {
		in := startDevWith(t, append(environment(t), extendedConnect), t.TempDir(), "--runtime", "demo")
		id := in.running(nil).ID
		_, out, response := overHTTP2(t, in.URL+"/ws/vnc?token="+in.ticket(id, "control"), http.Header{})
		if response.StatusCode != http.StatusOK {
			t.Fatal(response.Status)
		}
		reads(t, out, "\x82\x0cRFB 003.008\n")
		_, _, response = overHTTP2(t, in.URL+"/ws/vnc?token=none", http.Header{})
		if response.StatusCode != http.StatusUnauthorized {
			t.Errorf("a bad ticket is told as %s", response.Status)
		}
	})
}

// TestTheBrowserUsesHTTP2AndItsViewerAWebSocket: over a connection of HTTP/1.1
// of its own, or over HTTP/2 where that is switched on.
func TestTheBrowserUsesHTTP2AndItsViewerAWebSocket(t *testing.T) {
	for name, variables := range map[string][]string{"as it is": nil, "extended CONNECT": {extendedConnect}} {
		t.Run(name, func(t *testing.T) {
			in := startDevWith(t, append(environment(t), variables...), t.TempDir(), "--runtime", "demo")
			p := page{t, browser(t)}
			p.logIn(in)
			if protocol := p.eval(`performance.getEntriesByType('navigation')[0].nextHopProtocol`); protocol != "h2" {
				t.Errorf("the console came over %q", protocol)
			}
			p.click("new-desktop")
			p.badge("live")
			p.pictureChanges("")
		})
	}
}
