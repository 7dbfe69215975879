package balancer

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/streamspace-dev/streamspace-edge/accesslog"
	"github.com/streamspace-dev/streamspace-edge/proxy/reactor"
)

// edge is a server that gives every request to a balancer.
type edge struct {
	*Balancer
	t    testing.TB
	addr string
}

func startEdge(t testing.TB, c Config, change ...func(*Options)) *edge {
	t.Helper()
	if faults := c.Validate(); len(faults) > 0 {
		t.Fatalf("the config: %v", faults)
	}
	loops, err := reactor.New(1, nil)
	if err != nil {
		t.Fatal(err)
	}
	log := zap.NewNop()
	if _, fuzzed := t.(*testing.F); !fuzzed { // which can't log inside its target
		log = zaptest.NewLogger(t)
	}
	o := Options{
		Log: log, Metrics: NewMetrics(prometheus.NewRegistry()), Reactor: loops,
		Secret: []byte("0123456789abcdef0123456789abcdef"),
	}
	for _, c := range change {
		c(&o)
	}
	b := New(o)
	b.Load(c)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &fasthttp.Server{
		Handler: func(ctx *fasthttp.RequestCtx) {
			if r := b.Route(ctx); r != nil {
				b.Serve(ctx, r)
			} else {
				ctx.SetStatusCode(http.StatusTeapot)
			}
		},
		ExpectHandler: func(ctx *fasthttp.RequestCtx) int {
			if r := b.Route(ctx); r != nil {
				return b.Expect(ctx, r)
			}
			return http.StatusContinue
		},
		ErrorHandler: func(ctx *fasthttp.RequestCtx, err error) {
			status := http.StatusBadRequest
			ctx.SetStatusCode(status)
			if connectionEnded(err) {
				status = accesslog.StatusClientLeft
			}
			b.Abandon(ctx, status)
		},
		StreamRequestBody: true, MaxRequestBodySize: 64 << 10, NoDefaultServerHeader: true, NoDefaultDate: true, NoDefaultContentType: true,
		DisablePreParseMultipartForm: true, MaxIdleWorkerDuration: 10 * time.Millisecond, ReadTimeout: hang, Logger: quiet{},
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(reactor.Lend(l)) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), hang)
		defer cancel()
		if err := server.ShutdownWithContext(ctx); err != nil {
			t.Errorf("shut down: %v", err)
		}
		<-served
		if err := b.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
		loops.Close()
	})
	return &edge{b, t, l.Addr().String()}
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}

// onePool routes everything to one pool of the servers.
func onePool(change func(*PoolConfig), servers ...*httptest.Server) Config {
	p := PoolConfig{Name: "web"}
	for _, s := range servers {
		p.Upstreams = append(p.Upstreams, UpstreamConfig{URL: s.URL})
	}
	if change != nil {
		change(&p)
	}
	return Config{Pools: []PoolConfig{p}, Routes: []RouteConfig{{Path: "/", Pool: "web"}}}
}

func startServer(t testing.TB, handler http.HandlerFunc) *httptest.Server {
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return s
}

// named answers with its name.
func named(t testing.TB, name string) *httptest.Server {
	return startServer(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, name) })
}

// client has connections of its own, which end with the test.
func (e *edge) client() *http.Client {
	transport := &http.Transport{DisableCompression: true}
	e.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: hang}
}

func (e *edge) url(path string) string { return "http://" + e.addr + path }

// raw sends the bytes and returns what comes back until the connection ends or
// nothing more comes for a moment.
func (e *edge) raw(request string) string {
	e.t.Helper()
	conn := e.dial()
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		e.t.Fatal(err)
	}
	_ = conn.(*net.TCPConn).CloseWrite()
	b, _ := io.ReadAll(conn)
	return string(b)
}

func (e *edge) dial() net.Conn {
	e.t.Helper()
	conn, err := net.Dial("tcp", e.addr)
	if err != nil {
		e.t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(hang))
	return conn
}

// rawServer hands out its connections.
func rawServer(t testing.TB, serve func(net.Conn, *bufio.Reader)) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.SetDeadline(time.Now().Add(hang))
			go func() {
				defer conn.Close()
				serve(conn, bufio.NewReader(conn))
			}()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return "http://" + l.Addr().String()
}

func get(t testing.TB, c *http.Client, url string, headers ...string) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Add(headers[i], headers[i+1])
	}
	response, err := c.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(body)
}

// head reads one request's head as an upstream gets it.
func head(r *bufio.Reader) string {
	var b strings.Builder
	for {
		line, err := r.ReadString('\n')
		b.WriteString(line)
		if err != nil || line == "\r\n" {
			return b.String()
		}
	}
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(hang); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it did not come about that %s", what)
		}
	}
}
