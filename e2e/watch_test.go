package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/coder/websocket"
)

// line is what the tests read of the access log.
type line struct {
	RequestID string `json:"request_id"`
	Client    string `json:"client"`
	Method    string `json:"method"`
	BytesIn   int64  `json:"bytes_in"`
	Path      string `json:"path"`
	Query     bool   `json:"query"`
	Protocol  string `json:"protocol"`
	TLS       string `json:"tls"`
	Status    int    `json:"status"`
	Route     string `json:"route"`
	Pool      string `json:"pool"`
	Upgrade   string `json:"upgrade"`
	Ended     string `json:"ended"`
}

func accessLog(t *testing.T, file string) (all []line) {
	t.Helper()
	text, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer text.Close()
	for s := bufio.NewScanner(text); s.Scan(); {
		var one line
		if err := json.Unmarshal(s.Bytes(), &one); err != nil {
			t.Fatalf("%s: %v", s.Bytes(), err)
		}
		all = append(all, one)
	}
	return all
}

// TestTheEdgeIsWatchedAndLimited: access log over a rotation, rate limits,
// connections of one address, HSTS and compression, in one real edge.
func TestTheEdgeIsWatchedAndLimited(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "page") }))
	defer upstream.Close()
	folder := t.TempDir()
	address, admin := freePort(t), freePort(t)
	log := filepath.Join(folder, "access.log")
	file := writeText(t, filepath.Join(folder, "edge.yml"), fmt.Sprintf(`
listen: {https: %q, http: "", admin: %q}
tls: {self_signed: true, hsts: {max_age: 4320h}}
store: {sqlite: {path: %q}}
access_log: {file: %q}
limits: {connections_per_address: 30}
trusted_proxies: [192.0.2.1]
rate_limits:
  - {name: nodes, by: key, match: {path: /api/v1/nodes}, requests: 2, per: 1h}
  - {name: tickets, by: address, match: {path: /ws/vnc}, requests: 3, per: 1h}
pools: [{name: web, upstreams: [{url: %q}]}]
routes: [{name: app, path: /app/, pool: web, rate_limits: [{name: app, by: address, requests: 2, per: 1h}]}]
`, address, admin, filepath.Join(folder, "data", "s.db"), log, upstream.URL))
	in := &installation{t: t, URL: "https://" + address, AdminURL: "http://" + admin, process: start(t, "edge", "--config", file)}
	in.serves(filepath.Join(folder, "data"))

	web := client()
	ask := func(path string, want int, header ...string) *http.Response {
		t.Helper()
		request, _ := http.NewRequest("GET", in.URL+path, nil)
		for i := 0; i < len(header); i += 2 {
			request.Header.Set(header[i], header[i+1])
		}
		response, err := web.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, response.StatusCode, want)
		}
		return response
	}
	key := []string{"Authorization", "Bearer " + in.APIKey}
	for _, want := range []int{200, 200, 429} {
		answer := ask("/api/v1/nodes", want, key...)
		if answer.Header.Get("RateLimit-Policy") != `"nodes";q=2;w=3600` || answer.Header.Get("Strict-Transport-Security") != "max-age=15552000" {
			t.Errorf("%v", answer.Header)
		}
	}
	for _, want := range []int{200, 200, 429} {
		if answer := ask("/app/page?ticket=hidden", want); answer.Header.Get("Strict-Transport-Security") != "" || answer.Header.Get("RateLimit") == "" {
			t.Errorf("%v", answer.Header)
		}
	}
	if answer := ask("/api/v1/openapi.yaml", 200, "Accept-Encoding", "zstd"); answer.Header.Get("Content-Encoding") != "zstd" {
		t.Errorf("%v", answer.Header)
	}
	for _, want := range []int{401, 401, 401, 429} {
		ask("/ws/vnc?token=hidden", want, "Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
	}
	events, _, err := websocket.Dial(context.Background(), in.URL+"/api/v1/events", &websocket.DialOptions{
		HTTPClient: web, HTTPHeader: http.Header{key[0]: {key[1]}},
	})
	if err != nil {
		t.Fatal(err)
	}

	// logrotate's way: the file is moved, then SIGHUP.
	if err := os.Rename(log, log+".1"); err != nil {
		t.Fatal(err)
	}
	in.process.signal(syscall.SIGHUP)
	eventually(t, "the log goes on in a new file", func() error { _, err := os.Stat(log); return err })
	if err := events.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Error(err)
	}
	eventually(t, "the end of the event stream is told", func() error {
		for _, one := range accessLog(t, log) {
			if one.Path == "/api/v1/events" && one.Status == 101 && one.Upgrade == "websocket" && one.Ended == "done" && one.TLS == "1.3" {
				return nil
			}
		}
		return fmt.Errorf("%+v", accessLog(t, log))
	})

	counts := map[string]int{}
	for _, one := range accessLog(t, log+".1") {
		counts[fmt.Sprintf("%s %d %s %s %v", one.Path, one.Status, one.Route, one.Ended, one.Query)]++
		if one.Client != "127.0.0.1" || one.RequestID == "" || one.TLS != "1.3" {
			t.Errorf("%+v", one)
		}
	}
	for what, want := range map[string]int{
		"/api/v1/nodes 200 /api/v1/nodes done false": 2, "/api/v1/nodes 429 /api/v1/nodes rate_limited false": 1,
		"/app/page 200 app done true": 2, "/app/page 429 app rate_limited true": 1,
		"/ws/vnc 401 /ws/vnc bad_ticket true": 3, "/ws/vnc 429 /ws/vnc rate_limited true": 1,
	} {
		if counts[what] != want {
			t.Errorf("%d of %q in %v", counts[what], what, counts)
		}
	}
	text, _ := os.ReadFile(log + ".1")
	if strings.Contains(string(text), "hidden") || strings.Contains(string(text), in.APIKey) {
		t.Errorf("a credential is in the log:\n%s", text)
	}

	for range 40 { // more than one address may have
		if conn, err := net.Dial("tcp", address); err == nil { // the end may come before dialling is over
			defer conn.Close()
		}
	}
	eventually(t, "connections are refused", func() error {
		if n := in.metric("streamspace_connections_refused_total"); n < 10 {
			return fmt.Errorf("%v", n)
		}
		return nil
	})
	if n := in.metric("streamspace_access_log_lines_total"); n < 10 {
		t.Errorf("%v lines", n)
	}
	in.process.signal(syscall.SIGTERM)
	if status := in.process.wait(); status != 0 {
		t.Errorf("exit status %d", status)
	}
}
