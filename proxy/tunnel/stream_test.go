package tunnel

import (
	"crypto/tls"
	"io"
	"net"
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
