package balancer

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
)

// TestTheVersionIsTheEdgesOwn: an upstream of HTTP/1.0 takes neither the client's
// version nor its connection (RFC 9112 section 2.3).
func TestTheVersionIsTheEdgesOwn(t *testing.T) {
	for name, answer := range map[string]string{
		"with a length":       "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"with an end":         "HTTP/1.0 200 OK\r\n\r\nok",
		"that closes":         "HTTP/1.0 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
		"of 1.1, with an end": "HTTP/1.1 200 OK\r\n\r\nok",
	} {
		t.Run(name, func(t *testing.T) {
			upstream := rawServer(t, func(conn net.Conn, r *bufio.Reader) {
				if head(r) != "" {
					_, _ = io.WriteString(conn, answer)
				}
			})
			e := startEdge(t, onePool(func(p *PoolConfig) { p.Upstreams = []UpstreamConfig{{URL: upstream}} }))
			conn := e.dial()
			defer conn.Close()
			r := bufio.NewReader(conn)
			for range 2 {
				fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
				response, err := http.ReadResponse(r, nil)
				if err != nil {
					t.Fatal(err)
				}
				if body, err := io.ReadAll(response.Body); err != nil || string(body) != "ok" || response.Proto != "HTTP/1.1" || response.Close {
					t.Fatalf("%s %q, %v, closes: %v", response.Proto, body, err, response.Close)
				}
			}
		})
	}
}
