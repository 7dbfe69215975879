package proxy

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/streamspace-dev/streamspace-edge/proxy/rfb"
)

func benchTransports(b *testing.B, bench func(b *testing.B, options ...edgeOption)) {
	b.Run("plain", func(b *testing.B) { bench(b) })
	b.Run("tls", func(b *testing.B) { bench(b, withTLS) })
}

// One viewer takes as much as the relay gives; the viewer only throws it away.
func BenchmarkRelayBulk(b *testing.B) {
	benchTransports(b, func(b *testing.B, options ...edgeOption) {
		const size = 1 << 20
		server := startVNC(b, func(conn net.Conn) {
			chunk := make([]byte, size)
			for {
				if _, err := conn.Write(chunk); err != nil {
					return
				}
			}
		})
		e := startEdge(b, Options{}, server.addr, options...)
		v := e.viewRaw()
		v.exchangeGreetings()
		buf := make([]byte, 256<<10)
		b.SetBytes(size)
		b.ReportAllocs()
		for b.Loop() {
			for left := size; left > 0; {
				n, err := v.r.Read(buf[:min(left, len(buf))])
				if err != nil {
					b.Fatal(err)
				}
				left -= n
			}
		}
	})
}

// The same from a server that speaks WebSocket, in frames of websockify's size
// and in large ones, of which plain bytes are spliced.
func BenchmarkRelayBulkOfWebSocketServer(b *testing.B) {
	for _, size := range []int{64 << 10, 1 << 20} {
		b.Run(fmt.Sprint(size>>10, "KiB"), func(b *testing.B) {
			benchTransports(b, func(b *testing.B, options ...edgeOption) {
				e := startFramed(b, Options{}, func(f *framedServer) {
					chunk := []byte(serverFrame(true, opBinary, strings.Repeat("x", size)))
					for {
						if _, err := f.Write(chunk); err != nil {
							return
						}
					}
				}, options...)
				v := e.viewRaw()
				v.shakeHands()
				buf := make([]byte, 256<<10)
				b.SetBytes(1 << 20)
				b.ReportAllocs()
				for b.Loop() {
					for left := 1 << 20; left > 0; {
						n, err := v.r.Read(buf[:min(left, len(buf))])
						if err != nil {
							b.Fatal(err)
						}
						left -= n
					}
				}
			})
		})
	}
}

// updates is a stream whose server sends 2,500 bytes at each call of next, which
// waits until the viewer has them. The viewer does not decrypt, so what is
// allocated is the relay's.
func updates(t testing.TB, options ...edgeOption) (next func()) {
	const size = 2500
	send := make(chan struct{})
	server := startRFB(t, rfb.SecurityNone, func(conn net.Conn, _ byte) {
		update := make([]byte, size)
		for range send {
			if _, err := conn.Write(update); err != nil {
				return
			}
		}
	})
	t.Cleanup(func() { close(send) })
	e := startEdge(t, Options{Bandwidth: NewBandwidth(1<<40, 1<<40)}, server.addr, options...)
	v := e.viewRaw()
	v.exchangeGreetings()
	enterRaw(v)
	buf := make([]byte, 64<<10)
	socket, sent := socketOf(v.Conn), int(size+4)
	if e.tls != nil {
		sent += 5 + 1 + 16 // of one record: header, type, tag (RFC 8446 section 5.2)
	}
	return func() {
		send <- struct{}{}
		for left := sent; left > 0; {
			n, err := socket.Read(buf[:left])
			if err != nil {
				t.Fatal(err)
			}
			left -= n
		}
	}
}

// An update of a desktop at work.
func BenchmarkUpdate(b *testing.B) {
	benchTransports(b, func(b *testing.B, options ...edgeOption) {
		next := updates(b, options...)
		b.ReportAllocs()
		for b.Loop() {
			next()
		}
	})
}

// A message of a pointer event's size there and back.
func BenchmarkEcho(b *testing.B) {
	benchTransports(b, func(b *testing.B, options ...edgeOption) {
		server := startVNC(b, echo)
		e := startEdge(b, Options{}, server.addr, options...)
		v := e.viewRaw()
		v.exchangeGreetings()
		event, answer := clientFrame(true, opBinary, []byte("\x05\x00\x01\x00\x02\x00")), make([]byte, 2+6)
		b.ReportAllocs()
		for b.Loop() {
			v.write(event)
			if _, err := io.ReadFull(v.r, answer); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// The same beside viewers that read nothing although their server has sent more
// than fits, one for each loop. times-alone is the ratio of the medians.
func BenchmarkEchoBesideStalledViewers(b *testing.B) {
	benchTransports(b, func(b *testing.B, options ...edgeOption) {
		var flooded atomic.Int64
		flood, event := []byte("flood!"), []byte("\x05\x00\x01\x00\x02\x00")
		server := startVNC(b, func(conn net.Conn) {
			first := make([]byte, len(event))
			if _, err := io.ReadFull(conn, first); err != nil {
				return
			}
			chunk := make([]byte, 64<<10)
			for bytes.Equal(first, flood) {
				n, err := conn.Write(chunk)
				flooded.Add(int64(n))
				if err != nil {
					return
				}
			}
			_, _ = conn.Write(first)
			echo(conn)
		})
		e := startEdge(b, Options{}, server.addr, options...)
		v := e.viewRaw()
		v.exchangeGreetings()
		frame, answer := clientFrame(true, opBinary, event), make([]byte, 2+len(event))
		trip := func() time.Duration {
			began := time.Now()
			v.write(frame)
			if _, err := io.ReadFull(v.r, answer); err != nil {
				b.Fatal(err)
			}
			return time.Since(began)
		}
		median := func(trips []time.Duration) time.Duration {
			slices.Sort(trips)
			return trips[len(trips)/2]
		}
		var alone, beside []time.Duration
		for range 2000 {
			alone = append(alone, trip())
		}
		for range runtime.GOMAXPROCS(0) {
			stalled := e.viewRaw()
			stalled.exchangeGreetings()
			stalled.write(clientFrame(true, opBinary, flood))
		}
		last := int64(-1)
		eventually(b, "the stalled streams stand still", func() bool {
			now := flooded.Load()
			still := now == last && now > 0
			last = now
			time.Sleep(100 * time.Millisecond)
			return still
		})
		for b.Loop() {
			beside = append(beside, trip())
		}
		b.ReportMetric(float64(median(beside))/float64(median(alone)), "times-alone")
	})
}

// From the connection to the desktop's greeting.
func BenchmarkOpen(b *testing.B) {
	benchTransports(b, func(b *testing.B, options ...edgeOption) {
		server := startVNC(b, echo)
		e := startEdge(b, Options{}, server.addr, options...)
		b.ReportAllocs()
		for b.Loop() {
			c := e.view()
			if _, _, err := c.Read(deadline(b)); err != nil {
				b.Fatal(err)
			}
			c.Close(websocket.StatusNormalClosure, "")
		}
	})
}

func BenchmarkUnmask(b *testing.B) {
	buf := make([]byte, 64<<10)
	b.SetBytes(64 << 10)
	for b.Loop() {
		unmask(buf, [4]byte{1, 2, 3, 4}, 1)
	}
}
