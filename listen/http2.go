package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Bounds of one HTTP/2 connection, beside those that net/http has: a client that
// resets more streams than it lets be answered is sent away (CVE-2023-44487).
const (
	mostStreams   = 100              // at once; RFC 9113 section 6.5.2 recommends no less
	pingAfter     = 30 * time.Second // without a frame of the client's, while it has streams
	pingTimeout   = 15 * time.Second
	spareInside   = 8                // connections within the process that wait for a client's next request
	keepInside    = 30 * time.Second // how long they do
	copyAtOnce    = 32 << 10         // bytes of a body
	headerAtLeast = 1 << 10
)

// HTTP2Options are what HTTP/2 is served by.
type HTTP2Options struct {
	Log       *zap.Logger
	Timeouts  Options       // Body and Write hold for each stream; Lingering is for its connections inside
	Idle      time.Duration // of a connection without streams
	MaxHeader int           // bytes of a request's header
	// Draining: clients are asked to go elsewhere with the next answer. nil: never.
	Draining func() bool
}

// HTTP2 serves connections that have agreed on HTTP/2. It answers nothing
// itself: each request goes, as one of HTTP/1.1, over a socket within the
// process to the server of Inside, so all requests meet the same rules. The
// connections there have the client's address and its TLS.
type HTTP2 struct {
	options HTTP2Options
	web     *http.Server
	forward *httputil.ReverseProxy
	clients *queue
	inside  *queue

	running sync.WaitGroup // connections and streams

	mu     sync.Mutex // guards the fields below
	closed bool
	open   map[net.Conn]*client
}

// NewHTTP2 makes a server. Serve runs it, Shutdown ends it.
func NewHTTP2(o HTTP2Options) *HTTP2 {
	h := &HTTP2{options: o, clients: newQueue(), inside: newQueue(), open: map[net.Conn]*client{}}
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	quiet := zap.NewStdLog(zap.NewNop())
	if std, err := zap.NewStdLogAt(o.Log, zap.DebugLevel); err == nil {
		quiet = std
	}
	h.web = &http.Server{
		Handler:        http.HandlerFunc(h.serve),
		Protocols:      protocols,
		IdleTimeout:    o.Idle,
		MaxHeaderBytes: max(o.MaxHeader, headerAtLeast),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: mostStreams,
			SendPingTimeout:      pingAfter,
			PingTimeout:          pingTimeout,
			WriteByteTimeout:     o.Timeouts.Write,
		},
		ErrorLog:    quiet,
		ConnContext: h.opened,
		ConnState:   h.changed,
	}
	h.forward = &httputil.ReverseProxy{
		Rewrite:       rewrite,
		Transport:     roundTripper{},
		FlushInterval: -1, // at once
		BufferPool:    &copyBuffers{},
		ErrorLog:      log.New(quiet.Writer(), "", 0),
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			o.Log.Debug("a request of HTTP/2 was not answered", zap.String("client", r.RemoteAddr), zap.Error(err))
			if r.Context().Err() == nil {
				w.WriteHeader(http.StatusBadGateway)
			}
		},
	}
	return h
}

// Take serves a TLS connection that has agreed on HTTP/2, whose owner it is from
// now on. It returns at once.
func (h *HTTP2) Take(conn *tls.Conn) error {
	if !h.enter() {
		_ = conn.Close()
		return net.ErrClosed
	}
	if err := h.clients.put(context.Background(), conn); err != nil {
		h.running.Done()
		_ = conn.Close()
		return err
	}
	return nil
}

// Inside is where the server of HTTP/1.1 finds the requests.
func (h *HTTP2) Inside() net.Listener { return h.inside }

// Serve returns after Shutdown, or with what failed.
func (h *HTTP2) Serve() error {
	err := h.web.Serve(h.clients)
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Shutdown tells clients to go (GOAWAY) and waits for their streams until ctx
// ends, which ends them. The server of Inside must still be serving; it is to be
// shut down next.
func (h *HTTP2) Shutdown(ctx context.Context) error {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	err := h.web.Shutdown(ctx)
	if err != nil {
		_ = h.web.Close() // the connections of the streams end, and these with them
	}
	h.running.Wait()
	_ = h.clients.Close()
	_ = h.inside.Close()
	return err
}

func (h *HTTP2) enter() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.running.Add(1)
	return true
}

// client is one connection of HTTP/2.
type client struct {
	conn      *tls.Conn
	transport *http.Transport
	inside    *queue
	lingering *Lingering
}

type clientKey struct{}

func clientOf(ctx context.Context) *client {
	c, _ := ctx.Value(clientKey{}).(*client)
	return c
}

func (h *HTTP2) opened(ctx context.Context, conn net.Conn) context.Context {
	c := &client{conn: conn.(*tls.Conn), inside: h.inside, lingering: h.options.Timeouts.Lingering}
	c.transport = &http.Transport{
		DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return c.dial(ctx) },
		DisableCompression:     true,
		MaxIdleConnsPerHost:    spareInside,
		IdleConnTimeout:        keepInside,
		MaxResponseHeaderBytes: 1 << 20,
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.open[conn] = c
	return context.WithValue(ctx, clientKey{}, c)
}

func (h *HTTP2) changed(conn net.Conn, state http.ConnState) {
	if state != http.StateClosed {
		return
	}
	h.mu.Lock()
	c := h.open[conn]
	delete(h.open, conn)
	h.mu.Unlock()
	c.transport.CloseIdleConnections()
	h.running.Done()
}

func (h *HTTP2) serve(w http.ResponseWriter, r *http.Request) {
	h.running.Add(1) // its connection is counted already
	defer h.running.Done()
	protocol := r.Header.Get(":protocol")
	stream := &streamWriter{ResponseWriter: w, control: http.NewResponseController(w), wait: h.options.Timeouts.Write, draining: h.options.Draining}
	switch {
	case r.Method == http.MethodConnect && protocol == "websocket":
		stream.upgraded = true
		h.serveWebSocket(stream, r)
	case r.Method == http.MethodConnect && protocol != "":
		stream.WriteHeader(http.StatusNotImplemented) // RFC 9220 section 3
	case r.Method == http.MethodConnect:
		stream.WriteHeader(http.StatusMethodNotAllowed)
	case !isTarget(r.RequestURI), !isWord(r.Method), promisesMore(r):
		stream.WriteHeader(http.StatusBadRequest)
	default:
		if r.Body != nil && r.Body != http.NoBody {
			body := &movingBody{ReadCloser: r.Body, control: stream.control, wait: h.options.Timeouts.Body}
			defer body.end() // who sends it on may still read when the answer has gone
			r.Body = body
		}
		h.forward.ServeHTTP(stream, r)
	}
}

// isTarget tells whether a :path can be a request target of HTTP/1.1 as it is.
func isTarget(path string) bool {
	if path != "*" && !strings.HasPrefix(path, "/") {
		return false
	}
	return isWord(path) && !strings.Contains(path, "#")
}

// isWord tells whether a request line of HTTP/1.1 takes s as one part.
func isWord(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c == 0x7f })
}

// promisesMore tells a request that ended with its header and names a length of
// its body nevertheless (RFC 9113 section 8.1.1); net/http lets it through.
func promisesMore(r *http.Request) bool {
	length := r.Header.Get("Content-Length")
	return r.ContentLength == 0 && length != "" && length != "0"
}

// rewrite makes a request of HTTP/1.1 that says what the client's did.
func rewrite(p *httputil.ProxyRequest) {
	header := p.In.Header.Clone() // HTTP/2 has no headers of the connection, and who is trusted is decided inside
	if _, has := header["User-Agent"]; !has {
		header["User-Agent"] = nil // net/http would add its own
	}
	p.Out.Header = header
	p.Out.Host = p.In.Host
	p.Out.Trailer = p.In.Trailer // gets its values with the end of the body
	p.Out.URL = target(p.In)
}

// target is the URL whose RequestURI is the request's. Its host stands for the
// one place that the client's transport connects to.
func target(r *http.Request) *url.URL {
	u := &url.URL{Scheme: "http", Host: "inside"}
	if strings.HasPrefix(r.RequestURI, "//") { // as Opaque it would name a host
		u.Path, u.RawPath, u.RawQuery, u.ForceQuery = r.URL.Path, r.URL.RawPath, r.URL.RawQuery, r.URL.ForceQuery
	} else {
		u.Opaque = r.RequestURI
	}
	return u
}

// roundTripper sends each request through its client's own transport.
type roundTripper struct{}

func (roundTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	return clientOf(r.Context()).transport.RoundTrip(r)
}

type copyBuffers struct{ pool sync.Pool }

func (b *copyBuffers) Get() []byte {
	if p, ok := b.pool.Get().(*[copyAtOnce]byte); ok {
		return p[:]
	}
	return make([]byte, copyAtOnce)
}

func (b *copyBuffers) Put(p []byte) { b.pool.Put((*[copyAtOnce]byte)(p)) }

// streamWriter answers on one stream. A client has wait for each write, unless
// it is of a WebSocket.
type streamWriter struct {
	http.ResponseWriter
	control  *http.ResponseController
	wait     time.Duration
	draining func() bool // nil: never
	upgraded bool
	by       time.Time // the deadline that is set
}

func (w *streamWriter) WriteHeader(status int) {
	if status >= 200 {
		header := w.Header()
		if _, has := header["Content-Type"]; !has {
			header["Content-Type"] = nil // net/http would guess one
		}
		if w.draining != nil && w.draining() {
			header.Set("Connection", "close") // net/http makes it a GOAWAY
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *streamWriter) Write(p []byte) (int, error) {
	if by := time.Now().Add(w.wait); !w.upgraded && by.Sub(w.by) > min(time.Second, w.wait/4) {
		w.by = by
		_ = w.control.SetWriteDeadline(by) // fails when the stream has ended, as the write does
	}
	return w.ResponseWriter.Write(p)
}

func (w *streamWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// movingBody gives a client wait for each read.
type movingBody struct {
	io.ReadCloser
	wait time.Duration
	by   time.Time // the reader's

	mu      sync.Mutex
	control *http.ResponseController // nil: the stream has been served, and a use of it panics
}

func (b *movingBody) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.control = nil
}

func (b *movingBody) extend(by time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.control != nil {
		_ = b.control.SetReadDeadline(by) // fails when the stream has ended, as the read does
	}
}

func (b *movingBody) Read(p []byte) (int, error) {
	if by := time.Now().Add(b.wait); by.Sub(b.by) > min(time.Second, b.wait/4) {
		b.by = by
		b.extend(by)
	}
	return b.ReadCloser.Read(p)
}
