package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// trial is what all clients of the trial share.
type trial struct {
	t         *testing.T
	addresses []string // of the edges; who is refused goes on to the next
	answered  atomic.Int64
	failed    atomic.Int64 // answered with 502: a POST that its upstream took to its grave
	files     atomic.Int64 // of answered, those that nginx answered

	mu     sync.Mutex
	clock  int            // of events
	gone   map[string]int // when a backend was last killed, disabled or removed: who has its cookie may be moved
	going  string         // the one to which that happens now
	closed map[string]int // since when a backend gets nobody new; 0: it may
	off    map[string]int // since when a backend gets nobody at all
	killed map[string]int
	posts  map[string]bool // by id: answered
	pages  map[string]bool // by id: answered by a backend
}

// note tells that something happens to a backend.
func (tr *trial) note(change func(now int)) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.clock++
	change(tr.clock)
}

func (tr *trial) now() int {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.clock
}

// after waits until n more requests have been answered.
func (tr *trial) after(n int64) {
	tr.t.Helper()
	want := tr.answered.Load() + n
	eventually(tr.t, "requests are answered", func() error {
		if tr.answered.Load() < want {
			return errors.New("too few")
		}
		return nil
	})
}

// trialClient is a browser: it has one cookie, keeps connections, and goes to the
// next edge when one refuses.
type trialClient struct {
	*trial
	number int
	random *rand.Rand
	http   *http.Client
	edge   int
	cookie string
	at     string // the backend of the cookie
	since  int    // when it was there last
	sent   int
}

func (tr *trial) newClient(number int) *trialClient {
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableCompression: true}
	tr.t.Cleanup(transport.CloseIdleConnections)
	return &trialClient{trial: tr, number: number, random: rand.New(rand.NewPCG(1, uint64(number))), http: &http.Client{Transport: transport, Timeout: 2 * patience}}
}

// run makes requests, ten a second, until ctx ends.
func (c *trialClient) run(ctx context.Context) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := c.one(); err != nil {
				c.t.Errorf("client %d, request %d: %v", c.number, c.sent, err)
			}
		}
	}
}

// one makes a request of the mix and judges its answer.
func (c *trialClient) one() error {
	c.sent++
	method, path, body := "GET", "/app/page?size=100", []byte(nil)
	switch c.random.IntN(10) {
	case 0, 1:
		path = "/app/page?size=65536"
	case 2:
		method = "HEAD"
	case 3, 4:
		method, body = "POST", c.bytes(c.random.IntN(100_000))
	case 5:
		method, body = "PUT", c.bytes(c.random.IntN(60_000))
	case 6:
		path = "/files/small"
	case 7:
		path = "/files/large"
	}
	if path[1] == 'a' && c.random.IntN(4) == 0 {
		path += "&wait=300ms"
	}
	stranger := c.random.IntN(8) == 0 // without the cookie
	id, begun := fmt.Sprintf("%d-%d", c.number, c.sent), c.now()
	response, got, err := c.send(method, path, id, body, stranger)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if response.StatusCode == http.StatusBadGateway && method == "POST" && c.someoneKilledSince(begun) {
		c.failed.Add(1)
		return nil
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %d %s", method, path, response.StatusCode, got)
	}
	c.answered.Add(1)
	if path[1] == 'f' {
		c.files.Add(1)
		return nil
	}
	if sum := sha256.Sum256(body); response.Header.Get("X-Got") != hex.EncodeToString(sum[:]) {
		return fmt.Errorf("%s of %d bytes: another body came", method, len(body))
	}
	if method != "HEAD" && int64(len(got)) != response.ContentLength {
		return fmt.Errorf("%d bytes of %d", len(got), response.ContentLength)
	}
	return c.judge(id, method, response, stranger, begun)
}

func (c *trialClient) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(c.random.Uint32())
	}
	return b
}

// judge holds an answer against what has happened to the backends.
func (c *trialClient) judge(id, method string, response *http.Response, stranger bool, begun int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pages[id] = true
	if method == "POST" {
		c.posts[id] = true
	}
	at := response.Header.Get("X-Backend")
	fresh := stranger || c.cookie == ""
	closed, off := c.closed[at], c.off[at]
	if fresh && closed > 0 && closed <= begun {
		return fmt.Errorf("a new client is at %s, which takes nobody new", at)
	}
	if off > 0 && off <= begun {
		return fmt.Errorf("a client is at %s, which is disabled", at)
	}
	if !fresh && at != c.at && c.gone[c.at] <= c.since && c.going != c.at {
		return fmt.Errorf("moved from %s, which is there, to %s", c.at, at)
	}
	if stranger && c.cookie != "" {
		return nil
	}
	for _, cookie := range response.Cookies() {
		c.cookie = cookie.Name + "=" + cookie.Value
	}
	c.at, c.since = at, begun
	return nil
}

func (tr *trial) someoneKilledSince(begun int) bool {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for b, when := range tr.killed {
		if when > begun || b == tr.going {
			return true
		}
	}
	return false
}

// send does what a browser does behind a virtual address: who is refused connects
// to who has the address now. No edge closes a kept connection on a request.
func (c *trialClient) send(method, path, id string, body []byte, stranger bool) (*http.Response, []byte, error) {
	for range 10 {
		request, err := http.NewRequest(method, "https://"+c.addresses[c.edge]+path, bytes.NewReader(body))
		if err != nil {
			return nil, nil, err
		}
		request.Header.Set("X-Trial", id)
		if method == "POST" {
			request.Header.Set("Content-Type", "multipart/form-data; boundary=b") // whose body is nobody's business
		}
		if c.cookie != "" && !stranger {
			request.Header.Set("Cookie", c.cookie)
		}
		response, err := c.http.Do(request)
		var dial *net.OpError
		switch {
		case err == nil:
			got, err := io.ReadAll(response.Body)
			_ = response.Body.Close()
			return response, got, err
		case errors.As(err, &dial) && dial.Op == "dial":
			c.edge = (c.edge + 1) % len(c.addresses)
		default:
			return nil, nil, err
		}
	}
	return nil, nil, errors.New("no edge takes connections")
}

// socket is a WebSocket that checks every byte both ways.
type socket struct {
	*trial
	number  int
	address string
	path    string
	at      string // the backend; empty: not one that is killed
	deaths  int    // of the connection, each with its backend
	rounds  atomic.Int64
	cookie  string
}

// run echoes until ctx ends, then closes the connection.
func (s *socket) run(ctx context.Context) {
	random := rand.New(rand.NewPCG(2, uint64(s.number)))
	for {
		begun := s.now()
		conn, err := s.open()
		if err != nil && s.someoneKilledSince(begun) {
			continue // it was asked for at the one that died
		}
		if err != nil {
			s.t.Errorf("WebSocket %d: %v", s.number, err)
			return
		}
		err = s.echo(ctx, conn, random)
		if err == nil {
			_ = conn.Close(websocket.StatusNormalClosure, "")
			return
		}
		_ = conn.CloseNow()
		s.mu.Lock()
		died := s.killed[s.at] > begun || s.going == s.at && s.killed[s.at] > 0
		s.mu.Unlock()
		if !died {
			s.t.Errorf("WebSocket %d at %q was cut: %v", s.number, s.at, err)
			return
		}
		s.deaths++
	}
}

func (s *socket) open() (*websocket.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	conn, response, err := websocket.Dial(ctx, "wss://"+s.address+s.path, &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: transport}, Subprotocols: []string{"binary"}, HTTPHeader: http.Header{"Cookie": {s.cookie}},
	})
	if err != nil {
		return nil, err
	}
	conn.SetReadLimit(-1)
	s.at = response.Header.Get("X-Backend")
	return conn, nil
}

func (s *socket) echo(ctx context.Context, conn *websocket.Conn, random *rand.Rand) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		message := make([]byte, 1+random.IntN(20_000))
		for i := range message {
			message[i] = byte(random.Uint32())
		}
		if err := s.round(conn, message); err != nil {
			return err
		}
		s.rounds.Add(1)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// round sends a message and expects the same bytes, in however many messages.
func (s *socket) round(conn *websocket.Conn, message []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	if err := conn.Write(ctx, websocket.MessageBinary, message); err != nil {
		return err
	}
	for got := 0; got < len(message); {
		_, part, err := conn.Read(ctx)
		if err != nil {
			return err
		}
		if got+len(part) > len(message) || !bytes.Equal(part, message[got:got+len(part)]) {
			s.t.Errorf("WebSocket %d: other bytes came back", s.number)
			return nil
		}
		got += len(part)
	}
	return nil
}
