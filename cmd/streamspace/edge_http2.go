package main

import (
	"crypto/tls"
	"fmt"
	"net"

	"github.com/valyala/fasthttp"

	"github.com/streamspace-dev/streamspace-edge/listen"
	"github.com/streamspace-dev/streamspace-edge/proxy/reactor"
)

const protocolHTTP2 = "h2" // in ALPN (RFC 9113 section 3.1)

// openHTTP2 lets browsers choose HTTP/2. Their requests come to handler like all
// others, over connections within the process, whose timeouts are the streams'.
func (e *edge) openHTTP2(handler fasthttp.RequestHandler) {
	e.http2 = listen.NewHTTP2(listen.HTTP2Options{
		Log:       e.log.Named("http2"),
		Timeouts:  e.accepting(),
		Idle:      e.config.Timeouts.Idle.std(),
		MaxHeader: maxHeader,
		Draining:  e.standsAside,
	})
	e.inside = e.newServer(handler)
	e.inside.ReadBufferSize = 2 * maxHeader // a header that came packed is longer written out
	e.server.NextProto(protocolHTTP2, func(passed net.Conn) error {
		conn, err := reactor.Reclaim(passed)
		if err != nil {
			return err
		}
		secure, ok := conn.(*tls.Conn)
		if !ok {
			_ = conn.Close()
			return fmt.Errorf("HTTP/2 over a %T", conn)
		}
		return e.http2.Take(secure)
	})
}
