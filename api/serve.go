package api

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/api/auth"
	"github.com/streamspace-dev/streamspace-edge/store"
)

const (
	requestIDHeader = "X-Request-Id"
	maxRequestID    = 64
)

// ServeHTTP gives each request an id, a deadline, a log line and its place in
// the metrics. A handler that panics costs its own request, not the process.
func (s *server) ServeHTTP(rw http.ResponseWriter, outer *http.Request) {
	ctx, cancel := context.WithTimeout(context.Background(), requestTime)
	defer cancel()
	r := detached(ctx, outer)
	if s.o.Client != nil {
		r.RemoteAddr = s.o.Client(r)
	}
	h := rw.Header()
	h.Set(requestIDHeader, requestID(r))
	s.setSecurity(h)

	w := s.record(rw, r)
	defer func() {
		w.end()
		w.over(r)
	}()
	defer func() {
		fault := recover()
		switch {
		case fault == nil:
		case fault == http.ErrAbortHandler:
			panic(fault) // the server's way to cut a connection
		default:
			s.o.Log.Error("a handler panicked", zap.String("request_id", h.Get(requestIDHeader)), zap.Any("panic", fault), zap.Stack("stack"))
			if w.status == 0 {
				s.fail(w, r, store.Errorf(store.Internal, "something went wrong in this server; its log says what, under the request id"))
			}
		}
	}()
	if err := s.limit(w, r, auth.Caller{}); err != nil {
		s.fail(w, r, err)
		return
	}
	s.routes.ServeHTTP(w, r)
}

// setSecurity lets no browser take an answer for a page, run anything in it or
// show it in another site's; the console's pages set what they need instead.
func (s *server) setSecurity(h http.Header) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	if s.o.HSTS != "" {
		h.Set("Strict-Transport-Security", s.o.HSTS)
	}
}

func (s *server) limit(w http.ResponseWriter, r *http.Request, c auth.Caller) error {
	if s.o.Limit == nil {
		return nil
	}
	return s.o.Limit(r, c, w.Header())
}

// detached copies r with a context of its own. Under fasthttp the strings of a
// request are views into memory that serves another request afterwards, and so
// is the context; what a handler keeps or passes on must be neither.
func detached(ctx context.Context, r *http.Request) *http.Request {
	d := r.WithContext(ctx)
	d.Method = strings.Clone(r.Method)
	d.Proto = strings.Clone(r.Proto)
	d.Host = strings.Clone(r.Host)
	d.RequestURI = strings.Clone(r.RequestURI)
	d.URL = &url.URL{Path: strings.Clone(r.URL.Path), RawPath: strings.Clone(r.URL.RawPath), RawQuery: strings.Clone(r.URL.RawQuery)}
	d.Header = make(http.Header, len(r.Header))
	for name, values := range r.Header {
		own := slices.Clone(values)
		for i := range own {
			own[i] = strings.Clone(own[i])
		}
		d.Header[strings.Clone(name)] = own
	}
	return d
}

// requestID is the client's own id for the request when it is a sane one, so
// that it can be followed across systems.
func requestID(r *http.Request) string {
	sent := r.Header.Get(requestIDHeader)
	odd := func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-_.", c))
	}
	if sent == "" || len(sent) > maxRequestID || strings.ContainsFunc(sent, odd) {
		return uuid.Must(uuid.NewV7()).String()
	}
	return sent
}

// hostOf is the address of "HOST:PORT", as the access log has it.
func hostOf(remote string) string {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return remote
	}
	return at.Addr().Unmap().String()
}

// recorder notes what a handler answered. It belongs to the goroutine of its
// request.
type recorder struct {
	http.ResponseWriter
	s     *server
	r     *http.Request // Pattern is set once it is routed
	began time.Time

	status int // 0: nothing was written yet
	bytes  int
	code   store.Code // of the problem that is the answer; empty: it is none
	ended  bool
}

func (s *server) record(w http.ResponseWriter, r *http.Request) *recorder {
	s.o.Metrics.inFlight.Inc()
	return &recorder{ResponseWriter: w, s: s, r: r, began: time.Now()}
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(p)
	w.bytes += n
	return n, err
}

// Unwrap lets http.ResponseController find the server's own writer.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// end counts and logs the request once; an upgraded one ends with its upgrade.
func (w *recorder) end() {
	if w.ended {
		return
	}
	w.ended = true
	took := time.Since(w.began)
	route := w.s.routeName(w.r)
	if w.status == 0 {
		w.status = http.StatusOK
	}
	m := w.s.o.Metrics
	m.inFlight.Dec()
	m.requests.WithLabelValues(route, methodName(w.r.Method), codeName(w.status)).Inc()
	if w.status != http.StatusSwitchingProtocols {
		m.duration.WithLabelValues(route).Observe(took.Seconds())
	}
	// /health is asked all the time; what is wrong is told when it becomes so.
	log := w.s.o.Log.Debug
	if route != "/health" && w.status >= http.StatusBadRequest || (w.r.Method != http.MethodGet && w.r.Method != http.MethodHead) {
		log = w.s.o.Log.Info
	}
	log("request",
		zap.String("request_id", w.Header().Get(requestIDHeader)),
		zap.String("method", methodName(w.r.Method)), zap.String("route", route), zap.Int("status", w.status),
		zap.Int("bytes", w.bytes), zap.Duration("took", took), zap.String("client", hostOf(w.r.RemoteAddr)))
}

// routeName is the pattern that the request matched: a raw path would give
// metrics no bound, and logs whatever clients write into it.
func (s *server) routeName(r *http.Request) string {
	switch r.Pattern {
	case "", "/api/":
		return "unmatched"
	case "/":
		return "console"
	default:
		return r.Pattern
	}
}

func methodName(method string) string {
	known := []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions}
	if slices.Contains(known, method) {
		return method
	}
	return "other"
}
