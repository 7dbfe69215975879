package demo

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamspace-dev/streamspace-edge/proxy/rfb"
)

// handshakes is what a client of each version says, and what the server says
// in between, up to ServerInit.
func handshakes() map[string]struct{ client, server []string } {
	return map[string]struct{ client, server []string }{
		"3.3":             {[]string{"RFB 003.003\n", "\x00"}, []string{"\x00\x00\x00\x01"}},
		"3.5, unofficial": {[]string{"RFB 003.005\n", "\x01"}, []string{"\x00\x00\x00\x01"}},
		"3.7":             {[]string{"RFB 003.007\n", "\x01", "\x01"}, []string{"\x01\x01", ""}},
		"3.8":             {[]string{"RFB 003.008\n", "\x01", "\x01"}, []string{"\x01\x01", "\x00\x00\x00\x00"}},
		"3.889, Apple":    {[]string{"RFB 003.889\n", "\x01", "\x00"}, []string{"\x01\x01", "\x00\x00\x00\x00"}},
	}
}

func TestHandshakeOfEveryVersion(t *testing.T) {
	for name, h := range handshakes() {
		t.Run(name, func(t *testing.T) {
			c := dial(t, small())
			c.read(12)
			for i, say := range h.client {
				c.send([]byte(say))
				if i < len(h.server) {
					if got := string(c.read(len(h.server[i]))); got != h.server[i] {
						t.Fatalf("after %q the server says %q, want %q", say, got, h.server[i])
					}
				}
			}
			init := c.serverInit()
			if init.Width != 400 || init.Height != 300 || init.Name != "small" || init.Format != rfb.RGB888() {
				t.Errorf("%+v", init)
			}
			if parts := c.refresh(false); len(parts) == 0 {
				t.Error("no picture")
			}
			if err := c.leave(); err != nil {
				t.Errorf("leaving: %v", err)
			}
		})
	}
}

func TestTruncatedHandshakeEndsTheViewer(t *testing.T) {
	for name, h := range handshakes() {
		whole := strings.Join(h.client, "")
		for n := range len(whole) {
			c := dial(t, small())
			go func() {
				_, _ = c.conn.Write([]byte(whole[:n]))
				_ = c.conn.Close()
			}()
			_, _ = io.Copy(io.Discard, c.in)
			err := <-c.end
			if greeting := len(h.client[0]); n == 0 && err != nil || n > 0 && n < greeting && err == nil {
				t.Errorf("%s cut after %d bytes: %v", name, n, err)
			}
		}
	}
}

func TestSilentClientIsGivenUp(t *testing.T) {
	for _, said := range []string{"", "RFB 003", "RFB 003.008\n", "RFB 003.008\n\x01"} {
		synctest.Test(t, func(t *testing.T) {
			c := dial(t, small())
			go func() { _, _ = io.Copy(io.Discard, c.in) }()
			c.send([]byte(said))
			began := time.Now()
			err := <-c.end
			if err == nil || time.Since(began) != handshakeTimeout {
				t.Errorf("after %q: %v within %v", said, err, time.Since(began))
			}
			_ = c.conn.Close()
		})
	}
}

func TestWrongGreetingIsNamed(t *testing.T) {
	for said, want := range map[string]string{
		"GET / HTTP/1.1\r\n": `"GET / HTTP/1"`,
		"RFB 003.002\n":      "older than 3.3",
		"RFB 000.000\n":      "older than 3.3",
		"RFB 3.8     \n":     "not RFB",
	} {
		c := dial(t, small())
		go func() { _, _ = c.conn.Write([]byte(said)) }()
		_, _ = io.Copy(io.Discard, c.in)
		if err := c.leave(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q in it", said, err, want)
		}
	}
}

func TestSecurityTypeThatWasNotOfferedIsRefused(t *testing.T) {
	for version, reason := range map[string]bool{"RFB 003.007\n": false, "RFB 003.008\n": true} {
		c := dial(t, small())
		c.read(12)
		c.send([]byte(version))
		c.read(2)
		c.send([]byte{2})
		if result := c.u32(); result != 1 {
			t.Errorf("%q: result %d", version, result)
		}
		rest, _ := io.ReadAll(c.in)
		if got := strings.Contains(string(rest), "VNC authentication"); got != reason {
			t.Errorf("%q: then %q", version, rest)
		}
		if err := c.leave(); err == nil || !strings.Contains(err.Error(), "VNC authentication") {
			t.Errorf("%q: %v", version, err)
		}
	}
}

func TestViewersBeyondTheLimitAreToldWhy(t *testing.T) {
	s := small()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, maxViewers)
	for range maxViewers {
		ours, theirs := net.Pipe()
		go func() { ended <- s.ServeConn(ctx, theirs) }()
		_, _ = io.ReadFull(ours, make([]byte, 12)) // it has its place
		defer ours.Close()
	}
	for version, head := range map[string]string{"RFB 003.003\n": "\x00\x00\x00\x00", "RFB 003.008\n": "\x00"} {
		c := dial(t, s)
		c.read(12)
		c.send([]byte(version))
		if got := string(c.read(len(head))); got != head {
			t.Errorf("%q: % x", version, got)
		}
		if reason := string(c.read(c.u32())); !strings.Contains(reason, "256 viewers already") {
			t.Errorf("%q: reason %q", version, reason)
		}
		if err := c.leave(); err == nil {
			t.Errorf("%q: no error", version)
		}
	}
	cancel()
	for range maxViewers {
		if err := <-ended; err != nil {
			t.Errorf("ended with its context: %v", err)
		}
	}
	c := connect(t, s)
	if err := c.leave(); err != nil {
		t.Errorf("after the others have left: %v", err)
	}
}
