package agent

import (
	"context"
	"io"
	"net"
	"testing"
	"time"
)

// A server that greets and then says nothing (a recorder, a slow one) is a VNC
// server; one that never greets is not.
func TestOnlyTheGreetingIsWaitedFor(t *testing.T) {
	for text, good := range map[string]bool{"RFB 003.008\n": true, "": false} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan struct{})
		go func() {
			defer close(served)
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, text)
			_, _ = io.Copy(io.Discard, conn)
			_ = conn.Close()
		}()
		ctx, cancel := context.WithTimeout(context.Background(), 3*politeWait)
		began := time.Now()
		err = checkGreeting(ctx, l.Addr().String())
		cancel()
		if (err == nil) != good {
			t.Errorf("%q: %v after %s", text, err, time.Since(began))
		}
		_ = l.Close()
		<-served
	}
}
