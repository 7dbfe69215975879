package balancer

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"

	"github.com/streamspace-dev/streamspace-edge/proxy/reactor"
)

// BenchmarkSmallGet is what the edge itself costs a small request and its
// answer, between memory and memory: no system calls, no TLS.
func BenchmarkSmallGet(b *testing.B) {
	const ask = "GET /app/page HTTP/1.1\r\nHost: desk.example.org\r\nUser-Agent: benchmark\r\nAccept: */*\r\n\r\n"
	const answer = "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Thu, 26 Nov 2026 10:00:00 GMT\r\nContent-Type: text/plain\r\nContent-Length: 95\r\nConnection: keep-alive\r\n\r\n" +
		"hello from upstream, this is a small body of about one hundred bytes, padded with some words..\n"
	loops, err := reactor.New(1, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer loops.Close()
	balancer := New(Options{Metrics: NewMetrics(prometheus.NewRegistry()), Reactor: loops, Secret: make([]byte, 32)})
	balancer.Load(Config{
		Pools: []PoolConfig{{
			Name: "web", Affinity: &AffinityConfig{Cookie: "SSAFFINITY", TTL: time.Hour},
			Upstreams: []UpstreamConfig{{URL: "http://10.0.0.1:80"}, {URL: "http://10.0.0.2:80"}},
		}},
		Routes: []RouteConfig{{Host: "desk.example.org", Path: "/app/", Pool: "web"}},
	})
	defer func() { _ = balancer.Close(context.Background()) }()
	for _, u := range balancer.table.Load().pools[0].upstreams {
		u.links.dial = func(context.Context, []byte) (net.Conn, error) { return &memory{says: answer}, nil }
	}
	server := fasthttp.Server{
		Handler:           func(ctx *fasthttp.RequestCtx) { balancer.Serve(ctx, balancer.Route(ctx)) },
		StreamRequestBody: true, ReadBufferSize: 16 << 10, NoDefaultDate: true, NoDefaultServerHeader: true,
		ReadTimeout: time.Minute, WriteTimeout: time.Minute, IdleTimeout: time.Minute,
	}
	b.ReportAllocs()
	if err := server.ServeConn(&memory{says: ask, times: b.N}); err != nil {
		b.Fatal(err)
	}
}

// memory is a connection on which the other side says the same again each time
// it is read, and listens to nothing.
type memory struct {
	net.Conn
	says  string
	times int // 0: for ever
	said  int
}

func (m *memory) Read(p []byte) (int, error) {
	if m.said++; m.times > 0 && m.said > m.times {
		return 0, io.EOF
	}
	return copy(p, m.says), nil
}

func (m *memory) Write(p []byte) (int, error)      { return len(p), nil }
func (m *memory) Close() error                     { return nil }
func (m *memory) SetReadDeadline(time.Time) error  { return nil }
func (m *memory) SetWriteDeadline(time.Time) error { return nil }
func (m *memory) SetDeadline(time.Time) error      { return nil }
func (m *memory) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(10, 0, 0, 9), Port: 40000} }
func (m *memory) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(10, 0, 0, 8), Port: 443} }
