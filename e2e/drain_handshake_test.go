package e2e

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestAnEdgeThatLeavesServesWhoWasAboutToCome: a client that has its connection,
// and not yet its TLS, by either version of HTTP.
func TestAnEdgeThatLeavesServesWhoWasAboutToCome(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	defer upstream.Close()
	in := startEdge(t, fmt.Sprintf("drain: {timeout: 60s}\npools: [{name: web, upstreams: [{url: %q}]}]\nroutes: [{path: /app/, pool: web}]\n", upstream.URL))
	addr := strings.TrimPrefix(in.URL, "https://")
	var conns []net.Conn
	for range 2 {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(patience))
		conns = append(conns, conn)
	}
	in.keep() // accepted after these
	in.process.signal(syscall.SIGTERM)
	eventually(t, "the edge takes no more connections", func() error {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			_ = conn.Close()
			return errors.New("it does")
		}
		return nil
	})
	for i, protocol := range []string{"h2", "http/1.1"} {
		conn := tls.Client(conns[i], &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol}})
		request, _ := http.NewRequest("POST", in.URL+"/app/x", strings.NewReader("some"))
		request.GetBody = nil // it can't be sent again
		web := &http.Transport{ForceAttemptHTTP2: true, DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return conn, conn.HandshakeContext(ctx)
		}}
		response, err := web.RoundTrip(request)
		if err != nil {
			t.Errorf("%s: %v", protocol, err)
			continue
		}
		response.Body.Close()
		if h2 := response.ProtoMajor == 2; h2 != (protocol == "h2") {
			t.Errorf("%s: it came by %s", protocol, response.Proto)
		}
		if response.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", protocol, response.Status)
		}
	}
}
