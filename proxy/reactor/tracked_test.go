package reactor

import (
	"context"
	"crypto/tls"
	"io"
	"sync/atomic"
	"testing"
)

// TestATrackedConnectionTellsItsEndOnce: closed by who accepted it, or by a loop
// that has taken it, with and without TLS.
func TestATrackedConnectionTellsItsEndOnce(t *testing.T) {
	both(t, func(t *testing.T, r *Reactor) {
		var ends atomic.Int32
		ended := make(chan struct{}, 8)
		tell := func() {
			ends.Add(1)
			ended <- struct{}{}
		}
		near, far := tcpPair(t)
		tracked := Track(near, tell)
		_, _ = tracked.Close(), tracked.Close()
		<-ended
		far.Close()

		for _, secure := range []bool{false, true} {
			near, far := tcpPair(t)
			other, otherFar := tcpPair(t)
			side := Side{Conn: Track(near, tell), Name: "near"}
			var reader io.ReadWriteCloser = far
			if secure {
				client := tls.Client(far, &tls.Config{InsecureSkipVerify: true})
				server := tls.Server(NewTransport(Track(near, tell)), &tls.Config{Certificates: []tls.Certificate{certificate(t)}})
				handshake := make(chan error, 1)
				go func() { handshake <- server.Handshake() }()
				if err := client.Handshake(); err != nil {
					t.Fatal(err)
				}
				if err := <-handshake; err != nil {
					t.Fatal(err)
				}
				side.Conn, reader = server, client
			}
			done := make(chan Joined, 1)
			r.Join(context.Background(), side, Side{Conn: other, Name: "other"}, "edge", func(j Joined) { done <- j })
			if _, err := io.WriteString(reader, "hello"); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 5)
			if _, err := io.ReadFull(otherFar, b); err != nil || string(b) != "hello" {
				t.Fatalf("%q, %v", b, err)
			}
			if len(ended) > 0 {
				t.Error("its end is told while it is open")
			}
			_, _ = reader.Close(), otherFar.Close()
			<-done
			<-ended
		}
		if n := ends.Load(); n != 3 {
			t.Errorf("%d ends of 3 connections", n)
		}
	})
}
