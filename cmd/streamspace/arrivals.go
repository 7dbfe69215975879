package main

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// arrivals tells of connections that end before their first request: counted
// all, and in the log at most once a minute for each reason, since anybody can
// make as many as they like. Its methods are safe for concurrent use.
type arrivals struct {
	log        *zap.Logger
	handshakes *prometheus.CounterVec
	headers    *prometheus.CounterVec

	mu    sync.Mutex
	hints map[string]*hint // by reason
}

type hint struct {
	told  time.Time
	since int // that came after it
}

const hintEvery = time.Minute

// Reasons why a handshake failed and a PROXY header was not taken, as in
// docs/metrics.md.
const (
	clientLeft    = "client_left"
	clientRefused = "client_refused" // an alert of its own, as for a certificate that it does not trust
	tooSlow       = "timeout"
	plainHTTP     = "plain_http"
	proxyHeader   = "proxy_header"
	notTLS        = "not_tls"
	noAgreement   = "no_agreement" // on a version, a cipher suite or a protocol

	untrustedHeader = "untrusted"
	invalidHeader   = "invalid"
)

func newArrivals(log *zap.Logger, r prometheus.Registerer) *arrivals {
	a := &arrivals{log: log, hints: map[string]*hint{},
		handshakes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "streamspace_tls_handshakes_failed_total", Help: "TLS handshakes of clients that failed, by reason.",
		}, []string{"reason"}),
		headers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "streamspace_proxy_headers_refused_total", Help: "PROXY headers that were not taken, by reason.",
		}, []string{"reason"}),
	}
	for _, reason := range []string{clientLeft, clientRefused, tooSlow, plainHTTP, proxyHeader, notTLS, noAgreement} {
		a.handshakes.WithLabelValues(reason)
	}
	for _, reason := range []string{untrustedHeader, invalidHeader} {
		a.headers.WithLabelValues(reason)
	}
	r.MustRegister(a.handshakes, a.headers)
	return a
}

func (a *arrivals) handshakeFailed(client net.Addr, err error) {
	reason := handshakeReason(err)
	a.handshakes.WithLabelValues(reason).Inc()
	switch reason {
	case clientLeft: // who only looks whether the port is open, and browsers that connect ahead
	case proxyHeader: // headerStray has told
	default:
		a.tell(a.log.Info, "a TLS handshake failed", reason, client, zap.Error(err))
	}
}

// headerStray is for a connection that begins with a PROXY header of somebody who
// may not send one.
func (a *arrivals) headerStray(from net.Addr) {
	a.headers.WithLabelValues(untrustedHeader).Inc()
	host := addressOf(from.String()).String()
	a.tell(a.log.Warn, "this looks like a PROXY header from "+host+", which listen.proxy_protocol does not name", untrustedHeader, from)
}

func (a *arrivals) headerRefused(proxy net.Addr, why error) {
	a.headers.WithLabelValues(invalidHeader).Inc()
	a.tell(a.log.Warn, "connection of a proxy refused", invalidHeader, proxy, zap.Error(why))
}

// tell writes the first of a reason's, and then one a minute that says how many
// more there were.
func (a *arrivals) tell(log func(string, ...zap.Field), message, reason string, client net.Addr, more ...zap.Field) {
	now := time.Now()
	a.mu.Lock()
	h := a.hints[reason]
	if h == nil {
		h = &hint{}
		a.hints[reason] = h
	}
	if !h.told.IsZero() && now.Sub(h.told) < hintEvery {
		h.since++
		a.mu.Unlock()
		return
	}
	untold := h.since
	h.told, h.since = now, 0
	a.mu.Unlock()
	fields := append([]zap.Field{zap.String("reason", reason), zap.String("client", addressOf(client.String()).String()), zap.Int("untold", untold)}, more...)
	log(message, fields...)
}

func handshakeReason(err error) string {
	var record tls.RecordHeaderError
	var network net.Error
	var op *net.OpError
	switch {
	case errors.Is(err, errPlainHTTP):
		return plainHTTP
	case errors.Is(err, errStrayHeader):
		return proxyHeader
	case errors.As(err, &record):
		return notTLS
	case errors.As(err, &network) && network.Timeout():
		return tooSlow
	case errors.As(err, &op) && op.Op == "remote error": // an alert of crypto/tls's peer
		return clientRefused
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return clientLeft
	default:
		return noAgreement
	}
}
