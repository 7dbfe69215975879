package e2e

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

const greeting = "RFB 003.008\n"

// view opens /ws/vnc with a ticket and returns the raw RFB bytes as a
// connection.
func (in *installation) view(ctx context.Context, ticket string) (net.Conn, error) {
	return in.dial(ctx, ctx, ticket)
}

// dial is view with a context of its own for the opening.
func (in *installation) dial(ctx, opening context.Context, ticket string) (net.Conn, error) {
	ws, response, err := websocket.Dial(opening, strings.Replace(in.URL, "http", "ws", 1)+"/ws/vnc", &websocket.DialOptions{
		HTTPClient:   &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}},
		Subprotocols: []string{"binary", ticket},
	})
	if err != nil {
		if response != nil {
			return nil, fmt.Errorf("status %d: %w", response.StatusCode, err)
		}
		return nil, err
	}
	ws.SetReadLimit(-1)
	return websocket.NetConn(ctx, ws, websocket.MessageBinary), nil
}

// mustView is view with a fresh ticket for the session.
func (in *installation) mustView(ctx context.Context, id string) net.Conn {
	in.t.Helper()
	conn, err := in.view(ctx, in.ticket(id, "control"))
	if err != nil {
		in.t.Fatalf("viewing %s: %v", id, err)
	}
	in.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// watching is a viewer of the session who has been shown its screen.
func (in *installation) watching(ctx context.Context, id string) net.Conn {
	in.t.Helper()
	viewer := in.mustView(ctx, id)
	if _, _, err := rfbHello(viewer); err != nil {
		in.t.Fatalf("session %s can't be seen: %v", id, err)
	}
	return viewer
}

// visit looks at the session and leaves.
func (in *installation) visit(ctx context.Context, id string) {
	in.t.Helper()
	if err := in.watching(ctx, id).Close(); err != nil {
		in.t.Fatal(err)
	}
}

// rfbHello does the RFB handshake with a server that asks for no password and
// returns the size of its screen.
func rfbHello(conn net.Conn) (width, height int, err error) {
	read := bufio.NewReader(conn)
	step := func(send []byte, receive int) []byte {
		if err != nil {
			return nil
		}
		if len(send) > 0 {
			if _, err = conn.Write(send); err != nil {
				return nil
			}
		}
		answer := make([]byte, receive)
		_, err = io.ReadFull(read, answer)
		return answer
	}
	step(nil, len(greeting))
	types := step([]byte(greeting), 1)
	if err == nil && types[0] == 0 {
		err = errors.New("the VNC server offers no security type")
	}
	if err != nil {
		return 0, 0, err
	}
	step(nil, int(types[0]))
	step([]byte{1}, 4) // security type None
	init := step([]byte{1}, 24)
	if err != nil {
		return 0, 0, err
	}
	step(nil, int(binary.BigEndian.Uint32(init[20:])))
	return int(binary.BigEndian.Uint16(init)), int(binary.BigEndian.Uint16(init[2:])), err
}

// closeOf is the close frame that ended a viewer's connection.
func closeOf(err error) (code websocket.StatusCode, reason string) {
	var closed websocket.CloseError
	if errors.As(err, &closed) {
		return closed.Code, closed.Reason
	}
	return -1, fmt.Sprint(err)
}

// endless is the seed whose stream a randomServer never ends.
const endless = 0xe4d1e55

// randomServer greets like a VNC server, then sends each connection a stream
// of its own: size pseudo-random bytes whose seed is what the viewer's first
// eight bytes after the greeting say. Everything it receives after that it
// sends back.
type randomServer struct {
	net.Listener
	size    int64
	owner   sync.WaitGroup
	mu      sync.Mutex
	open    map[net.Conn]bool
	written map[uint64]int64 // by seed
}

func startRandomServer(t *testing.T, size int64) *randomServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &randomServer{Listener: l, size: size, open: map[net.Conn]bool{}, written: map[uint64]int64{}}
	s.owner.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.open[conn] = true
			s.mu.Unlock()
			s.owner.Go(func() { s.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		s.mu.Lock()
		for conn := range s.open {
			_ = conn.Close()
		}
		s.mu.Unlock()
		s.owner.Wait()
	})
	return s
}

func (s *randomServer) serve(conn net.Conn) {
	defer func() {
		_ = conn.Close()
		s.mu.Lock()
		delete(s.open, conn)
		s.mu.Unlock()
	}()
	hello := make([]byte, 8)
	if exchange(conn, greeting, make([]byte, len(greeting))) != nil || // RFC 6143 section 7.1.1
		exchange(conn, "\x01\x01", make([]byte, 1)) != nil || // section 7.1.2: None is all there is
		exchange(conn, "\x00\x00\x00\x00", hello) != nil { // section 7.1.3: it went well
		return
	}
	seed := binary.BigEndian.Uint64(hello)
	if seed == endless { // it hears of the viewer's end while it sends, as VNC servers do
		s.owner.Go(func() {
			_, _ = io.Copy(io.Discard, conn)
			_ = conn.Close()
		})
	}
	source := stream(seed)
	chunk := make([]byte, 32<<10)
	for sent := int64(0); seed == endless || sent < s.size; {
		n := int64(len(chunk))
		if seed != endless {
			n = min(n, s.size-sent)
		}
		_, _ = source.Read(chunk[:n]) // a ChaCha8 never fails
		wrote, err := conn.Write(chunk[:n])
		sent += int64(wrote)
		s.mu.Lock()
		s.written[seed] = sent
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
	_, _ = io.Copy(conn, conn) // ends with the viewer
}

// exchange sends a message and receives the answer to it.
func exchange(conn net.Conn, message string, answer []byte) error {
	if _, err := io.WriteString(conn, message); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, answer)
	return err
}

func (s *randomServer) sent(seed uint64) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.written[seed]
}

func (s *randomServer) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

func stream(seed uint64) *rand.ChaCha8 {
	var key [32]byte
	binary.BigEndian.PutUint64(key[:], seed)
	return rand.NewChaCha8(key)
}

// sayHello is the viewer's side of a randomServer's handshake.
func sayHello(conn net.Conn, seed uint64) error {
	if _, err := io.ReadFull(conn, make([]byte, len(greeting))); err != nil {
		return fmt.Errorf("the greeting: %w", err)
	}
	err := errors.Join(exchange(conn, greeting, make([]byte, 2)), exchange(conn, "\x01", make([]byte, 4)))
	if err != nil {
		return fmt.Errorf("the handshake: %w", err)
	}
	_, err = conn.Write(binary.BigEndian.AppendUint64(nil, seed))
	return err
}

// verify reads size bytes and compares them, and an echo after them, with what
// the seed must give.
func verify(conn net.Conn, seed uint64, size int64) error {
	if err := sayHello(conn, seed); err != nil {
		return err
	}
	if err := readRest(conn, seed, size); err != nil {
		return err
	}
	return echo(conn, fmt.Appendf(nil, "echo of stream %d", seed))
}

// errWrongBytes is what no stream may ever have, however it ends.
var errWrongBytes = errors.New("wrong bytes")

func echo(conn net.Conn, text []byte) error {
	if _, err := conn.Write(text); err != nil {
		return err
	}
	return wantText(conn, text)
}

func wantText(conn net.Conn, text []byte) error {
	back := make([]byte, len(text))
	if _, err := io.ReadFull(conn, back); err != nil {
		return fmt.Errorf("the echo: %w", err)
	}
	if string(back) != string(text) {
		return fmt.Errorf("%w: the echo is %q, not %q", errWrongBytes, back, text)
	}
	return nil
}

// readRest reads size bytes of a stream whose hello was said before.
func readRest(conn net.Conn, seed uint64, size int64) error {
	got, want := sha256.New(), sha256.New()
	if _, err := io.CopyN(got, conn, size); err != nil {
		return fmt.Errorf("stream %d: %w", seed, err)
	}
	if _, err := io.CopyN(want, stream(seed), size); err != nil {
		return err
	}
	if string(got.Sum(nil)) != string(want.Sum(nil)) {
		return fmt.Errorf("%w: stream %d has not the ones that were sent", errWrongBytes, seed)
	}
	return nil
}

// wantEnd reads a viewer to the end of its stream, which must be one of these
// close frames ("4500 server_closed"); none: the end of the connection.
func wantEnd(t *testing.T, viewer net.Conn, oneOf ...string) {
	t.Helper()
	timer := time.AfterFunc(patience/2, func() { _ = viewer.Close() })
	_, err := io.Copy(io.Discard, viewer)
	if !timer.Stop() {
		t.Errorf("the viewer's stream goes on, %v later", patience/2)
		return
	}
	code, reason := closeOf(err)
	word, _, _ := strings.Cut(reason, ":")
	told := fmt.Sprint(int(code), " ", word)
	if len(oneOf) == 0 && code >= 0 || len(oneOf) > 0 && !slices.Contains(oneOf, told) {
		t.Errorf("the stream ended with %d %q; want one of %q", code, reason, oneOf)
	}
}
