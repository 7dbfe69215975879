package listen_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"
	"go.uber.org/zap/zaptest"

	"github.com/streamspace-dev/streamspace-edge/balancer"
	"github.com/streamspace-dev/streamspace-edge/listen"
	"github.com/streamspace-dev/streamspace-edge/proxy/reactor"
)

// hang is how long anything may take before a test calls it hung.
const hang = 20 * time.Second

// door is a TLS port that speaks HTTP/2 and HTTP/1.1, before a balancer with one
// upstream.
type door struct {
	t     *testing.T
	addr  string
	http2 *listen.HTTP2
	end   func() // drains; may be called once more at the test's end
}

func openDoor(t *testing.T, upstream http.HandlerFunc, change func(*listen.HTTP2Options)) *door {
	t.Helper()
	web := httptest.NewServer(upstream)
	loops, err := reactor.New(1, nil)
	if err != nil {
		t.Fatal(err)
	}
	log := zaptest.NewLogger(t)
	b := balancer.New(balancer.Options{Log: log, Metrics: balancer.NewMetrics(prometheus.NewRegistry()), Reactor: loops, Secret: make([]byte, 32)})
	b.Load(balancer.Config{
		Pools:  []balancer.PoolConfig{{Name: "web", Upstreams: []balancer.UpstreamConfig{{URL: web.URL}}, Affinity: &balancer.AffinityConfig{Cookie: "C", TTL: time.Hour, Path: "/"}}},
		Routes: []balancer.RouteConfig{{Path: "/", Pool: "web"}},
	})
	o := listen.HTTP2Options{Log: log, Timeouts: listen.Options{Body: hang, Write: hang}, Idle: hang, MaxHeader: 16 << 10}
	if change != nil {
		change(&o)
	}
	h := listen.NewHTTP2(o)
	newServer := func() *fasthttp.Server {
		return &fasthttp.Server{
			Handler:           func(ctx *fasthttp.RequestCtx) { b.Serve(ctx, b.Route(ctx)) },
			StreamRequestBody: true, MaxRequestBodySize: 64 << 10, NoDefaultServerHeader: true, NoDefaultDate: true,
			ReadBufferSize: 32 << 10, MaxIdleWorkerDuration: 10 * time.Millisecond, DisablePreParseMultipartForm: true, Logger: quiet{},
		}
	}
	server, inside := newServer(), newServer()
	server.NextProto("h2", func(c net.Conn) error {
		conn, err := reactor.Reclaim(c)
		if err != nil {
			return err
		}
		return h.Take(conn.(*tls.Conn))
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{certificate(t)}, NextProtos: []string{"h2", "http/1.1"}}
	served := make(chan error, 3)
	go func() {
		served <- server.Serve(reactor.Lend(tls.NewListener(reactor.Listen(listen.Listen(l, o.Timeouts)), config)))
	}()
	go func() { served <- h.Serve() }()
	go func() { served <- inside.Serve(reactor.Lend(h.Inside())) }()
	ended := false
	d := &door{t: t, addr: l.Addr().String(), http2: h}
	d.end = func() {
		if ended {
			return
		}
		ended = true
		ctx, cancel := context.WithTimeout(context.Background(), hang)
		defer cancel()
		for _, end := range []func(context.Context) error{h.Shutdown, inside.ShutdownWithContext, server.ShutdownWithContext} {
			if err := end(ctx); err != nil {
				t.Errorf("the end: %v", err)
			}
		}
		for range cap(served) {
			if err := <-served; err != nil {
				t.Errorf("serving: %v", err)
			}
		}
		if err := b.Close(ctx); err != nil {
			t.Errorf("the balancer's end: %v", err)
		}
		loops.Close()
		web.Close()
	}
	t.Cleanup(d.end)
	return d
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}

func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// client speaks HTTP/2; its connections end with the test, before the door.
func (d *door) client() *http.Client {
	transport := &http.Transport{ForceAttemptHTTP2: true, DisableCompression: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	d.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: hang}
}

func (d *door) url(path string) string { return "https://" + d.addr + path }
