package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// horde is many clients that mean ill.
type horde struct {
	*installation
	session string
	tickets chan string
	stop    chan struct{}
	owner   sync.WaitGroup

	mu    sync.Mutex
	open  map[net.Conn]bool
	codes map[int]int // close codes that they were sent
}

// hostile is what one of them does. It calls begun once it is at work, and
// returns when its connection is closed or the horde stops.
type hostile func(h *horde, begun func()) error

func hostiles() map[string]hostile {
	forever := func(say string, pause time.Duration) hostile {
		return func(h *horde, begun func()) error {
			conn, err := h.viewer(masked(2, greeting)) // else it is sent away after 30 s
			if err != nil {
				return err
			}
			for begun(); h.wait(pause); {
				if _, err := io.WriteString(conn, say); err != nil {
					return err
				}
			}
			return nil
		}
	}
	silent := func(open func(h *horde) error) hostile {
		return func(h *horde, begun func()) error {
			err := open(h)
			begun()
			<-h.stop
			return err
		}
	}
	again := func(say string) hostile {
		return func(h *horde, begun func()) error {
			for h.wait(rand.N(2 * time.Second)) {
				conn, err := h.viewer(say)
				if err != nil {
					return err
				}
				code, _, err := closeFrame(conn)
				if err != nil {
					return err
				}
				h.note(code)
				h.close(conn)
				begun()
			}
			return nil
		}
	}
	ping := masked(9, strings.Repeat("p", 125))
	large := "\x82\xff\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00" // 1 TiB follows
	return map[string]hostile{
		"floods pings and reads nothing": forever(strings.Repeat(ping, 200), 200*time.Millisecond),
		"floods input and reads nothing": func(h *horde, begun func()) error {
			conn, err := h.viewer(hello(7) + strings.Repeat(masked(2, strings.Repeat("i", 125)), 100))
			if err != nil {
				return err
			}
			flood := []byte(strings.Repeat(masked(2, strings.Repeat("i", 125)), 500))
			for begun(); ; {
				if _, err := conn.Write(flood); err != nil {
					return err
				}
			}
		},
		"lets the server send and reads nothing": silent(func(h *horde) error {
			_, err := h.viewer(hello(endless))
			return err
		}),
		"breaks the rules and comes back":      again("\xff\xff no frames at all"),
		"sends what is too large, comes back":  again(large + strings.Repeat("x", 10_000)),
		"stops in the middle of its request":   silent(func(h *horde) error { _, err := h.dial("GET /ws/vnc HTTP/1.1\r\nHost: edge\r\nConnect"); return err }),
		"stops in the middle of TLS's opening": silent(func(h *horde) error { return h.stallTLS() }),
		"sends byte by byte": func(h *horde, begun func()) error {
			conn, err := h.dial("")
			if err != nil {
				return err
			}
			begun()
			for _, b := range []byte(h.request() + hello(9) + strings.Repeat(ping, 1000)) {
				if _, err := conn.Write([]byte{b}); err != nil {
					return nil // its request has taken too long: a busy machine makes the pauses longer
				}
				if !h.wait(10 * time.Millisecond) {
					return nil
				}
			}
			return nil
		},
	}
}

// hello is a viewer's side of a randomServer's handshake without waiting for
// the server's.
func hello(seed uint64) string {
	return masked(2, greeting) + masked(2, "\x01") + masked(2, string(binary.BigEndian.AppendUint64(nil, seed)))
}

// start sets n clients of each kind to work and returns when all of them are.
func (h *horde) start(n int) {
	h.t.Helper()
	h.owner.Go(h.fetchTickets)
	var begun sync.WaitGroup
	for name, kind := range hostiles() {
		for range n {
			begun.Add(1)
			h.owner.Go(func() {
				var once sync.Once
				at := func() { once.Do(begun.Done) }
				defer at()
				if err := kind(h, at); err != nil && !h.stopped() {
					h.t.Errorf("a client that %s: %v", name, err)
				}
			})
		}
	}
	begun.Wait()
}

// end takes all clients away. It may be called again.
func (h *horde) end() {
	if h.stopped() {
		return
	}
	close(h.stop)
	h.mu.Lock()
	for conn := range h.open {
		if secure, ok := conn.(*tls.Conn); ok {
			conn = secure.NetConn() // without a farewell, which nobody may read
		}
		_ = conn.Close()
	}
	h.mu.Unlock()
	h.owner.Wait()
}

// wait tells whether the horde is still at work after d.
func (h *horde) wait(d time.Duration) bool {
	select {
	case <-h.stop:
		return false
	case <-time.After(d):
		return true
	}
}

func (h *horde) stopped() bool {
	select {
	case <-h.stop:
		return true
	default:
		return false
	}
}

func (h *horde) note(code int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.codes[code]++
}

// fetchTickets keeps some ready, over one connection.
func (h *horde) fetchTickets() {
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer transport.CloseIdleConnections()
	for {
		request, _ := http.NewRequest("POST", h.URL+"/api/v1/sessions/"+h.session+"/vnc", strings.NewReader(`{"mode":"control"}`))
		request.Header.Set("Authorization", "Bearer "+h.APIKey)
		request.Header.Set("Content-Type", "application/json")
		response, err := transport.RoundTrip(request)
		if err != nil {
			h.t.Errorf("a ticket: %v", err)
			close(h.tickets)
			return
		}
		body, _ := io.ReadAll(response.Body)
		_ = response.Body.Close()
		_, token, _ := strings.Cut(string(body), `"token":"`)
		token, _, _ = strings.Cut(token, `"`)
		select {
		case h.tickets <- token:
		case <-h.stop:
			return
		}
	}
}

// dial opens a connection and says something on it.
func (h *horde) dial(say string) (net.Conn, error) {
	conn, err := h.keep(tls.Dial("tcp", strings.TrimPrefix(h.URL, "https://"), &tls.Config{InsecureSkipVerify: true}))
	if err == nil {
		_, err = io.WriteString(conn, say)
	}
	return conn, err
}

func (h *horde) stallTLS() error {
	conn, err := h.keep(net.Dial("tcp", strings.TrimPrefix(h.URL, "https://")))
	if err == nil {
		_, err = io.WriteString(conn, "\x16\x03\x01\x02\x00\x01") // a ClientHello of 512 bytes, cut off
	}
	return err
}

// keep remembers a connection for end.
func (h *horde) keep(conn net.Conn, err error) (net.Conn, error) {
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stopped() {
		_ = conn.Close()
	}
	h.open[conn] = true
	return conn, nil
}

func (h *horde) close(conn net.Conn) {
	_ = conn.Close()
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.open, conn)
}

func (h *horde) request() string {
	var ticket string
	select {
	case ticket = <-h.tickets:
	case <-h.stop: // there are no more
	}
	return "GET /ws/vnc HTTP/1.1\r\nHost: edge\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: binary, " + ticket + "\r\n\r\n"
}

// viewer opens a stream and says something on it. It has read the 101 and no
// byte more.
func (h *horde) viewer(say string) (net.Conn, error) {
	conn, err := h.dial(h.request())
	if err != nil {
		return nil, err
	}
	var head []byte
	for b := make([]byte, 1); !bytes.HasSuffix(head, []byte("\r\n\r\n")); head = append(head, b...) {
		if _, err := conn.Read(b); err != nil {
			return nil, fmt.Errorf("the answer %q: %w", head, err)
		}
	}
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 101 ")) {
		return nil, fmt.Errorf("the answer is %q", head)
	}
	_, err = io.WriteString(conn, say)
	return conn, err
}

// echoes lets every viewer have rounds messages echoed, and returns how long
// each took, the shortest first.
func echoes(t *testing.T, viewers []net.Conn, rounds int) []time.Duration {
	t.Helper()
	var mu sync.Mutex
	var all []time.Duration
	var group sync.WaitGroup
	for i, conn := range viewers {
		group.Go(func() {
			for round := range rounds {
				text := make([]byte, 1000)
				_, _ = stream(uint64(i*rounds + round)).Read(text)
				begun := time.Now()
				if err := echo(conn, text); err != nil {
					t.Errorf("good viewer %d, echo %d: %v", i, round, err)
					return
				}
				took := time.Since(begun)
				mu.Lock()
				all = append(all, took)
				mu.Unlock()
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
	group.Wait()
	slices.Sort(all)
	return all
}

// peakMemory is the most that a process has had resident so far, in bytes.
func peakMemory(t *testing.T, pid int) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "VmHWM:")
	var kilobytes int64
	if _, err := fmt.Sscan(after, &kilobytes); err != nil {
		t.Fatal(err)
	}
	return kilobytes << 10
}

// TestAThousandHostileClients: a hundred viewers get every byte right among a
// thousand clients that flood, stall, break the rules and come back; memory is
// bounded, and nothing of them is left.
//
// The bound is what one stream may hold at most: what waits for its viewer and
// what waits for its server, 120 KiB each (the reactor's bound for what a
// connection has not taken), which is more than a request, a TLS handshake and
// their stacks take before there is a stream. A program that is watched for data
// races has a fifth of the clients.
func TestAThousandHostileClients(t *testing.T) {
	const good, rounds = 100, 80
	const each = 125 / watchedShare // clients of each kind
	const perClient = 2 * 120 << 10

	server := startRandomServer(t, 64<<10)
	in := startEdgeAndAgent(t, staticRuntime(server.Addr().String()), "vnc: {max_streams: 3000}\ndirect: {allow: [\"127.0.0.0/8:1-65535\"]}")
	id := in.running(map[string]any{"endpoint": server.Addr().String()}).ID
	ctx, cancel := context.WithTimeout(context.Background(), 10*patience) // hundreds of streams on one busy machine
	defer cancel()
	var viewers []net.Conn
	for i := range good {
		viewers = append(viewers, in.mustView(ctx, id))
		if err := verify(viewers[i], uint64(i), server.size); err != nil {
			t.Fatal(err)
		}
	}
	calm := echoes(t, viewers, rounds)
	before, memory := in.settledFootprint(), peakMemory(t, in.process.pid())

	h := &horde{
		installation: in.installation, session: id, tickets: make(chan string, 32), stop: make(chan struct{}),
		open: make(map[net.Conn]bool), codes: make(map[int]int),
	}
	defer h.end()
	h.start(each)
	among := echoes(t, viewers, rounds)
	newcomer := in.mustView(ctx, id)
	if err := verify(newcomer, 1000, server.size); err != nil {
		t.Errorf("a viewer that comes among them: %v", err)
	}
	_ = newcomer.Close()
	clients := each * len(hostiles())
	grown := peakMemory(t, in.process.pid()) - memory
	if bound := int64(clients) * perClient * memoryFactor; grown > bound {
		t.Errorf("%d hostile clients made the edge grow by %d MiB, more than %d", clients, grown>>20, bound>>20)
	}
	h.end()
	if h.codes[1002] < each || h.codes[1009] < each || len(h.codes) != 2 {
		t.Errorf("close codes %v, want 1002 and 1009 at least %d times each", h.codes, each)
	}

	eventually(t, "nothing of them is left", func() error {
		now := in.footprint()
		if now.files > before.files+passing || now.goroutines > before.goroutines+4 || server.connections() != good {
			return fmt.Errorf("before %+v, now %+v, %d connections to the VNC server", before, now, server.connections())
		}
		return nil
	})
	afterwards := echoes(t, viewers, 1)
	if len(calm) != good*rounds || len(among) != good*rounds || len(afterwards) != good {
		t.Error("not every echo came back")
	}
	at := func(all []time.Duration, share float64) time.Duration { return all[int(share*float64(len(all)-1))] }
	t.Logf("echo among %d hostile clients: p50 %v, %.1f times the calm one; p99 %v, %.1f times; the edge grew by %d MiB; close codes %v",
		clients, at(among, 0.5), float64(at(among, 0.5))/float64(at(calm, 0.5)),
		at(among, 0.99), float64(at(among, 0.99))/float64(at(calm, 0.99)), grown>>20, h.codes)
}
