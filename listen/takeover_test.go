package listen_test

import (
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/streamspace-dev/streamspace-edge/listen"
	"github.com/streamspace-dev/streamspace-edge/proxy/reactor"
)

// TestAnEventLoopGetsTheSocketItself, also of a connection that began with a
// PROXY header, and what was read behind the request.
func TestAnEventLoopGetsTheSocketItself(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	type taken struct {
		conn  net.Conn
		ahead string
		who   string
	}
	got := make(chan taken, 1)
	server := &fasthttp.Server{NoDefaultDate: true, MaxIdleWorkerDuration: 10 * time.Millisecond, Handler: func(ctx *fasthttp.RequestCtx) {
		who := ctx.RemoteAddr().String()
		ctx.Hijack(func(hijacked net.Conn) {
			conn, ahead, err := reactor.TakeOver(hijacked)
			if err != nil {
				t.Error(err)
			}
			got <- taken{conn, string(ahead), who}
		})
	}}
	o := listen.Options{Body: hang, Write: hang, Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	served := make(chan error, 1)
	go func() { served <- server.Serve(reactor.Lend(listen.Listen(tcp, o))) }()
	defer func() { tcp.Close(); <-served }()
	client, err := net.Dial("tcp", tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	_, _ = io.WriteString(client, "PROXY TCP4 192.0.2.7 192.0.2.1 1234 80\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nahead")
	all := await(t, got)
	defer all.conn.Close()
	if _, ok := all.conn.(*net.TCPConn); !ok || all.ahead != "ahead" || all.who != "192.0.2.7:1234" {
		t.Errorf("%T with %q from %s", all.conn, all.ahead, all.who)
	}
}
