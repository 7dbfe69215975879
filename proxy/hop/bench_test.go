package hop

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/streamspace-dev/streamspace-edge/proxy/tunnel"
)

// pair is one server reached straight, as through a tunnel of the edge's own, and
// over a hop. Both are over TLS where secure says so.
func pair(b *testing.B, secure bool, serve func(net.Conn)) (local, hopped net.Conn) {
	open := vncServer(b, secure, serve)
	to := startHome(b, !secure, open)
	local, err := open(context.Background(), "agent", tunnel.OpenRequest{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = local.Close() })
	return local, mustDial(b, startViewerEdge(b), to)
}

func benchPair(b *testing.B, serve func(net.Conn), once func(b *testing.B, conn net.Conn)) {
	for name, secure := range map[string]bool{"tls": true, "plain": false} {
		b.Run(name, func(b *testing.B) {
			local, hopped := pair(b, secure, serve)
			var took [2]time.Duration
			for b.Loop() {
				for i, conn := range []net.Conn{local, hopped} {
					began := time.Now()
					once(b, conn)
					took[i] += time.Since(began)
				}
			}
			b.ReportMetric(float64(took[0].Microseconds())/float64(b.N), "local-us")
			b.ReportMetric(float64(took[1].Microseconds())/float64(b.N), "hop-us")
			b.ReportMetric(float64(took[1])/float64(took[0]), "hop/local")
		})
	}
}

// BenchmarkBulk is the time of a megabyte.
func BenchmarkBulk(b *testing.B) {
	const size = 1 << 20
	buf := make([]byte, 256<<10)
	benchPair(b, func(c net.Conn) { // sends what it is asked for
		chunk := make([]byte, size)
		for {
			if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
				return
			}
			if _, err := c.Write(chunk); err != nil {
				return
			}
		}
	}, func(b *testing.B, conn net.Conn) {
		if _, err := conn.Write([]byte{1}); err != nil {
			b.Fatal(err)
		}
		for left := size; left > 0; {
			n, err := conn.Read(buf[:min(left, len(buf))])
			if err != nil {
				b.Fatal(err)
			}
			left -= n
		}
	})
}

// BenchmarkRoundTrip is a pointer's event and a small update after it.
func BenchmarkRoundTrip(b *testing.B) {
	event, update := make([]byte, 6), make([]byte, 2500)
	benchPair(b, func(c net.Conn) {
		event, update := make([]byte, 6), make([]byte, 2500)
		for {
			if _, err := io.ReadFull(c, event); err != nil {
				return
			}
			if _, err := c.Write(update); err != nil {
				return
			}
		}
	}, func(b *testing.B, conn net.Conn) {
		if _, err := conn.Write(event); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(conn, update); err != nil {
			b.Fatal(err)
		}
	})
}

// BenchmarkDial is a stream's opening: what a viewer on another edge waits longer.
func BenchmarkDial(b *testing.B) {
	for name, plain := range map[string]bool{"tls": false, "plain": true} {
		b.Run(name, func(b *testing.B) {
			to := startHome(b, plain, vncServer(b, false, greetAndEcho))
			from := startViewerEdge(b)
			for b.Loop() {
				conn, err := from.Dial(context.Background(), to.peer, "agent", request)
				if err != nil {
					b.Fatal(err)
				}
				_ = conn.Close()
			}
		})
	}
}
