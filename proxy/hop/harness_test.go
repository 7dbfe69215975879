package hop

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/streamspace-dev/streamspace-edge/proxy/reactor"
	"github.com/streamspace-dev/streamspace-edge/proxy/tunnel"
	"github.com/streamspace-dev/streamspace-edge/proxy/websocket"
)

// hang is how long a test waits before it calls something stuck.
const hang = 30 * time.Second

var testSecret = []byte("a secret of the test's own, 32 b")

type quiet struct{}

func (quiet) Printf(string, ...any) {}

// certificate is self-signed for 127.0.0.1.
func certificate(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func caFile(t testing.TB, c tls.Certificate) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// home is an edge that has a tunnel to the agent "agent", behind a server as the
// edge has it.
type home struct {
	*Hop
	peer        Peer
	certificate tls.Certificate
}

// startHome serves hops with open as its Options.Open; plain: without TLS.
func startHome(t testing.TB, plain bool, open func(context.Context, string, tunnel.OpenRequest) (net.Conn, error), change ...func(*Options)) *home {
	t.Helper()
	loops, err := reactor.New(1, nil)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Node: "home", Secret: testSecret, Reactor: loops, Open: open}
	for _, f := range change {
		f(&o)
	}
	h := &home{Hop: New(o)}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.peer = Peer{ID: "home", URL: "http://" + tcp.Addr().String()}
	listener := net.Listener(tcp)
	if !plain {
		h.certificate = certificate(t)
		h.peer.URL = "https://" + tcp.Addr().String()
		h.peer.Pin = websocket.PinOf(h.certificate.Leaf)
		listener = tls.NewListener(reactor.Listen(tcp), &tls.Config{Certificates: []tls.Certificate{h.certificate}})
	}
	server := &fasthttp.Server{Logger: quiet{}, ReadTimeout: hang, WriteTimeout: hang, Handler: func(ctx *fasthttp.RequestCtx) {
		switch string(ctx.Path()) {
		case Path:
			h.Serve(ctx)
		case "/health":
			ctx.SetStatusCode(fasthttp.StatusServiceUnavailable)
		default:
			ctx.SetStatusCode(fasthttp.StatusNotFound)
		}
	}}
	served := make(chan error, 1)
	go func() { served <- server.Serve(reactor.Lend(listener)) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), hang)
		defer cancel()
		if err := h.Close(ctx); err != nil {
			t.Errorf("the hop did not close: %v", err)
		}
		loops.Close()
		if err := server.ShutdownWithContext(ctx); err != nil {
			t.Errorf("the server did not shut down: %v", err)
		}
		_ = listener.Close() // Shutdown knows no listener of a Serve that has not begun
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return h
}

// startViewerEdge is an edge that only dials.
func startViewerEdge(t testing.TB, change ...func(*Options)) *Hop {
	o := Options{Node: "viewers", Secret: testSecret}
	for _, f := range change {
		f(&o)
	}
	h := New(o)
	t.Cleanup(func() { _ = h.Close(context.Background()) })
	return h
}

// vncServer hands each connection to serve and returns how to reach it, in place
// of a tunnel. With secure it is over TLS, as an agent's connections are.
func vncServer(t testing.TB, secure bool, serve func(net.Conn)) func(context.Context, string, tunnel.OpenRequest) (net.Conn, error) {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener := net.Listener(tcp)
	var config *tls.Config
	if secure {
		c := certificate(t)
		roots := x509.NewCertPool()
		roots.AddCert(c.Leaf)
		listener = tls.NewListener(tcp, &tls.Config{Certificates: []tls.Certificate{c}, DynamicRecordSizingDisabled: true})
		config = &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer func() { _ = conn.Close() }()
				serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		serving.Wait()
	})
	return func(ctx context.Context, agent string, _ tunnel.OpenRequest) (net.Conn, error) {
		if agent != "agent" {
			return nil, tunnel.Errorf(tunnel.CodeAgentOffline, "agent %s is not connected to this edge", agent)
		}
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", tcp.Addr().String())
		if err != nil || config == nil {
			return conn, err
		}
		over := tls.Client(reactor.NewTransport(conn), config)
		return over, over.HandshakeContext(ctx)
	}
}

func greetAndEcho(c net.Conn) {
	_, _ = io.WriteString(c, "RFB 003.008\n")
	_, _ = io.Copy(c, c)
}

var request = tunnel.OpenRequest{Session: "session", Stream: "stream", WebSocket: true}

func deadlined(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	t.Cleanup(cancel)
	return ctx
}

func mustDial(t testing.TB, from *Hop, to *home) net.Conn {
	t.Helper()
	conn, err := from.Dial(deadlined(t), to.peer, "agent", request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(hang)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func wantBytes(t testing.TB, conn net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, []byte(want)) {
		t.Fatalf("got %q, %v; want %q", got, err, want)
	}
}
