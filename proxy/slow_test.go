package proxy

import (
	"io"
	"net"
	"testing"
	"time"
)

// TestWhoNeverFinishesItsRequestIsSentAway: the server's patience is for a whole
// request, however steadily its bytes drip, and for TLS's opening; a stream has
// none of it.
func TestWhoNeverFinishesItsRequestIsSentAway(t *testing.T) {
	transports(t, func(t *testing.T, options ...edgeOption) {
		server := startVNC(t, echo)
		e := startEdge(t, Options{}, server.addr, append(options, func(e *edge, _ *Options) { e.patience = 300 * time.Millisecond })...)
		stream := e.viewRaw()
		stream.exchangeGreetings()

		bare := func() net.Conn { // below TLS, where there is any
			conn, err := net.Dial("tcp", e.addr)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			_ = conn.SetDeadline(time.Now().Add(hang))
			return conn
		}
		for name, test := range map[string]struct {
			conn net.Conn
			drip string
		}{
			"says nothing":                 {bare(), ""},
			"says nothing behind TLS":      {e.connect(), ""},
			"stops in TLS's opening":       {bare(), "\x16\x03\x01"},
			"drips the lines of a request": {e.connect(), "GET /ws/vnc HTTP/1.1\r\nHost: edge\r\nCookie: "},
		} {
			t.Run(name, func(t *testing.T) {
				sentAway := make(chan struct{})
				go func() {
					defer close(sentAway)
					_, err := io.Copy(io.Discard, test.conn)
					if isTimeout(err) {
						t.Error("the edge waits for ever")
					}
				}()
				for at := 0; ; at++ {
					select {
					case <-sentAway:
						return
					case <-time.After(10 * time.Millisecond):
					}
					switch { // an error is the end that is waited for
					case at < len(test.drip):
						_, _ = test.conn.Write([]byte{test.drip[at]})
					case name == "drips the lines of a request":
						_, _ = test.conn.Write([]byte{'x'})
					}
				}
			})
		}
		time.Sleep(e.patience)
		stream.write(clientFrame(true, opBinary, []byte("still here")))
		for {
			if op, b := stream.frame(); op == opBinary {
				if string(b) != "still here" {
					t.Errorf("%q", b)
				}
				break
			}
		}
		if n := e.Active(); n != 1 {
			t.Errorf("%d streams", n)
		}
	})
}
