package e2e

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestNginxDecidesWhetherABodyIsSent: it refuses what is too large for it before
// any of that is sent.
func TestNginxDecidesWhetherABodyIsSent(t *testing.T) {
	folder := t.TempDir()
	nginx := freePort(t)
	file := writeText(t, filepath.Join(folder, "nginx.conf"), fmt.Sprintf(`
daemon off; master_process off; pid %[1]s/pid; error_log stderr;
events {}
http {
	access_log off; client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c; uwsgi_temp_path %[1]s/d; scgi_temp_path %[1]s/e;
	server { listen %[2]s; root %[1]s; client_max_body_size 1k; dav_methods PUT; }
}`, folder, nginx))
	daemon(t, nginx, "/usr/sbin/nginx", "-c", file, "-e", "stderr", "-p", folder)
	in := startEdge(t, fmt.Sprintf("pools: [{name: web, upstreams: [{url: \"http://%s\"}]}]\nroutes: [{path: /, pool: web}]\n", nginx))
	for body, want := range map[string]string{strings.Repeat("x", 1000): "HTTP/1.1 100 Continue\r\n", strings.Repeat("x", 5000): "HTTP/1.1 413 "} {
		conn, err := tls.Dial("tcp", strings.TrimPrefix(in.URL, "https://"), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer func(conn net.Conn) { _ = conn.Close() }(conn)
		_ = conn.SetDeadline(time.Now().Add(patience))
		fmt.Fprintf(conn, "PUT /file HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", len(body))
		reader := bufio.NewReader(conn)
		line, err := reader.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, want) {
			t.Fatalf("%d bytes: %q, %v", len(body), line, err)
		}
		if len(body) > 1000 {
			continue
		}
		_, _ = reader.ReadString('\n')
		_, _ = io.WriteString(conn, body)
		response, err := http.ReadResponse(reader, nil)
		if err != nil || response.StatusCode != http.StatusCreated {
			t.Errorf("the end: %v, %v", response, err)
		}
	}
}
