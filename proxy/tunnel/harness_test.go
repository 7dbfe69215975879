package tunnel

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttpadaptor"

	"github.com/streamspace-dev/streamspace-edge/proxy/reactor"
)

// hang is how long a test waits for what must happen; it is never waited out
// by a test that passes.
const hang = 30 * time.Second

const (
	testToken = "join-token-of-the-test"
	testKey   = "agent-key-of-the-test"
)

// happening is one callback of the hub.
type happening struct {
	kind       string // up, state, beat, down
	agent      string
	generation uint64
	hello      Hello
	report     Report
	down       Down
}

// testEdge is a Hub behind a fasthttp server, mounted as the edge mounts it.
type testEdge struct {
	t      testing.TB
	hub    *Hub
	server *fasthttp.Server
	url    string
	tls    *tls.Config // the agent's
	events chan happening
}

type edgeOption func(*HubOptions)

func newHandler(h *Hub) fasthttp.RequestHandler {
	control := fasthttpadaptor.NewFastHTTPHandler(h)
	return func(ctx *fasthttp.RequestCtx) {
		switch {
		case string(ctx.Path()) != ConnectPath:
			ctx.SetStatusCode(fasthttp.StatusNotFound)
		case string(ctx.Request.Header.Peek("Upgrade")) == StreamProtocol:
			h.ServeStream(ctx)
		default:
			control(ctx)
		}
	}
}

// newHub records callbacks; an edgeOption may replace them.
func newHub(t testing.TB, options ...edgeOption) *testEdge {
	e := &testEdge{t: t, events: make(chan happening, 4096)}
	o := HubOptions{
		Node: "edge-of-the-test",
		Admit: func(_ context.Context, _ Hello, token, key string) error {
			if token != testToken {
				return Errorf(CodeUnauthorized, "the join token is not valid")
			}
			if key != testKey {
				return Errorf(CodeAgentIDTaken, "the agent id belongs to another host")
			}
			return nil
		},
		BeatEvery: time.Minute,
		Up: func(h Hello, g uint64) {
			e.events <- happening{kind: "up", agent: h.AgentID, generation: g, hello: h}
		},
		State: func(id string, g uint64, r Report) {
			e.events <- happening{kind: "state", agent: id, generation: g, report: r}
		},
		Beat: func(id string, g uint64) { e.events <- happening{kind: "beat", agent: id, generation: g} },
		Down: func(id string, g uint64, why Down) {
			e.events <- happening{kind: "down", agent: id, generation: g, down: why}
		},
	}
	for _, option := range options {
		option(&o)
	}
	e.hub = NewHub(o)
	e.server = &fasthttp.Server{Handler: newHandler(e.hub), NoDefaultServerHeader: true, ReadTimeout: hang, Logger: quiet{}}
	return e
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}

func newEdge(t testing.TB, options ...edgeOption) *testEdge {
	return startEdge(t, nil, options...)
}

func newTLSEdge(t testing.TB, options ...edgeOption) *testEdge {
	certificate, roots := selfSigned(t)
	e := startEdge(t, &tls.Config{Certificates: []tls.Certificate{certificate}}, options...)
	e.tls = &tls.Config{RootCAs: roots}
	return e
}

func startEdge(t testing.TB, secure *tls.Config, options ...edgeOption) *testEdge {
	return serveEdge(t, listen(t), secure, options...)
}

func listen(t testing.TB) net.Listener {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// serveEdge starts an edge whose address is known before its options are.
func serveEdge(t testing.TB, listener net.Listener, secure *tls.Config, options ...edgeOption) *testEdge {
	e := newHub(t, options...)
	e.url = "http://" + listener.Addr().String()
	if secure != nil {
		e.url = "https://" + listener.Addr().String()
		listener = tls.NewListener(listener, secure)
	}
	served := make(chan error, 1)
	go func() { served <- e.server.Serve(reactor.Lend(listener)) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), hang)
		defer cancel()
		if err := e.hub.Close(ctx); err != nil {
			t.Errorf("the hub did not close: %v", err)
		}
		if err := e.server.ShutdownWithContext(ctx); err != nil {
			t.Errorf("the server did not shut down: %v", err)
		}
		_ = listener.Close() // Shutdown knows no listener of a Serve that has not begun
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return e
}

func selfSigned(t testing.TB) (tls.Certificate, *x509.CertPool) {
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
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

// next returns the next callback that is not a beat.
func (e *testEdge) next(kind string) happening {
	e.t.Helper()
	timeout := time.After(hang)
	for {
		select {
		case h := <-e.events:
			if h.kind == "beat" && kind != "beat" {
				continue
			}
			if h.kind != kind {
				e.t.Fatalf("callback %s (%+v), want %s", h.kind, h, kind)
			}
			return h
		case <-timeout:
			e.t.Fatalf("no callback %s", kind)
		}
	}
}

// testAgent is a Client with what it does recorded.
type testAgent struct {
	*Client
	id      string
	stop    context.CancelFunc
	result  chan error // Run's
	stopped sync.Once
}

func agentOptions(e *testEdge) ClientOptions {
	id := uuid.NewString()
	return ClientOptions{
		Edges: []string{e.url}, Token: testToken, AgentKey: testKey, TLS: e.tls,
		Hello: func() Hello {
			return Hello{AgentID: id, Name: "agent-of-the-test", Capacity: 10, Weight: 1, Runtimes: []Runtime{{Name: "demo"}}}
		},
		Command: func(context.Context, Command) error { return nil },
		Open: func(context.Context, OpenRequest) (net.Conn, error) {
			return nil, Errorf(CodeNoSession, "this agent runs no sessions")
		},
	}
}

func startAgent(t testing.TB, o ClientOptions) *testAgent {
	a := &testAgent{Client: NewClient(o), id: o.Hello().AgentID, result: make(chan error, 1)}
	a.run(t)
	return a
}

func (a *testAgent) run(t testing.TB) {
	var ctx context.Context
	ctx, a.stop = context.WithCancel(context.Background())
	go func() { a.result <- a.Run(ctx) }()
	t.Cleanup(func() { a.end(t) })
}

// end stops the agent and waits for it; it may be called several times.
func (a *testAgent) end(t testing.TB) {
	a.stopped.Do(func() {
		a.stop()
		select {
		case <-a.result:
		case <-time.After(hang):
			t.Error("the agent did not end")
		}
	})
}

// connected starts an agent and waits until it is up.
func connected(t testing.TB, e *testEdge, change func(*ClientOptions)) (*testAgent, happening) {
	t.Helper()
	o := agentOptions(e)
	if change != nil {
		change(&o)
	}
	a := startAgent(t, o)
	return a, e.next("up")
}

// vncServer listens and hands each connection to serve; it returns what an
// agent's Open calls.
func vncServer(t testing.TB, serve func(net.Conn)) func(context.Context, OpenRequest) (net.Conn, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
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
	return func(ctx context.Context, _ OpenRequest) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", listener.Addr().String())
	}
}

func echoServer(c net.Conn) { _, _ = io.Copy(c, c) }

func request(n int) OpenRequest {
	return OpenRequest{Session: fmt.Sprintf("session-%d", n), Stream: fmt.Sprintf("stream-%d", n)}
}

func deadlined(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	t.Cleanup(cancel)
	return ctx
}

func mustOpen(t testing.TB, e *testEdge, agent string, o OpenRequest) net.Conn {
	t.Helper()
	conn, err := e.hub.Open(deadlined(t), agent, o)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(hang)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// roundTrip sends text through an echoing stream.
func roundTrip(t testing.TB, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatalf("write: %v", err)
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(conn, got); err != nil {
		t.Fatalf("read: %v", err)
	}
	if string(got) != text {
		t.Fatalf("got %q, want %q", got, text)
	}
}

func wantCode(t testing.TB, err error, code Code) {
	t.Helper()
	if codeOf(err) != code {
		t.Fatalf("error %v (code %q), want code %q", err, codeOf(err), code)
	}
}

// closeWrite says to c that no more bytes come.
func closeWrite(c net.Conn) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}
