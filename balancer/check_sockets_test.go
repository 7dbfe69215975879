package balancer

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// hang is how long a test waits before it calls something stuck.
const hang = 60 * time.Second

// checked is one check by c.
func checked(t *testing.T, c *checker) (what string, a Answer) {
	t.Helper()
	config := c.config.withDefaults()
	if c.config.Timeout == 0 {
		config.Timeout = hang
	}
	good, err := parseStatus(config.Status)
	if err != nil {
		t.Fatal(err)
	}
	what, a, err = c.check(t.Context(), config, good)
	if err != nil {
		return err.Error(), a
	}
	return what, a
}

// serve is a Go server, closed after the test.
func serve(t *testing.T, handler http.HandlerFunc, with *tls.Config) *httptest.Server {
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	if server.TLS = with; with != nil {
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	return server
}

func address(s *httptest.Server) string { return s.Listener.Addr().String() }

func TestChecksOfAGoServer(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/ready":
			w.Header().Set(headerWeight, "3")
			w.Header().Set(headerDrain, "1")
			_, _ = fmt.Fprintf(w, "%s %s %s %v", r.Method, r.Host, r.URL.RawQuery, r.Close)
		case "/starting":
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/moved":
			http.Redirect(w, r, "/starting", http.StatusFound)
		case "/hints":
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusNoContent)
		case "/gone":
			panic(http.ErrAbortHandler)
		case "/silent":
			<-r.Context().Done() // the checker has gone
		case "/endless":
			for r.Context().Err() == nil {
				_, _ = w.Write(make([]byte, 4096))
			}
		}
	}, nil)
	for _, test := range []struct {
		config HealthConfig
		want   string
		answer Answer
	}{
		{HealthConfig{Path: "/ready?deep", Body: "GET app.example.org deep true", Host: "app.example.org"}, "answered 200", Answer{Weighted: true, Weight: 3, Drain: true}},
		{HealthConfig{Path: "/ready", Body: "GET " + address(server) + "  true"}, "answered 200", Answer{Weighted: true, Weight: 3, Drain: true}},
		{HealthConfig{Path: "/ready", Body: "POST"}, `answered 200 without "POST" in the first 64 KiB`, Answer{}},
		{HealthConfig{Path: "/starting"}, "answered 503, not 200-399", Answer{}},
		{HealthConfig{Path: "/starting", Status: "503"}, "answered 503", Answer{}},
		{HealthConfig{Path: "/moved"}, "answered 302", Answer{}},
		{HealthConfig{Path: "/hints"}, "answered 204", Answer{}},
		{HealthConfig{Path: "/gone"}, "closed the connection without an answer", Answer{}},
		{HealthConfig{Path: "/silent", Timeout: 500 * time.Millisecond}, "no answer within 500ms", Answer{}},
		{HealthConfig{Path: "/endless"}, "answered 200", Answer{}},
		{HealthConfig{TCP: true}, "took a connection", Answer{}},
	} {
		got, answer := checked(t, &checker{config: test.config, address: address(server), host: address(server)})
		if got != test.want || answer != test.answer {
			t.Errorf("%s: %q %+v, want %q %+v", test.config.Path, got, answer, test.want, test.answer)
		}
	}
}

func TestAPortWithoutAServerRefuses(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = listener.Close()
	for _, config := range []HealthConfig{{Path: "/"}, {TCP: true}} {
		if got, _ := checked(t, &checker{config: config, address: listener.Addr().String()}); got != "connection refused" {
			t.Errorf("%+v: %q", config, got)
		}
	}
}

func TestTheUpstreamsCertificateIsChecked(t *testing.T) {
	ok := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }
	certificate, roots := selfSigned(t, "127.0.0.1", "app.example.org")
	own := []tls.Certificate{certificate}
	plain, secure := serve(t, ok, nil), serve(t, ok, &tls.Config{Certificates: own})
	strict := serve(t, ok, &tls.Config{Certificates: own, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: roots})
	tests := map[string]struct {
		server *httptest.Server
		tls    *tls.Config
		want   string
	}{
		"known by its address":       {secure, &tls.Config{RootCAs: roots}, "answered 204"},
		"known by a name":            {secure, &tls.Config{RootCAs: roots, ServerName: "app.example.org"}, "answered 204"},
		"of another name":            {secure, &tls.Config{RootCAs: roots, ServerName: "web.example.org"}, "its certificate is not accepted: certificate is valid for app.example.org, not web.example.org"},
		"of an unknown authority":    {secure, &tls.Config{}, "its certificate is not accepted: certificate signed by unknown authority"},
		"a client's is asked for":    {strict, &tls.Config{RootCAs: roots}, "refused TLS: certificate required"},
		"and given":                  {strict, &tls.Config{RootCAs: roots, Certificates: own}, "answered 204"},
		"no version in common":       {secure, &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, "refused TLS: protocol version not supported"},
		"TLS to a plain server":      {plain, &tls.Config{RootCAs: roots}, "does not speak TLS"},
		"plain to a server with TLS": {secure, nil, "answered 400, not 200-399"},
	}
	for name, test := range tests {
		if got, _ := checked(t, &checker{config: HealthConfig{Path: "/"}, address: address(test.server), host: "app", tls: test.tls}); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

func TestAServerThatNeverShakesHandsTimesOut(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") // nobody accepts; the kernel does
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	config := HealthConfig{Path: "/", Timeout: 500 * time.Millisecond}
	if got, _ := checked(t, &checker{config: config, address: listener.Addr().String(), tls: &tls.Config{}}); got != "no TLS handshake within 500ms" {
		t.Errorf("%q", got)
	}
	if got, _ := checked(t, &checker{config: config, address: listener.Addr().String()}); got != "no answer within 500ms" {
		t.Errorf("%q", got)
	}
}

func TestChecksOfNginx(t *testing.T) {
	n := newNginx(t)
	n.start()
	n.awaitSocket()
	for _, test := range []struct {
		config HealthConfig
		tls    *tls.Config
		want   string
	}{
		{HealthConfig{Path: "/ready", Body: "ready for app.example.org", Host: "app.example.org"}, nil, "answered 200"},
		{HealthConfig{Path: "/ready", Body: "not"}, nil, `answered 200 without "not" in the first 64 KiB`},
		{HealthConfig{Path: "/down"}, nil, "answered 503, not 200-399"},
		{HealthConfig{Path: "/down", Status: "200,503"}, nil, "answered 503"},
		{HealthConfig{Path: "/moved"}, nil, "answered 301"},
		{HealthConfig{Path: "/moved", Status: "200"}, nil, "answered 301, not 200"},
		{HealthConfig{Path: "/closed"}, nil, "closed the connection without an answer"},
		{HealthConfig{Path: "/big", Body: "x"}, nil, "answered 200"},
		{HealthConfig{Path: "/missing"}, nil, "answered 404, not 200-399"},
		{HealthConfig{Path: "/ready"}, &tls.Config{RootCAs: n.roots, ServerName: "app.example.org"}, "answered 200"},
		{HealthConfig{Path: "/ready"}, &tls.Config{RootCAs: n.roots, ServerName: "web.example.org"}, "its certificate is not accepted: certificate is valid for app.example.org, not web.example.org"},
		{HealthConfig{Path: "/ready"}, &tls.Config{ServerName: "app.example.org"}, "its certificate is not accepted: certificate signed by unknown authority"},
		{HealthConfig{TCP: true}, nil, "took a connection"},
	} {
		c := n.checker(test.config)
		c.tls = test.tls
		if got, _ := checked(t, c); got != test.want {
			t.Errorf("%+v: %q, want %q", test.config, got, test.want)
		}
	}
}

func TestAnNginxThatDiesIsDownAndUpWhenItIsBack(t *testing.T) {
	n := newNginx(t)
	changes := n.watch()
	await := func(want string) {
		t.Helper()
		select {
		case got := <-changes:
			if got != want {
				t.Fatalf("it is %s, want %s", got, want)
			}
		case <-time.After(hang):
			t.Fatalf("it does not become %s", want)
		}
	}
	await("down: no such file or directory")
	n.start()
	await("up: answered 200")
	n.kill()
	await("down: connection refused")
	n.start()
	await("up: answered 200")
}

// nginx is a real one behind UNIX sockets, which need no free port.
type nginx struct {
	t       *testing.T
	dir     string
	roots   *x509.CertPool
	process *exec.Cmd
}

func newNginx(t *testing.T) *nginx {
	dir, err := os.MkdirTemp("", "nginx") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	n := &nginx{t: t, dir: dir}
	t.Cleanup(func() {
		n.kill()
		_ = os.RemoveAll(dir)
	})
	certificate, roots := selfSigned(t, "app.example.org")
	n.roots = roots
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	n.write("cert.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]}))
	n.write("key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
	n.write("big", []byte(strings.Repeat("x", 1<<20)))
	n.write("nginx.conf", fmt.Appendf(nil, `
daemon off; master_process off; pid %[1]s/pid; error_log stderr;
events {}
http {
  access_log off;
  client_body_temp_path %[1]s/t1; proxy_temp_path %[1]s/t2; fastcgi_temp_path %[1]s/t3; uwsgi_temp_path %[1]s/t4; scgi_temp_path %[1]s/t5;
  server {
    listen unix:%[1]s/plain;
    listen unix:%[1]s/tls ssl;
    ssl_certificate %[1]s/cert.pem; ssl_certificate_key %[1]s/key.pem;
    root %[1]s;
    location = /ready { return 200 "ready for $host\n"; }
    location = /down { return 503; }
    location = /moved { return 301 /down; }
    location = /closed { return 444; }
  }
}`, dir))
	return n
}

func (n *nginx) write(name string, content []byte) {
	if err := os.WriteFile(filepath.Join(n.dir, name), content, 0o600); err != nil {
		n.t.Fatal(err)
	}
}

func (n *nginx) start() {
	n.t.Helper()
	program, err := exec.LookPath("nginx")
	if err != nil {
		program = "/usr/sbin/nginx" // not every shell searches there
	}
	for _, socket := range []string{"plain", "tls"} {
		_ = os.Remove(filepath.Join(n.dir, socket)) // a killed one leaves them behind, and refuses to start over them
	}
	n.process = exec.Command(program, "-c", filepath.Join(n.dir, "nginx.conf"), "-e", "stderr", "-p", n.dir)
	n.process.Stderr = n.t.Output()
	if err := n.process.Start(); err != nil {
		n.t.Fatal(err)
	}
}

// awaitSocket waits for the last of the sockets to be listened on.
func (n *nginx) awaitSocket() {
	n.t.Helper()
	for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("unix", filepath.Join(n.dir, "tls"))
		if err == nil {
			_ = conn.Close()
			return
		}
		if time.Since(begin) > hang {
			n.t.Fatal(err)
		}
	}
}

func (n *nginx) kill() {
	if n.process == nil {
		return
	}
	_ = n.process.Process.Signal(syscall.SIGKILL)
	_ = n.process.Wait()
	n.process = nil
}

// checker is of the plain socket, or of the one with TLS once it has a tls.
func (n *nginx) checker(config HealthConfig) *checker {
	c := &checker{config: config, address: "nginx:80", host: "nginx"}
	c.dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
		socket := "plain"
		if c.tls != nil {
			socket = "tls"
		}
		var d net.Dialer
		return d.DialContext(ctx, "unix", filepath.Join(n.dir, socket))
	}
	return c
}

// watch checks until the test ends and returns every change and why it came.
func (n *nginx) watch() <-chan string {
	changes := make(chan string, 16)
	c := n.checker(HealthConfig{Path: "/ready", Interval: 200 * time.Millisecond, Timeout: hang}) // no result may depend on this machine's speed
	c.changed = func(up bool, why string) {
		if up {
			changes <- "up: " + why
		} else {
			changes <- "down: " + why
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.run(ctx)
	}()
	n.t.Cleanup(func() {
		cancel()
		<-ended
	})
	return changes
}

// selfSigned is a certificate for names, and the roots by which it is known.
func selfSigned(t *testing.T, names ...string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: names[0]},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}
