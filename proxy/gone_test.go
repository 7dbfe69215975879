package proxy

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// TestAServersStreamIsGoneOnce: however it ends, also before the server was there.
func TestAServersStreamIsGoneOnce(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, e *edge, v *rawViewer, dialling chan struct{}){
		"the viewer leaves": func(t *testing.T, e *edge, v *rawViewer, dialling chan struct{}) {
			close(dialling)
			v.exchangeGreetings()
			v.leave(nil)
			v.wantClose(ViewerLeft)
		},
		"the viewer is lost while the server is dialled": func(t *testing.T, e *edge, v *rawViewer, dialling chan struct{}) {
			v.Close()
			eventually(t, "the dial is given up", func() bool { return e.Viewers("session-1") == 1 })
			close(dialling)
		},
		"the edge ends it": func(t *testing.T, e *edge, v *rawViewer, dialling chan struct{}) {
			close(dialling)
			v.exchangeGreetings()
			e.End("session-1", TakenDown)
			v.wantClose(TakenDown)
		},
		"the edge closes": func(t *testing.T, e *edge, v *rawViewer, dialling chan struct{}) {
			close(dialling)
			v.exchangeGreetings()
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			if err := e.Close(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := startVNC(t, echo)
			dialling := make(chan struct{})
			var gone atomic.Int32
			e := startEdge(t, Options{Dial: func(context.Context, Grant, string) (net.Conn, error) {
				<-dialling // and then has a connection, whoever wants it
				conn, err := net.Dial("tcp", server.addr)
				return &Server{Conn: conn, Gone: func() { gone.Add(1) }}, err
			}}, "")
			end(t, e, e.viewRaw(), dialling)
			eventually(t, "the stream is gone", func() bool { return e.Active() == 0 })
			if n := gone.Load(); n != 1 {
				t.Errorf("told %d times", n)
			}
		})
	}
}
