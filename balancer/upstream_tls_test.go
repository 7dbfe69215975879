package balancer

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// pemFiles writes a certificate and its key.
func pemFiles(t *testing.T, c tls.Certificate) (certFile, keyFile string) {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	certFile, keyFile = filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: c.Certificate[0]}, keyFile: {Type: "PRIVATE KEY", Bytes: key}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// TestUpstreamsWithTLS: requests and checks go by the pool's roots, name and client
// certificate, and what does not fit is told where operators look.
func TestUpstreamsWithTLS(t *testing.T) {
	own, _ := selfSigned(t, "127.0.0.1", "app.example.org")
	caFile, _ := pemFiles(t, own)
	client, clientRoots := selfSigned(t, "edge.example.org")
	clientCert, clientKey := pemFiles(t, client)
	stranger, _ := selfSigned(t, "127.0.0.1", "app.example.org")
	strangerFile, _ := pemFiles(t, stranger)
	who := func(w http.ResponseWriter, r *http.Request) {
		name := "nobody"
		if len(r.TLS.PeerCertificates) > 0 {
			name = r.TLS.PeerCertificates[0].Subject.CommonName
		}
		fmt.Fprintf(w, "%q %s %s %s", r.TLS.ServerName, name, r.Proto, r.Host)
	}
	server := serve(t, who, &tls.Config{Certificates: []tls.Certificate{own}})
	strict := serve(t, who, &tls.Config{Certificates: []tls.Certificate{own}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clientRoots})
	for name, test := range map[string]struct {
		url  string
		tls  TLSConfig
		body string // of a good answer
		why  string // of the upstream's state otherwise
	}{
		"by its address":                     {url: server.URL, tls: TLSConfig{CAFile: caFile}, body: `"" nobody HTTP/1.1 x`},
		"by a name":                          {url: server.URL, tls: TLSConfig{CAFile: caFile, ServerName: "app.example.org"}, body: `"app.example.org" nobody HTTP/1.1 x`},
		"with a client certificate":          {url: strict.URL, tls: TLSConfig{CAFile: caFile, CertFile: clientCert, KeyFile: clientKey}, body: `"" edge.example.org HTTP/1.1 x`},
		"without the certificate asked":      {url: strict.URL, tls: TLSConfig{CAFile: caFile}, why: "refused TLS: certificate required"},
		"with a certificate of another":      {url: strict.URL, tls: TLSConfig{CAFile: caFile, CertFile: strangerFile, KeyFile: strings.Replace(strangerFile, "cert.pem", "key.pem", 1)}, why: "refused TLS: "},
		"by another name":                    {url: server.URL, tls: TLSConfig{CAFile: caFile, ServerName: "web.example.org"}, why: "its certificate is not accepted: certificate is valid for app.example.org, not web.example.org"},
		"of another authority":               {url: server.URL, tls: TLSConfig{CAFile: strangerFile}, why: "its certificate is not accepted: certificate signed by unknown authority"},
		"of an authority the system has not": {url: server.URL, why: "its certificate is not accepted: certificate signed by unknown authority"},
		"TLS to a server without":            {url: strings.Replace(named(t, "plain").URL, "http://", "https://", 1), tls: TLSConfig{CAFile: caFile}, why: "does not speak TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			e := startEdge(t, onePool(func(p *PoolConfig) {
				p.TLS = test.tls
				p.Health = HealthConfig{Path: "/health", Interval: 10 * time.Second, Timeout: 10 * time.Second}
				p.Passive.Panic = 1 // so that requests go there whatever the check has found
				p.Upstreams = []UpstreamConfig{{URL: test.url}}
			}))
			state := func() UpstreamState { return e.Pools()[0].Upstreams[0] }
			eventually(t, "the first check is over", func() bool { return state().Reason != firstCheck })
			request, _ := http.NewRequest("GET", e.url("/"), nil)
			request.Host = "x"
			response, err := e.client().Do(request)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			var body strings.Builder
			_ = response.Write(&body)
			switch s := state(); {
			case test.why == "":
				if s.State != "up" || response.StatusCode != 200 || !strings.HasSuffix(body.String(), test.body) {
					t.Errorf("%s %s; %s", s.State, s.Reason, body.String())
				}
			case s.State != "down" || !strings.Contains(s.Reason, test.why):
				t.Errorf("it is %s, %q; want %q", s.State, s.Reason, test.why)
			case response.StatusCode != http.StatusBadGateway || !strings.Contains(body.String(), "upstream_failed"):
				t.Errorf("answered %s", body.String())
			}
		})
	}
}

// TestAReloadReadsUpstreamCertificatesAnew: also those that were renewed in place.
func TestAReloadReadsUpstreamCertificatesAnew(t *testing.T) {
	own, _ := selfSigned(t, "127.0.0.1")
	before, _ := selfSigned(t, "127.0.0.1")
	file, _ := pemFiles(t, before)
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {}, &tls.Config{Certificates: []tls.Certificate{own}})
	c := onePool(func(p *PoolConfig) { p.TLS.CAFile = file }, server)
	e := startEdge(t, c)
	client := e.client()
	if response, body := get(t, client, e.url("/")); response.StatusCode != http.StatusBadGateway {
		t.Fatalf("with the roots of another: %v %s", response, body)
	}
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: own.Certificate[0]}), 0o600); err != nil {
		t.Fatal(err)
	}
	e.Load(c)
	if response, body := get(t, client, e.url("/")); response.StatusCode != http.StatusOK {
		t.Errorf("after a reload: %v %s", response, body)
	}
	upstream := e.table.Load().pools[0].upstreams[0]
	e.Load(c)
	if e.table.Load().pools[0].upstreams[0] != upstream {
		t.Error("a reload that changes nothing has made the upstream anew")
	}
}
