package reactor

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

// TestTakeOverLeavesNothingWithTheServer: what came ahead is handed over, the
// connection outlives the server's handler, and one that nobody takes ends with
// it.
func TestTakeOverLeavesNothingWithTheServer(t *testing.T) {
	for name, config := range map[string]*tls.Config{"plain": nil, "tls": {Certificates: []tls.Certificate{certificate(t)}}} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			public := l
			if config != nil {
				public = tls.NewListener(Listen(l), config)
			}
			type taken struct {
				conn  net.Conn
				ahead string
			}
			took := make(chan taken, 1)
			server := &fasthttp.Server{NoDefaultServerHeader: true, MaxIdleWorkerDuration: 10 * time.Millisecond, Handler: func(ctx *fasthttp.RequestCtx) {
				if ctx.IsTLS() != (config != nil) {
					t.Errorf("TLS is told as %v", ctx.IsTLS())
				}
				leave := string(ctx.Path()) == "/leave"
				ctx.HijackSetNoResponse(true)
				ctx.Hijack(func(hijacked net.Conn) {
					if leave {
						return
					}
					conn, ahead, err := TakeOver(hijacked)
					if err != nil {
						t.Error(err)
					}
					took <- taken{conn, string(ahead)}
				})
			}}
			served := make(chan error, 1)
			go func() { served <- server.Serve(Lend(public)) }()
			defer func() {
				if err := server.Shutdown(); err != nil {
					t.Error(err)
				}
				<-served
			}()
			dial := func() net.Conn {
				conn, err := net.Dial("tcp", l.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				_ = conn.SetDeadline(time.Now().Add(hang))
				if config != nil {
					return tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
				}
				return conn
			}

			left := dial()
			defer left.Close()
			_, _ = io.WriteString(left, "GET /leave HTTP/1.1\r\nHost: x\r\n\r\n")
			if b, err := io.ReadAll(left); len(b) > 0 || err != nil {
				t.Errorf("what nobody took says %q, %v", b, err)
			}

			ahead := strings.Repeat("ahead", 2000) // more than the server's buffer and TakeOver's
			client := dial()
			defer client.Close()
			_, _ = io.WriteString(client, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"+ahead)
			got := <-took
			defer got.conn.Close()
			other := dial() // uses the buffers that the first one gave back
			defer other.Close()
			_, _ = io.WriteString(other, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			defer (<-took).conn.Close()

			rest := make([]byte, len(ahead)-len(got.ahead)) // what had not arrived yet
			if _, err := io.ReadFull(got.conn, rest); err != nil || got.ahead+string(rest) != ahead {
				t.Errorf("%d bytes came ahead and %d later, %v", len(got.ahead), len(rest), err)
			}
			go func() { _, _ = io.WriteString(got.conn, "still here\n") }()
			if line, err := bufio.NewReader(client).ReadString('\n'); line != "still here\n" {
				t.Errorf("%q, %v", line, err)
			}
		})
	}
}

func TestTakeOverWantsALentConnection(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if _, _, err := TakeOver(a); err == nil {
		t.Error("a connection that is not hijacked is taken over")
	}
	if _, _, err := TakeOver(unwrapped{a}); err == nil || !strings.Contains(err.Error(), "Lend") {
		t.Errorf("a connection of another listener: %v", err)
	}
}

type unwrapped struct{ net.Conn }

func (u unwrapped) UnsafeConn() net.Conn { return u.Conn }
