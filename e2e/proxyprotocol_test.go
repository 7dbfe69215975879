package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// daemon runs a server from Debian in the foreground until the test's end, and
// waits until it listens.
func daemon(t *testing.T, address, program string, arguments ...string) {
	t.Helper()
	server := exec.Command(program, arguments...)
	var log lockedBuffer
	server.Stdout, server.Stderr = &log, &log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Signal(os.Interrupt)
		_ = server.Wait()
		if t.Failed() {
			t.Logf("%s:\n%s", program, log.String())
		}
	})
	eventually(t, program+" listens", func() error {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err
	})
}

// TestTheClientsAddressPassesHAProxyAndNginx: HAProxy before the edge and nginx
// behind it, both of which speak the PROXY protocol.
func TestTheClientsAddressPassesHAProxyAndNginx(t *testing.T) {
	for _, c := range []struct{ in, out string }{{"send-proxy", "v1"}, {"send-proxy-v2", "v2"}} {
		t.Run(c.out, func(t *testing.T) {
			folder := t.TempDir()
			nginx, haproxy := freePort(t), freePort(t)
			file := writeText(t, filepath.Join(folder, "nginx.conf"), fmt.Sprintf(`
daemon off; worker_processes 1; master_process off; pid %[1]s/pid; error_log stderr;
events {}
http {
	access_log off; client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c; uwsgi_temp_path %[1]s/d; scgi_temp_path %[1]s/e;
	server { listen %[2]s proxy_protocol; location / { return 200 "$proxy_protocol_addr:$proxy_protocol_port $http_x_forwarded_for\n"; } }
}`, folder, nginx))
			daemon(t, nginx, "/usr/sbin/nginx", "-c", file, "-e", "stderr", "-p", folder)
			in := startEdge(t, fmt.Sprintf("pools: [{name: web, proxy_protocol: %s, health: {path: /}, upstreams: [{url: \"http://%s\"}]}]\nroutes: [{path: /app/, pool: web}]\n", c.out, nginx),
				withListen(`proxy_protocol: ["127.0.0.9"]`))
			edge := strings.TrimPrefix(in.URL, "https://")
			file = writeText(t, filepath.Join(folder, "haproxy.cfg"), fmt.Sprintf(`
defaults
	mode tcp
	timeout connect 5s
	timeout client 30s
	timeout server 30s
listen edge
	bind %s
	server edge %s source 127.0.0.9 %s
`, haproxy, edge, c.in))
			daemon(t, haproxy, "/usr/sbin/haproxy", "-db", "-f", file)

			for _, http2 := range []bool{false, true} {
				var local string
				transport := &http.Transport{ForceAttemptHTTP2: http2, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
				transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
					dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0.7")}}
					conn, err := dialer.DialContext(ctx, network, address)
					if err == nil {
						local = conn.LocalAddr().String()
					}
					return conn, err
				}
				web := &http.Client{Transport: transport, Timeout: patience}
				for range 2 {
					response, err := web.Get("https://" + haproxy + "/app/")
					if err != nil {
						t.Fatal(err)
					}
					body, _ := io.ReadAll(response.Body)
					response.Body.Close()
					if want := local + " 127.0.0.7\n"; string(body) != want || (response.ProtoMajor == 2) != http2 {
						t.Errorf("%s: nginx was told %q, not %q", response.Proto, body, want)
					}
				}
				transport.CloseIdleConnections()
			}
			dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0.9")}}
			proxy := &http.Client{Timeout: patience, Transport: &http.Transport{DialContext: dialer.DialContext, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
			if response, err := proxy.Get(in.URL + "/app/"); err == nil {
				response.Body.Close()
				t.Error("a proxy that says nothing of its client is served")
			}
			if response, err := client().Get(in.URL + "/app/"); err != nil { // who is no proxy is served as ever
				t.Error(err)
			} else {
				body, _ := io.ReadAll(response.Body)
				response.Body.Close()
				if !strings.HasSuffix(string(body), " 127.0.0.1\n") {
					t.Errorf("without a header: %q", body)
				}
			}
		})
	}
}
