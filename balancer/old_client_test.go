package balancer

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// TestAnOldClientThatTakesNothingEndsWithTheBalancer: with its request, and whoever
// closes the balancer does not wait for it.
func TestAnOldClientThatTakesNothingEndsWithTheBalancer(t *testing.T) {
	for name, then := range map[string]func(conn net.Conn){
		"the edge waits for the client":   func(conn net.Conn) { _, _ = io.Copy(conn, endless{}) },
		"the edge waits for the upstream": func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) },
	} {
		t.Run(name, func(t *testing.T) {
			upstream := rawServer(t, func(conn net.Conn, r *bufio.Reader) {
				head(r)
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall that ")
				then(conn)
			})
			c := onePool(nil)
			c.Pools[0].Upstreams = []UpstreamConfig{{URL: upstream}}
			e := startEdge(t, c)
			conn := e.dial()
			defer conn.Close()
			fmt.Fprint(conn, "GET / HTTP/1.0\r\nHost: x\r\n\r\n")
			if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			closed := make(chan error, 1)
			go func() { closed <- e.Close(t.Context()) }()
			select {
			case err := <-closed:
				if err != nil || e.Active() != 0 {
					t.Errorf("%v, %d are served", err, e.Active())
				}
			case <-time.After(hang):
				t.Error("it still waits")
			}
		})
	}
}

// endless bytes.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// slowly takes up to a byte with each write, and then is late.
type slowly struct {
	net.Conn
	takes int
}

func (c *slowly) SetWriteDeadline(time.Time) error { return nil }

func (c *slowly) Write(p []byte) (int, error) {
	switch {
	case c.takes == 0:
		return 0, os.ErrDeadlineExceeded
	case len(p) == 1:
		c.takes--
		return 1, nil
	default:
		c.takes--
		return 1, os.ErrDeadlineExceeded
	}
}

// TestAPatientWriteEndsWithWhoTakesNothing, and goes on as long as something is taken.
func TestAPatientWriteEndsWithWhoTakesNothing(t *testing.T) {
	if n, err := (patient{&slowly{takes: 5}, time.Second}).Write([]byte("hello")); n != 5 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := (patient{&slowly{takes: 3}, time.Second}).Write([]byte("hello")); n != 3 || err != os.ErrDeadlineExceeded {
		t.Errorf("%d, %v", n, err)
	}
}
