package listen

import (
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// counted counts the deadlines that its socket gets.
type counted struct {
	net.Conn
	deadlines int
}

func (c *counted) SetReadDeadline(at time.Time) error {
	c.deadlines++
	return c.Conn.SetReadDeadline(at)
}

func pipe(t *testing.T, o Options) (c *Conn, socket *counted, peer net.Conn) {
	near, peer := net.Pipe()
	socket = &counted{Conn: near}
	t.Cleanup(func() { _, _ = near.Close(), peer.Close() })
	return newConn(socket, &o), socket, peer
}

// times out tells after how long a read does.
func timesOut(t *testing.T, c *Conn) time.Duration {
	t.Helper()
	began := time.Now()
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read %d bytes, %v", n, err)
	}
	return time.Since(began)
}

func TestAReadHasTheDeadlineThatWasSetLast(t *testing.T) {
	const body = 60 * time.Second
	for name, c := range map[string]struct {
		set  []time.Duration // from the moment of each on, a read before each but the first
		want time.Duration
	}{
		"one":                          {[]time.Duration{20 * time.Second}, 20 * time.Second},
		"a shorter one":                {[]time.Duration{75 * time.Second, 20 * time.Second}, 20 * time.Second},
		"a longer one":                 {[]time.Duration{20 * time.Second, 75 * time.Second}, 75 * time.Second},
		"while bytes move":             {[]time.Duration{WhileMoving}, body},
		"while bytes move, after long": {[]time.Duration{75 * time.Second, WhileMoving}, body},
		"while bytes move, after less": {[]time.Duration{20 * time.Second, WhileMoving}, body},
		"one after bytes moved":        {[]time.Duration{WhileMoving, 20 * time.Second}, 20 * time.Second},
		"a short one after a long":     {[]time.Duration{75 * time.Second, 100 * time.Millisecond}, 100 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn, _, peer := pipe(t, Options{Body: body})
				for i, d := range c.set {
					if i > 0 {
						go func() { _, _ = peer.Write([]byte("a")) }()
						if n, err := conn.Read(make([]byte, 1)); n != 1 || err != nil {
							t.Fatal(n, err)
						}
					}
					if err := conn.SetReadDeadline(time.Now().Add(d)); err != nil {
						t.Fatal(err)
					}
				}
				if took := timesOut(t, conn); took != c.want {
					t.Errorf("timed out after %v, want %v", took, c.want)
				}
			})
		})
	}
}

// TestADeadlineReachesAReadThatWaits: whoever wants to end it sets one in the
// past.
func TestADeadlineReachesAReadThatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, _, _ := pipe(t, Options{Body: time.Minute})
		go func() {
			time.Sleep(time.Second)
			_ = conn.SetReadDeadline(time.Now().Add(-time.Second))
		}()
		if took := timesOut(t, conn); took != time.Second {
			t.Errorf("it ended after %v", took)
		}
	})
}

// TestRequestsInARowMoveADeadlineOnceASecond: what a server sets for the idle
// time and for the header of each of them costs nothing else.
func TestRequestsInARowMoveADeadlineOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, socket, peer := pipe(t, Options{Body: time.Minute})
		for range 100 {
			_ = conn.SetReadDeadline(time.Now().Add(75 * time.Second))
			go func() { _, _ = peer.Write([]byte("a")) }()
			if n, err := conn.Read(make([]byte, 1)); n != 1 || err != nil {
				t.Fatal(n, err)
			}
			_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
			time.Sleep(50 * time.Millisecond)
		}
		if socket.deadlines > 6 {
			t.Errorf("100 requests in 5 s set %d deadlines", socket.deadlines)
		}
		if took := timesOut(t, conn); took < 19*time.Second || took > 20*time.Second {
			t.Errorf("the last request timed out after %v", took)
		}
	})
}

func TestAWriteHasTheDeadlineThatWasSetLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, _, _ := pipe(t, Options{Write: 30 * time.Second})
		wait := func() time.Duration {
			began := time.Now()
			if n, err := conn.Write([]byte("a")); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("wrote %d bytes, %v", n, err)
			}
			return time.Since(began)
		}
		for _, c := range []struct{ set, want time.Duration }{
			{time.Minute, time.Minute}, {time.Second, time.Second}, {WhileMoving, 30 * time.Second}, {2 * time.Second, 2 * time.Second},
		} {
			_ = conn.SetWriteDeadline(time.Now().Add(c.set))
			if took := wait(); took != c.want {
				t.Errorf("%v: a write that nobody takes ended after %v", c.set, took)
			}
		}
		_ = conn.SetWriteDeadline(time.Time{})
		go func() {
			time.Sleep(time.Second)
			_ = conn.SetWriteDeadline(time.Now())
		}()
		if took := wait(); took != time.Second {
			t.Errorf("a deadline that was set meanwhile ended it after %v", took)
		}
	})
}
