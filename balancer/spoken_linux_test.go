package balancer

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestAnUpstreamThatSpeaksFirstHasFailed: it is no web server, or one that shuts
// down, and is not connected to over and over.
func TestAnUpstreamThatSpeaksFirstHasFailed(t *testing.T) {
	for name, words := range map[string]string{"a greeting": "RFB 003.008\n", "its end": ""} {
		t.Run(name, func(t *testing.T) {
			upstream := rawServer(t, func(conn net.Conn, r *bufio.Reader) {
				_, _ = io.WriteString(conn, words)
				_ = conn.(*net.TCPConn).CloseWrite()
				_, _ = io.Copy(io.Discard, r)
			})
			e := startEdge(t, onePool(func(p *PoolConfig) { p.Upstreams = []UpstreamConfig{{URL: upstream}} }))
			ls := e.links()
			dial := ls.dial
			var dials atomic.Int32
			ls.dial = func(ctx context.Context, hello []byte) (net.Conn, error) {
				tried := dials.Add(1)
				conn, err := dial(ctx, hello)
				for err == nil && tried < 100 && !hasStirred(conn) { // as with a slow edge, or one far away
					time.Sleep(time.Millisecond)
				}
				return conn, err
			}
			response, body := get(t, e.client(), e.url("/"))
			if response.StatusCode != http.StatusBadGateway || !strings.Contains(body, "gave no valid answer") {
				t.Errorf("%s: %s", response.Status, body)
			}
			if dials := dials.Load(); dials > defaultAttempts {
				t.Errorf("it was connected to %d times for one request", dials)
			}
		})
	}
}
