package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// TestEdgeBalancesPools: requests and WebSockets of a route are an upstream's,
// the affinity cookie holds, a drain and a reload touch nothing that runs, and a
// config with faults changes nothing.
func TestEdgeBalancesPools(t *testing.T) {
	named := func(name string) *httptest.Server {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/app/ws" {
				conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
				if err != nil {
					return
				}
				stream := websocket.NetConn(r.Context(), conn, websocket.MessageBinary)
				_, _ = io.Copy(stream, stream)
				return
			}
			fmt.Fprintf(w, "%s %s %s", name, r.URL.Path, r.Header.Get("X-Forwarded-Proto"))
		}))
		t.Cleanup(s.Close)
		return s
	}
	a, b, c := named("a"), named("b"), named("c")
	host := func(s *httptest.Server) string { return strings.TrimPrefix(s.URL, "http://") }

	folder := t.TempDir()
	address, admin := freePort(t), freePort(t)
	file := filepath.Join(folder, "edge.yml")
	write := func(pools string) {
		writeText(t, file, fmt.Sprintf("listen: {https: %q, http: \"\", admin: %q}\ntls: {self_signed: true}\nstore: {sqlite: {path: %q}}\n%s",
			address, admin, filepath.Join(folder, "data", "s.db"), pools))
	}
	pool := func(upstreams ...*httptest.Server) string {
		text := "pools:\n  - name: web\n    policy: round_robin\n    affinity: {}\n    health: {path: /health, interval: 50ms}\n    upstreams:\n"
		for _, u := range upstreams {
			text += fmt.Sprintf("      - {url: %q}\n", u.URL)
		}
		return text + "routes: [{path: /app/, pool: web, rate_limits: [{name: many, by: address, requests: 1000000}]}]\n"
	}
	write(pool(a, b))
	in := &installation{t: t, URL: "https://" + address, AdminURL: "http://" + admin, process: start(t, "edge", "--config", file)}
	in.serves(filepath.Join(folder, "data"))

	var pools struct {
		Pools []struct {
			Upstreams []struct{ ID, State string }
		}
	}
	states := func() map[string]string {
		in.call("GET", "/api/v1/pools", nil, 200, &pools)
		all := map[string]string{}
		for _, u := range pools.Pools[0].Upstreams {
			all[u.ID] = u.State
		}
		return all
	}
	eventually(t, "both upstreams are up", func() error {
		if s := states(); s[host(a)] != "up" || s[host(b)] != "up" {
			return fmt.Errorf("%v", s)
		}
		return nil
	})
	web := client()
	ask := func(cookie string) (name, newCookie string) {
		request, _ := http.NewRequest("GET", in.URL+"/app/page", nil)
		if cookie != "" {
			request.Header.Set("Cookie", cookie)
		}
		response, err := web.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(response.Body)
		name, rest, _ := strings.Cut(string(body), " ")
		if response.StatusCode != 200 || rest != "/app/page https" {
			t.Fatalf("%d %s", response.StatusCode, body)
		}
		if cookies := response.Cookies(); len(cookies) == 1 {
			newCookie = cookies[0].Name + "=" + cookies[0].Value
		}
		return name, newCookie
	}
	first, cookie := ask("")
	if second, _ := ask(""); second == first {
		t.Errorf("two clients are both at %s", first)
	}
	held := map[string]*httptest.Server{"a": a, "b": b}[first]

	socket, _, err := websocket.Dial(testContext(t), "wss://"+address+"/app/ws", &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}},
		HTTPHeader: http.Header{"Cookie": {cookie}},
	})
	if err != nil {
		t.Fatal(err)
	}
	stream := websocket.NetConn(testContext(t), socket, websocket.MessageBinary)
	goesOn := func(after string) {
		t.Helper()
		if err := echoed(stream, "word"); err != nil {
			t.Errorf("the WebSocket after %s: %v", after, err)
		}
	}
	goesOn("its beginning")

	in.call("POST", "/api/v1/pools/web/upstreams/"+host(held)+"/drain", nil, http.StatusAccepted, nil)
	if name, _ := ask(cookie); name != first {
		t.Errorf("while %s drains its client is at %s", first, name)
	}
	if name, _ := ask(""); name == first {
		t.Errorf("a new client is at %s, which drains", name)
	}
	goesOn("a drain")
	in.call("POST", "/api/v1/pools/web/upstreams/"+host(held)+"/disable", nil, http.StatusAccepted, nil)
	if name, moved := ask(cookie); name == first || moved == "" {
		t.Errorf("at %s with the cookie %q after %s was disabled", name, moved, first)
	}
	goesOn("a disabling")
	in.call("POST", "/api/v1/pools/web/upstreams/"+host(held)+"/resume", nil, http.StatusAccepted, nil)

	write(pool(c))
	in.process.signal(syscall.SIGHUP)
	eventually(t, "the new upstream serves", func() error {
		if name, _ := ask(""); name != "c" {
			return fmt.Errorf("%s serves", name)
		}
		return nil
	})
	goesOn("a reload that removed its upstream")
	write("pools: [{name: web, policy: fastest}]\n")
	if status, answer, err := in.try("POST", "/api/v1/reload", nil, nil); status != 400 || !strings.Contains(string(answer), "policy") {
		t.Errorf("a reload of a wrong config: %d %s %v", status, answer, err)
	}
	if name, _ := ask(""); name != "c" {
		t.Errorf("%s serves after a reload that was refused", name)
	}
	goesOn("a refused reload")
	served := in.served()
	for name, want := range documentedMetrics(t) {
		if ofBalancer(name, want) && served[name] != want {
			t.Errorf("%s is served as %q and documented as %q", name, served[name], want)
		}
	}
	in.process.signal(syscall.SIGTERM)
	goesOn("SIGTERM, within its drain")
	_ = socket.Close(websocket.StatusNormalClosure, "")
	if status := in.process.wait(); status != 0 {
		t.Errorf("exit status %d", status)
	}
}

// echoed sends a word and expects it back.
func echoed(conn net.Conn, word string) error {
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, word); err != nil {
		return err
	}
	got := make([]byte, len(word))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != word {
		return fmt.Errorf("%q, %w", got, err)
	}
	return nil
}
