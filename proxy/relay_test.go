package proxy

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/streamspace-dev/streamspace-edge/proxy/reactor"
)

// transports runs a test over plain TCP and over TLS, with the system's poller
// and without.
func transports(t *testing.T, test func(t *testing.T, options ...edgeOption)) {
	t.Run("plain", func(t *testing.T) { test(t) })
	t.Run("tls", func(t *testing.T) { test(t, withTLS) })
	t.Run("portable plain", func(t *testing.T) { test(t, portable) })
	t.Run("portable tls", func(t *testing.T) { test(t, withTLS, portable) })
}

// socketOf is the socket below a test's own connection.
func socketOf(conn net.Conn) *net.TCPConn {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	return conn.(*net.TCPConn)
}

func sum(r io.Reader) (digest [sha256.Size]byte, n int64, err error) {
	h := sha256.New()
	n, err = io.Copy(h, r)
	return [sha256.Size]byte(h.Sum(nil)), n, err
}

func TestViewersShareNoQueue(t *testing.T) {
	transports(t, func(t *testing.T, options ...edgeOption) {
		const viewers, size, endless = 20, 4 << 20, 1 << 40
		server, written := startRandom(t)
		e := startEdge(t, Options{}, server.addr, options...)

		runtime.GC()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)

		stalled, _ := e.viewStream()
		if _, err := stalled.Write(streamRequest(1000, endless)); err != nil {
			t.Fatal(err)
		}
		var group sync.WaitGroup
		for i := range uint64(viewers) {
			conn, _ := e.viewStream()
			group.Go(func() {
				if _, err := conn.Write(streamRequest(i, size)); err != nil {
					t.Error(err)
					return
				}
				got, n, err := sum(io.LimitReader(conn, size))
				want, _, _ := sum(randomBytes(i, size))
				if err != nil || got != want {
					t.Errorf("viewer %d: %d bytes of %d, %v, equal %v", i, n, size, err, got == want)
				}
			})
		}
		group.Wait()

		// What the server could write for the viewer that reads nothing is in
		// socket buffers, and no more of it goes out.
		last := int64(-1)
		eventually(t, "the stalled stream stands still", func() bool {
			now := written(1000)
			still := now == last
			last = now
			time.Sleep(100 * time.Millisecond)
			return still && now > 0
		})
		if last > 48<<20 {
			t.Errorf("the server could write %d bytes for a viewer that reads nothing", last)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 16<<20 {
			t.Errorf("the heap grew by %d bytes", grown)
		}
		if n := e.Viewers("session-1"); n < 1 {
			t.Errorf("the viewer that reads nothing was thrown out")
		}
	})
}

func TestStalledViewerLosesNoFrames(t *testing.T) {
	transports(t, func(t *testing.T, options ...edgeOption) {
		const size = 48 << 20 // more than all socket buffers hold
		server, written := startRandom(t)
		e := startEdge(t, Options{}, server.addr, options...)
		conn, _ := e.viewStream()
		if _, err := conn.Write(streamRequest(7, size)); err != nil {
			t.Fatal(err)
		}
		last := int64(-1)
		eventually(t, "the stream stands still", func() bool {
			now := written(7)
			still := now == last && now > 0
			last = now
			time.Sleep(100 * time.Millisecond)
			return still
		})
		if last == size {
			t.Fatal("the viewer never stalled")
		}
		got, n, err := sum(io.LimitReader(conn, size))
		want, _, _ := sum(randomBytes(7, size))
		if err != nil || got != want {
			t.Fatalf("%d bytes of %d, %v, equal %v", n, size, err, got == want)
		}
	})
}

// A server that says something and closes at once delivers both in one event of
// the poller: neither may be missed.
func TestServerThatSpeaksAndClosesIsHeardToTheEnd(t *testing.T) {
	transports(t, func(t *testing.T, options ...edgeOption) {
		server := startVNC(t, func(conn net.Conn) { _, _ = io.WriteString(conn, "last words") })
		e := startEdge(t, Options{}, server.addr, options...)
		for range 20 {
			v := e.viewRaw()
			v.exchangeGreetings()
			if op, b := v.frame(); op != opBinary || string(b) != "last words" {
				t.Fatalf("frame %x %q", op, b)
			}
			v.wantClose(ServerClosed)
		}
		for _, line := range e.ends(20) {
			if line["reason"] != string(ServerClosed) || line["by"] != "server" || line["phase"] != "relay" || line["bytes_to_viewer"] != int64(22) {
				t.Fatalf("%v", line)
			}
		}
	})
}

func TestInputReachesTheServerByteForByte(t *testing.T) {
	transports(t, func(t *testing.T, options ...edgeOption) {
		const size = 8 << 20
		type result struct {
			digest [sha256.Size]byte
			n      int64
		}
		got := make(chan result, 1)
		server := startVNC(t, func(conn net.Conn) {
			digest, n, _ := sum(conn)
			got <- result{digest, n}
		})
		e := startEdge(t, Options{}, server.addr, options...)
		conn, c := e.viewStream()
		pieces := []int{1, 2, 125, 126, 127, 4086, 65535, 65536, 1 << 20}
		source := randomBytes(3, size)
		for i, sent := 0, 0; sent < size; i++ {
			n, err := io.CopyN(conn, source, int64(min(pieces[i%len(pieces)], size-sent)))
			if err != nil {
				t.Fatal(err)
			}
			sent += int(n)
		}
		c.Close(websocket.StatusNormalClosure, "")
		want, _, _ := sum(randomBytes(3, size))
		if r := <-got; r.digest != want {
			t.Fatalf("%d bytes of %d arrived, or others", r.n, size)
		}
		e.wantEnd(ViewerLeft, phaseRelay)
		if n := e.counter("streamspace_vnc_bytes_total", "viewer_to_server"); n != size+greetingSize {
			t.Errorf("the metric counts %v bytes", n)
		}
	})
}

func TestFragmentsAndControlFramesBetweenThem(t *testing.T) {
	server := startVNC(t, echo)
	e := startEdge(t, Options{}, server.addr)
	v := e.viewRaw()
	v.exchangeGreetings()
	var b []byte
	b = append(b, clientFrame(false, opBinary, []byte("one "))...)
	b = append(b, clientFrame(true, opPing, []byte("are you there"))...)
	b = append(b, clientFrame(false, opContinuation, nil)...)
	b = append(b, clientFrame(true, opPong, []byte("unasked"))...)
	b = append(b, clientFrame(true, opContinuation, []byte("two"))...)
	b = append(b, clientFrame(true, opBinary, nil)...)
	for _, c := range b { // each byte alone, so that every boundary falls everywhere
		v.write([]byte{c})
	}
	var echoed []byte
	pongs := 0
	for string(echoed) != "one two" || pongs == 0 {
		switch op, payload := v.frame(); {
		case op == opBinary:
			echoed = append(echoed, payload...)
		case op == opPong && string(payload) == "are you there":
			pongs++
		default:
			t.Fatalf("frame %x %q", op, payload)
		}
	}
	v.leave([]byte{0x03, 0xE8})
	v.wantClose(ViewerLeft)
	e.wantEnd(ViewerLeft, phaseRelay)
}

func TestFirstFrameTogetherWithTheUpgrade(t *testing.T) {
	transports(t, func(t *testing.T, options ...edgeOption) {
		server := startVNC(t, echo)
		e := startEdge(t, Options{}, server.addr, options...)
		early := append(clientFrame(true, opBinary, []byte(greeting)), clientFrame(true, opBinary, bytes.Repeat([]byte("early "), 300))...)
		v, response := e.send(request(goodHeaders()...) + string(early))
		if response.StatusCode != 101 {
			t.Fatal(response.Status)
		}
		if _, b := v.frame(); string(b) != greeting {
			t.Fatalf("%q", b)
		}
		var got []byte
		for len(got) < 1800 {
			if op, b := v.frame(); op == opBinary {
				got = append(got, b...)
			}
		}
		if string(got) != strings.Repeat("early ", 300) {
			t.Fatalf("%q", got)
		}
	})
}

func TestTicketIsNotForwardedToTheDesktop(t *testing.T) {
	received := make(chan []byte, 2)
	server := startRaw(t, func(conn net.Conn) {
		_, _ = io.WriteString(conn, greeting)
		b, _ := io.ReadAll(conn)
		received <- b
	})
	e := startEdge(t, Options{}, server.addr)
	inQuery := strings.Replace(strings.Join(goodHeaders(), "\r\n"), ", "+ticket, "", 1)
	for _, head := range []string{
		request(goodHeaders("Cookie: login=secret-cookie")...),
		strings.Replace(request(inQuery), "/ws/vnc", "/ws/vnc?token="+ticket, 1),
	} {
		v, response := e.send(head)
		if response.StatusCode != 101 || response.Header.Get("Sec-WebSocket-Protocol") != "binary" {
			t.Fatalf("%v %v", response.Status, response.Header)
		}
		v.exchangeGreetings()
		v.write(clientFrame(true, opBinary, []byte("keys")))
		v.leave(nil)
		v.closed()
		if b := <-received; string(b) != greeting+"keys" {
			t.Fatalf("the desktop received %q", b)
		}
	}
	e.ends(2)
	for _, line := range e.logs.All() {
		if text := fmt.Sprint(line.Message, line.ContextMap()); strings.Contains(text, ticket) || strings.Contains(text, "token=") {
			t.Errorf("the log has the ticket: %s", text)
		}
	}
}

func TestServerErrorWhileViewerAttachedCrashesNothing(t *testing.T) {
	transports(t, func(t *testing.T, options ...edgeOption) {
		reset := make(chan struct{})
		server := startVNC(t, func(conn net.Conn) {
			b := make([]byte, 4)
			if _, err := io.ReadFull(conn, b); err != nil {
				return
			}
			if string(b) == "die!" {
				<-reset
				_ = conn.(*net.TCPConn).SetLinger(0) // its end is a reset
				return
			}
			_, _ = conn.Write(b)
			echo(conn)
		})
		e := startEdge(t, Options{}, server.addr, options...)
		healthy := e.viewRaw()
		healthy.exchangeGreetings()
		hit := e.viewRaw()
		hit.exchangeGreetings()
		hit.write(clientFrame(true, opBinary, []byte("die!")))
		close(reset)
		hit.wantClose(ServerReset)
		healthy.write(clientFrame(true, opBinary, []byte("ping")))
		if _, b := healthy.frame(); string(b) != "ping" {
			t.Fatalf("the other viewer's stream broke: %q", b)
		}
	})
}

func TestRelayEndsWhenViewerLeaves(t *testing.T) {
	leave := map[string]func(v *rawViewer){
		"with a close frame": func(v *rawViewer) {
			v.leave([]byte{0x03, 0xE9})
			v.closed()
		},
		"without a word": func(v *rawViewer) { v.Close() },
		"with a reset": func(v *rawViewer) {
			tcp := socketOf(v.Conn)
			_ = tcp.SetLinger(0)
			_ = tcp.Close()
		},
	}
	transports(t, func(t *testing.T, options ...edgeOption) {
		for name, leave := range leave {
			t.Run(name, func(t *testing.T) {
				server := startVNC(t, echo)
				e := startEdge(t, Options{}, server.addr, options...)
				visit := func() {
					v := e.viewRaw()
					v.exchangeGreetings()
					v.write(clientFrame(true, opBinary, []byte("hello")))
					v.frame()
					leave(v)
					v.Close()
				}
				gone := func() bool {
					return server.open.Load() == 0 && e.Active() == 0 && streamGoroutines() == 0
				}
				visit()
				eventually(t, "the first stream is gone", gone)
				files := openFiles(t)
				for range 20 {
					visit()
				}
				eventually(t, "all streams are gone", func() bool { return gone() && openFiles(t) <= files })
				for _, line := range e.ends(21) {
					if by := line["by"]; by != "viewer" || line["phase"] != "relay" {
						t.Errorf("%v", line)
					}
				}
				if n := e.logs.FilterMessage("stream opened").Len(); n != 21 {
					t.Errorf("%d lines of opening", n)
				}
			})
		}
	})
}

func streamGoroutines() int {
	stacks := make([]byte, 1<<20)
	return strings.Count(string(stacks[:runtime.Stack(stacks, true)]), "proxy.(*stream)")
}

func openFiles(t *testing.T) int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestLastInputOfALeavingViewerIsDelivered(t *testing.T) {
	got := make(chan []byte, 1)
	server := startVNC(t, func(conn net.Conn) {
		// It has written what the edge will not read, and reads late: a reset
		// would take the viewer's last bytes from it.
		for range 100 {
			_, _ = conn.Write(make([]byte, 10_000))
		}
		b, err := io.ReadAll(conn)
		if err != nil {
			t.Errorf("the server's connection was reset: %v", err)
		}
		got <- b
	})
	e := startEdge(t, Options{}, server.addr)
	v := e.viewRaw()
	v.exchangeGreetings()
	v.leaving = true
	v.write(append(clientFrame(true, opBinary, []byte("save and quit")), clientFrame(true, opClose, nil)...))
	v.closed()
	if b := <-got; string(b) != "save and quit" {
		t.Fatalf("%q", b)
	}
	e.wantEnd(ViewerLeft, phaseRelay)
}

func TestIdleStreamHoldsNoLargeBuffer(t *testing.T) {
	const streams = 100
	transports(t, func(t *testing.T, options ...edgeOption) {
		server := startVNC(t, echo)
		e := startEdge(t, Options{}, server.addr, options...)
		measure := func() int64 {
			var m runtime.MemStats
			runtime.GC()
			runtime.GC() // the second empties what a pool kept through the first
			runtime.ReadMemStats(&m)
			return int64(m.HeapAlloc)
		}
		before := measure()
		for range streams {
			v := e.viewRaw()
			v.exchangeGreetings()
			v.write(clientFrame(true, opBinary, []byte("hello")))
			v.frame()
		}
		// The clients' side is in it, with a bufio.Reader and TLS.
		if each := (measure() - before) / streams; each > 48<<10 {
			t.Errorf("an idle stream takes %d bytes", each)
		}
	})
}

// TestFramesOfBulkGrowWhileTheViewerKeepsUp: large ones cost less, but a slow
// viewer shows nothing before it has the whole of one.
func TestFramesOfBulkGrowWhileTheViewerKeepsUp(t *testing.T) {
	most := leastMove
	for range 10 {
		if next := nextMove(most, most, false); next < most || next > reactor.MaxMove {
			t.Fatalf("%d after a full frame of %d", next, most)
		} else {
			most = next
		}
	}
	if most != reactor.MaxMove {
		t.Errorf("%d is the largest", most)
	}
	if next := nextMove(most, 1000, false); next != most {
		t.Errorf("%d after a frame that was not full", next)
	}
	if next := nextMove(most, most, true); next != leastMove {
		t.Errorf("%d after a stall", next)
	}
}
