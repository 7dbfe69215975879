package proxy

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/streamspace-dev/streamspace-edge/proxy/reactor"
)

// hang is how long a test waits before it calls something stuck.
const hang = 60 * time.Second

const (
	greeting  = "RFB 003.008\n"
	sampleKey = "dGhlIHNhbXBsZSBub25jZQ=="
	ticket    = "ticket-of-the-test"
)

func deadline(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	t.Cleanup(cancel)
	return ctx
}

// edge is a real server with a Proxy.
type edge struct {
	*Proxy
	t        testing.TB
	addr     string
	tls      *tls.Config // the client's; nil for plain TCP
	logs     *observer.ObservedLogs
	registry *prometheus.Registry
	patience time.Duration // of the HTTP server with a request; 0: endless
}

type edgeOption func(*edge, *Options)

func withTLS(e *edge, _ *Options) {
	e.tls = &tls.Config{InsecureSkipVerify: true}
}

// portable runs the streams with goroutines, as where there is no poller.
func portable(_ *edge, o *Options) { o.Reactor = reactor.NewPortable(1) }

// startEdge serves o. Without Authorize any ticket is good; dial is the address
// of the VNC server unless o has a Dial.
func startEdge(t testing.TB, o Options, dial string, options ...edgeOption) *edge {
	t.Helper()
	core, logs := observer.New(zapcore.DebugLevel)
	e := &edge{t: t, logs: logs, registry: prometheus.NewRegistry()}
	for _, option := range options {
		option(e, &o)
	}
	o.Log, o.Metrics = zap.New(core), NewMetrics(e.registry)
	if o.Authorize == nil {
		o.Authorize = func(_ context.Context, token string) (Grant, error) {
			return Grant{Session: "session-1", Org: "org", Owner: "owner", Mode: Control, Ticket: "ticket-id"}, nil
		}
	}
	if o.Dial == nil {
		o.Dial = func(ctx context.Context, _ Grant, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", dial)
		}
	}
	if o.Reactor == nil {
		var err error
		if o.Reactor, err = reactor.New(2, nil); err != nil {
			t.Fatal(err)
		}
	}
	e.Proxy = New(o)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e.addr = listener.Addr().String()
	if e.tls != nil {
		listener = tls.NewListener(reactor.Listen(listener), &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}, DynamicRecordSizingDisabled: true})
	}
	listener = reactor.Lend(listener)
	server := &fasthttp.Server{Handler: e.ServeViewer, ReadTimeout: e.patience, MaxIdleWorkerDuration: 50 * time.Millisecond, Logger: zap.NewStdLog(zap.NewNop())}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), hang)
		defer cancel()
		if err := e.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
		o.Reactor.Close()
		if err := server.ShutdownWithContext(ctx); err != nil {
			t.Errorf("shut down: %v", err)
		}
		_ = listener.Close() // Shutdown knows no listener of a Serve that has not begun
		<-served
	})
	return e
}

func selfSigned(t testing.TB) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// connect opens a raw connection to the edge.
func (e *edge) connect() net.Conn {
	e.t.Helper()
	conn, err := e.dial()
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { conn.Close() })
	return conn
}

// dial is connect for those that close the connection themselves.
func (e *edge) dial() (net.Conn, error) {
	conn, err := net.Dial("tcp", e.addr)
	if err != nil {
		return nil, err
	}
	if e.tls != nil {
		conn = tls.Client(conn, e.tls)
	}
	_ = conn.SetDeadline(time.Now().Add(hang))
	return conn, nil
}

// view opens a viewer with an independent implementation of WebSocket.
func (e *edge) view() *websocket.Conn {
	e.t.Helper()
	scheme := "ws"
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: e.tls, DisableKeepAlives: true}}
	if e.tls != nil {
		scheme = "wss"
	}
	c, _, err := websocket.Dial(deadline(e.t), scheme+"://"+e.addr+"/ws/vnc", &websocket.DialOptions{
		HTTPClient: client, Subprotocols: []string{subprotocol, ticket},
	})
	if err != nil {
		e.t.Fatal(err)
	}
	c.SetReadLimit(-1)
	e.t.Cleanup(func() { c.CloseNow() })
	return c
}

// viewStream opens a viewer, exchanges greetings and returns the bytes behind.
func (e *edge) viewStream() (net.Conn, *websocket.Conn) {
	e.t.Helper()
	c := e.view()
	conn := websocket.NetConn(deadline(e.t), c, websocket.MessageBinary)
	exchangeGreetings(e.t, conn)
	return conn, c
}

func exchangeGreetings(t testing.TB, conn io.ReadWriter) {
	t.Helper()
	b := make([]byte, greetingSize)
	if _, err := io.ReadFull(conn, b); err != nil || string(b) != greeting {
		t.Fatalf("greeting %q, %v", b, err)
	}
	if _, err := io.WriteString(conn, greeting); err != nil {
		t.Fatal(err)
	}
}

// rawViewer speaks WebSocket by hand, and so can break its rules.
type rawViewer struct {
	net.Conn
	t       testing.TB
	r       *bufio.Reader
	leaving bool // it has sent a close frame, and may send only one
	early   []frame
}

type frame struct {
	op      opcode
	payload []byte
}

func request(headers ...string) string {
	return "GET /ws/vnc HTTP/1.1\r\nHost: edge.example.org\r\n" + strings.Join(headers, "\r\n") + "\r\n\r\n"
}

func goodHeaders(more ...string) []string {
	return append([]string{
		"Upgrade: websocket", "Connection: keep-alive, Upgrade", "Sec-WebSocket-Version: 13",
		"Sec-WebSocket-Key: " + sampleKey, "Sec-WebSocket-Protocol: binary, " + ticket,
	}, more...)
}

// send makes a request and reads the answer's head.
func (e *edge) send(request string) (*rawViewer, *http.Response) {
	e.t.Helper()
	conn := e.connect()
	if _, err := io.WriteString(conn, request); err != nil {
		e.t.Fatal(err)
	}
	v := &rawViewer{Conn: conn, t: e.t, r: bufio.NewReader(conn)}
	response, err := http.ReadResponse(v.r, nil)
	if err != nil {
		e.t.Fatal(err)
	}
	return v, response
}

// viewRaw opens a viewer that speaks by hand.
func (e *edge) viewRaw() *rawViewer {
	e.t.Helper()
	v, response := e.send(request(goodHeaders()...))
	if response.StatusCode != 101 {
		e.t.Fatal(response.Status)
	}
	return v
}

func (v *rawViewer) write(b []byte) {
	v.t.Helper()
	if _, err := v.Write(b); err != nil {
		v.t.Fatal(err)
	}
}

// leave sends a close frame with payload.
func (v *rawViewer) leave(payload []byte) {
	v.t.Helper()
	v.leaving = true
	v.write(clientFrame(true, opClose, payload))
}

// exchangeGreetings takes the server's greeting and answers it. It reads on to
// the ping that tells that the answer has come, and keeps for frame what was
// before it.
func (v *rawViewer) exchangeGreetings() {
	v.t.Helper()
	if op, b := v.frame(); op != opBinary || string(b) != greeting {
		v.t.Fatalf("frame %x %q", op, b)
	}
	v.write(clientFrame(true, opBinary, []byte(greeting)))
	for {
		op, b := v.read()
		if op == opPing {
			return
		}
		v.early = append(v.early, frame{op, b})
		if op == opClose {
			return
		}
	}
}

// frame returns the edge's next frame.
func (v *rawViewer) frame() (opcode, []byte) {
	v.t.Helper()
	if len(v.early) > 0 {
		f := v.early[0]
		v.early = v.early[1:]
		return f.op, f.payload
	}
	return v.read()
}

func (v *rawViewer) read() (opcode, []byte) {
	v.t.Helper()
	op, payload, err := readServerFrame(v.r)
	if err != nil {
		v.t.Fatal(err)
	}
	return op, payload
}

// readServerFrame reads a whole, final frame without a mask.
func readServerFrame(r io.Reader) (opcode, []byte, error) {
	var head [10]byte
	if _, err := io.ReadFull(r, head[:2]); err != nil {
		return 0, nil, err
	}
	if head[0]&finBit == 0 || head[0]&reservedBits != 0 || head[1]&maskBit != 0 {
		return 0, nil, fmt.Errorf("a server may not send the header %x", head[:2])
	}
	length := uint64(head[1])
	more := map[uint64]int{length16: 2, length64: 8}[length]
	if _, err := io.ReadFull(r, head[2:2+more]); err != nil {
		return 0, nil, err
	}
	switch length {
	case length16:
		length = uint64(binary.BigEndian.Uint16(head[2:]))
	case length64:
		length = binary.BigEndian.Uint64(head[2:])
	}
	payload := make([]byte, length)
	_, err := io.ReadFull(r, payload)
	return opcode(head[0] & opcodeBits), payload, err
}

// closed reads to the close frame, which it returns, and then to the end of the
// connection.
func (v *rawViewer) closed() (code uint16, text string) {
	v.t.Helper()
	for {
		op, payload := v.frame()
		if op != opClose {
			continue
		}
		code, text, err := parseClose(payload)
		if err != nil {
			v.t.Fatal(err)
		}
		if !v.leaving {
			v.leave(payload[:2])
		}
		if _, err := io.Copy(io.Discard, v.r); err != nil {
			v.t.Fatalf("after the close frame: %v", err)
		}
		v.Close()
		return code, text
	}
}

// wantClose checks that the stream ends for reason.
func (v *rawViewer) wantClose(reason Reason) {
	v.t.Helper()
	code, text := v.closed()
	if code != reason.Info().Close || !strings.HasPrefix(text, string(reason)+": ") {
		v.t.Fatalf("closed with %d %q, not with %d for %s", code, text, reason.Info().Close, reason)
	}
}

// clientFrame is a masked frame.
func clientFrame(fin bool, op opcode, payload []byte) []byte {
	b := []byte{byte(op)}
	if fin {
		b[0] |= finBit
	}
	switch n := len(payload); {
	case n < length16:
		b = append(b, maskBit|byte(n))
	case n <= 0xFFFF:
		b = binary.BigEndian.AppendUint16(append(b, maskBit|length16), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, maskBit|length64), uint64(n))
	}
	mask := [4]byte{0xA1, 0x5B, 0x00, 0xFE}
	b = append(b, mask[:]...)
	for i, c := range payload {
		b = append(b, c^mask[i%4])
	}
	return b
}

// vncServer is an upstream that speaks RFB's greetings and then does what its
// serve function says.
type vncServer struct {
	addr     string
	accepted atomic.Int32
	open     atomic.Int32
	wg       sync.WaitGroup
}

// startRaw serves every connection; serve's connection is closed after it.
func startRaw(t testing.TB, serve func(net.Conn)) *vncServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serveRaw(t, l, serve)
}

func serveRaw(t testing.TB, l net.Listener, serve func(net.Conn)) *vncServer {
	s := &vncServer{addr: l.Addr().String()}
	var mu sync.Mutex
	conns := make(map[net.Conn]bool)
	s.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.SetDeadline(time.Now().Add(hang))
			mu.Lock()
			conns[conn] = true
			mu.Unlock()
			s.accepted.Add(1)
			s.open.Add(1)
			s.wg.Go(func() {
				defer s.open.Add(-1)
				defer conn.Close()
				serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for conn := range conns {
			conn.Close()
		}
		mu.Unlock()
		s.wg.Wait()
	})
	return s
}

// startVNC serves what comes after the greetings.
func startVNC(t testing.TB, serve func(net.Conn)) *vncServer {
	return startRaw(t, func(conn net.Conn) {
		if greetAsServer(conn) == nil {
			serve(conn)
		}
	})
}

func greetAsServer(conn net.Conn) error {
	if _, err := io.WriteString(conn, greeting); err != nil {
		return err
	}
	b := make([]byte, greetingSize)
	if _, err := io.ReadFull(conn, b); err != nil {
		return err
	}
	if string(b) != greeting {
		return fmt.Errorf("greeting %q", b)
	}
	return nil
}

func echo(conn net.Conn) { _, _ = io.Copy(conn, conn) }

// streamRequest asks startRandom's server for n bytes that follow from seed.
func streamRequest(seed, n uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, seed), n)
}

// randomBytes is the stream that seed stands for.
func randomBytes(seed, n uint64) io.Reader {
	var key [32]byte
	binary.BigEndian.PutUint64(key[:], seed)
	return io.LimitReader(mathrand.NewChaCha8(key), int64(n))
}

// startRandom is a VNC server that sends the random stream that it is asked
// for. written counts by seed what its kernel has taken.
func startRandom(t testing.TB) (s *vncServer, written func(seed uint64) int64) {
	var counts sync.Map
	count := func(seed uint64) *atomic.Int64 {
		c, _ := counts.LoadOrStore(seed, new(atomic.Int64))
		return c.(*atomic.Int64)
	}
	s = startVNC(t, func(conn net.Conn) {
		var b [16]byte
		if _, err := io.ReadFull(conn, b[:]); err != nil {
			return
		}
		seed, n := binary.BigEndian.Uint64(b[:]), binary.BigEndian.Uint64(b[8:])
		source, c := randomBytes(seed, n), count(seed)
		buf := make([]byte, 100_000)
		for {
			k, err := source.Read(buf)
			if err == io.EOF {
				return
			}
			w, err := conn.Write(buf[:k])
			c.Add(int64(w))
			if err != nil {
				return
			}
		}
	})
	return s, func(seed uint64) int64 { return count(seed).Load() }
}

// eventually waits until ok, which must come true by itself.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for begin := time.Now(); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Since(begin) > hang {
			t.Fatalf("%s: not after %v", what, hang)
		}
	}
}

// ends waits for n streams to have ended and returns their log lines.
func (e *edge) ends(n int) []map[string]any {
	e.t.Helper()
	eventually(e.t, fmt.Sprintf("%d ends in the log", n), func() bool {
		return e.logs.FilterMessage("stream ended").Len() >= n && e.Active() == 0
	})
	var found []map[string]any
	for _, line := range e.logs.FilterMessage("stream ended").All() {
		found = append(found, line.ContextMap())
	}
	if len(found) != n {
		e.t.Fatalf("%d ends in the log, not %d", len(found), n)
	}
	return found
}

// wantEnd checks the log line of the only stream.
func (e *edge) wantEnd(reason Reason, at phase) {
	e.t.Helper()
	line := e.ends(1)[0]
	if line["reason"] != string(reason) || line["phase"] != string(at) || line["by"] != string(reason.Info().By) {
		e.t.Fatalf("the log has %v, not %s in %s", line, reason, at)
	}
}

// counter reads a metric with its only label.
func (e *edge) counter(name, label string) float64 {
	e.t.Helper()
	families, err := e.registry.Gather()
	if err != nil {
		e.t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() != name || len(m.GetLabel()) > 0 && m.GetLabel()[0].GetValue() != label {
				continue
			}
			switch {
			case m.Counter != nil:
				return m.GetCounter().GetValue()
			case m.Gauge != nil:
				return m.GetGauge().GetValue()
			default:
				return float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	e.t.Fatalf("no metric %s{%s}", name, label)
	return 0
}
