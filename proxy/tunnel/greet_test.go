package tunnel

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
)

func TestGreetSpeaksBeforeTheVNCServer(t *testing.T) {
	for name, start := range map[string]func(testing.TB, ...edgeOption) *testEdge{"plain": newEdge, "TLS": newTLSEdge} {
		t.Run(name, func(t *testing.T) {
			e := start(t)
			a, _ := connected(t, e, func(o *ClientOptions) {
				o.Open = vncServer(t, func(c net.Conn) {
					_, _ = io.WriteString(c, "server")
					echoServer(c)
				})
				o.Greet = func(_ context.Context, o OpenRequest, viewer net.Conn) error {
					if _, err := io.WriteString(viewer, o.Session); err != nil {
						return err
					}
					_, err := io.ReadFull(viewer, make([]byte, len("viewer")))
					return err
				}
			})
			o := request(1)
			conn := mustOpen(t, e, a.id, o)
			if _, err := io.WriteString(conn, "viewer and more"); err != nil { // what is more is the server's
				t.Fatal(err)
			}
			want := o.Session + "server and more"
			got := make([]byte, len(want))
			if _, err := io.ReadFull(conn, got); err != nil || string(got) != want {
				t.Fatalf("got %q, %v; want %q", got, err, want)
			}
			roundTrip(t, conn, "RFB 003.008\n")
		})
	}
}

func TestGreetThatFailsEndsItsStreamOnly(t *testing.T) {
	e := newEdge(t)
	closed := make(chan struct{}, 1)
	a, _ := connected(t, e, func(o *ClientOptions) {
		o.Open = vncServer(t, func(c net.Conn) {
			_, _ = io.Copy(io.Discard, c)
			closed <- struct{}{}
		})
		o.Greet = func(context.Context, OpenRequest, net.Conn) error { return errors.New("no viewer of ours") }
	})
	for i := range 3 {
		if got, err := io.ReadAll(mustOpen(t, e, a.id, request(i))); err != nil || len(got) > 0 {
			t.Errorf("the stream ends with %q, %v", got, err)
		}
		<-closed
	}
}

// A viewer that never says a word must not keep an agent from ending.
func TestAgentEndsWhileItGreets(t *testing.T) {
	e := newEdge(t)
	greeting := make(chan struct{})
	a, _ := connected(t, e, func(o *ClientOptions) {
		o.Open = vncServer(t, echoServer)
		o.Greet = func(_ context.Context, _ OpenRequest, viewer net.Conn) error {
			close(greeting)
			_, err := viewer.Read(make([]byte, 1))
			return err
		}
	})
	mustOpen(t, e, a.id, request(1))
	<-greeting
	a.end(t)
}
