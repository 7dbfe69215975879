package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

func http2Client(t *testing.T) *http.Client {
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

// startEdge runs an edge of the config, with a certificate of its own, beside
// which the config has these lines.
func startEdge(t *testing.T, lines string, environment ...string) *installation {
	folder := t.TempDir()
	address, admin := freePort(t), freePort(t)
	file := filepath.Join(folder, "edge.yml")
	writeText(t, file, fmt.Sprintf("listen: {https: %q, http: \"\", admin: %q}\ntls: {self_signed: true}\nstore: {sqlite: {path: %q}}\n%s",
		address, admin, filepath.Join(folder, "data", "s.db"), lines))
	in := &installation{t: t, URL: "https://" + address, AdminURL: "http://" + admin, process: start(t, "edge", "--config", file)}
	eventually(t, "the edge serves", in.healthy)
	return in
}

func TestHTTP2ReachesPagesAPIAndPools(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s %s %s", r.Proto, r.RequestURI, r.Header.Get("X-Forwarded-Proto"), r.Header.Get("X-Forwarded-For"), body)
	}))
	defer upstream.Close()
	in := startEdge(t, fmt.Sprintf("pools: [{name: web, affinity: {}, upstreams: [{url: %q}]}]\nroutes: [{path: /app/, pool: web}]\n", upstream.URL))
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
}
