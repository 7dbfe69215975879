package tunnel

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
)

func TestStreamCarriesBytesBothWays(t *testing.T) {
	for name, start := range map[string]func(testing.TB, ...edgeOption) *testEdge{"plain": newEdge, "TLS": newTLSEdge} {
		t.Run(name, func(t *testing.T) {
			e := start(t)
			a, _ := connected(t, e, func(o *ClientOptions) { o.Open = vncServer(t, echoServer) })
			for i := range 10 {
				roundTrip(t, mustOpen(t, e, a.id, request(i)), "RFB 003.008\n")
			}
		})
	}
}

func TestStreamIsTheBareConnection(t *testing.T) {
	plain := newEdge(t)
	a, _ := connected(t, plain, func(o *ClientOptions) { o.Open = vncServer(t, echoServer) })
	if conn, ok := mustOpen(t, plain, a.id, request(1)).(*net.TCPConn); !ok {
		t.Errorf("a plain stream is a %T, want *net.TCPConn", conn)
	}
	secure := newTLSEdge(t)
	b, _ := connected(t, secure, func(o *ClientOptions) { o.Open = vncServer(t, echoServer) })
	if conn, ok := mustOpen(t, secure, b.id, request(1)).(*tls.Conn); !ok {
		t.Errorf("a TLS stream is a %T, want *tls.Conn", conn)
	}
}

func TestHalfCloseIsPassedOn(t *testing.T) {
	for name, start := range map[string]func(testing.TB, ...edgeOption) *testEdge{"plain": newEdge, "TLS": newTLSEdge} {
		t.Run(name, func(t *testing.T) {
			e := start(t)
			a, _ := connected(t, e, func(o *ClientOptions) {
				o.Open = vncServer(t, func(c net.Conn) {
					all, err := io.ReadAll(c) // ends at the viewer's half-close
					if err == nil {
						_, _ = io.WriteString(c, "you said "+string(all))
					}
				})
			})
			conn := mustOpen(t, e, a.id, request(1))
			if _, err := io.WriteString(conn, "good-bye"); err != nil {
				t.Fatal(err)
			}
			if err := closeWrite(conn); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(conn)
			if err != nil || string(got) != "you said good-bye" {
				t.Fatalf("got %q, %v", got, err)
			}
		})
	}
}

func TestHalfCloseOfTheServerIsPassedOn(t *testing.T) {
	e := newTLSEdge(t)
	heard := make(chan string, 1)
	a, _ := connected(t, e, func(o *ClientOptions) {
		o.Open = vncServer(t, func(c net.Conn) {
			_, _ = io.WriteString(c, "last words")
			_ = closeWrite(c)
			all, _ := io.ReadAll(c)
			heard <- string(all)
		})
	})
	conn := mustOpen(t, e, a.id, request(1))
	if got, err := io.ReadAll(conn); err != nil || string(got) != "last words" {
		t.Fatalf("got %q, %v", got, err)
	}
	if _, err := io.WriteString(conn, "still here"); err != nil {
		t.Fatal(err)
	}
	if err := closeWrite(conn); err != nil {
		t.Fatal(err)
	}
	if got := <-heard; got != "still here" {
		t.Fatalf("the server heard %q", got)
	}
}

// The frames of a VNC server that speaks WebSocket are for edges that ask for
// them; others are told so, and the connection is a spare again.
func TestWebSocketStreams(t *testing.T) {
	for name, start := range map[string]func(testing.TB, ...edgeOption) *testEdge{"plain": newEdge, "TLS": newTLSEdge} {
		t.Run(name, func(t *testing.T) {
			e := start(t)
			open := vncServer(t, echoServer)
			a, _ := connected(t, e, func(o *ClientOptions) {
				o.Open = func(ctx context.Context, o OpenRequest) (net.Conn, error) {
					conn, err := open(ctx, o)
					return &WebSocket{conn}, err
				}
			})
			o := request(1)
			for range 3 {
				_, err := e.hub.Open(deadlined(t), a.id, o)
				wantCode(t, err, CodeVNCRefused)
				if !strings.Contains(err.Error(), "WebSocket") {
					t.Error(err)
				}
			}
			o.WebSocket = true
			conn, ok := mustOpen(t, e, a.id, o).(*WebSocket)
			if !ok {
				t.Fatal("the edge is not told that frames follow")
			}
			roundTrip(t, conn.Conn, "\x82\x05hello")
		})
	}
}
