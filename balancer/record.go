package balancer

import (
	"bytes"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/streamspace-dev/streamspace-edge/accesslog"
	"github.com/streamspace-dev/streamspace-edge/proxy/reactor"
)

// bytes are those of the bodies, or of the upgraded connection.
func (s *serving) bytes() (in, out int64) {
	switch {
	case s.join != nil:
		return s.join.FromA, s.join.FromB
	case s.kept != nil:
		in = s.kept.BytesIn
	default:
		in = s.bytesIn()
	}
	if s.received != nil {
		return in, s.received.n
	}
	if s.kept == nil {
		out = int64(len(s.ctx.Response.Body()))
	}
	return in, out
}

// bytesIn are those of the body that were read: a client may have announced more.
func (s *serving) bytesIn() int64 {
	if s.sent != nil {
		return s.sent.n
	}
	return s.read
}

// ended is the word for how the request has ended.
func (s *serving) ended() string {
	switch {
	case s.refused != nil:
		return s.refused.code
	case s.join != nil:
		return joinEnded(s.join)
	case s.status == accesslog.StatusClientLeft, s.status == fasthttp.StatusSwitchingProtocols, s.gone():
		return accesslog.ClientLeft
	case s.received != nil && s.received.failed != nil:
		return accesslog.UpstreamFailed
	case s.received != nil && !s.received.whole:
		return accesslog.ClientLeft
	default:
		return accesslog.Done
	}
}

func joinEnded(end *reactor.Joined) string {
	switch {
	case end.By == "edge" && end.Cause == errClosing:
		return "node_draining"
	case end.By == "edge":
		return "upstream_drained"
	case end.Cause == nil:
		return accesslog.Done
	case end.By == "upstream":
		return accesslog.UpstreamFailed
	default:
		return accesslog.ClientLeft
	}
}

// keep copies what the access log tells of the request: the server uses it for
// another one once the connection is taken over.
func (s *serving) keep() {
	if s.b.options.Access == nil && s.asked == nil { // which may still be refused, and that is logged
		s.kept = &accesslog.Entry{BytesIn: s.bytesIn()}
		return
	}
	e := s.entry()
	for _, text := range []*[]byte{&e.Method, &e.Host, &e.Path, &e.UserAgent} {
		*text = bytes.Clone(*text)
	}
	e.BytesIn = s.bytesIn()
	s.kept = &e
}

// entry has what the request itself tells, in the server's memory.
func (s *serving) entry() accesslog.Entry {
	uri, h := s.ctx.URI(), &s.ctx.Request.Header
	e := accesslog.Entry{
		At: s.began, RequestID: s.id, Client: s.addr,
		Method: h.Method(), Host: uri.Host(), Path: uri.PathOriginal(), Query: len(uri.QueryString()) > 0, UserAgent: h.UserAgent(),
		Protocol: "HTTP/1.1", Route: s.route.name, Pool: s.pool.name,
	}
	if !s.http11 {
		e.Protocol = "HTTP/1.0"
	}
	e.Over(s.ctx.TLSConnectionState())
	return e
}

// record tells the metrics and the logs of a request that is over.
func (b *Balancer) record(s *serving) {
	over := s.over
	if over.IsZero() {
		over = time.Now()
	}
	lasted := over.Sub(s.began)
	in, out := s.bytes()
	s.pool.metrics.duration.Observe(lasted.Seconds())
	if s.attempts > 0 {
		s.pool.metrics.retries.Add(float64(s.attempts))
	}
	s.route.metrics.requests.count(s.status)
	s.route.metrics.bytes.count(in, out)
	upstream := ""
	if s.upstream != nil {
		upstream = s.upstream.id
		s.upstream.metrics.requests.count(s.status)
		s.upstream.metrics.bytes.count(in, out)
	} else {
		s.pool.metrics.unserved.count(s.status)
	}
	warns := s.refused != nil && s.refused.code != rateLimited // which can be many, and has a metric
	if b.options.Access == nil && !warns {
		return
	}
	var e accesslog.Entry
	if s.kept != nil {
		e = *s.kept
	} else {
		e = s.entry()
	}
	if warns {
		b.warn(s, &e, over)
	}
	if b.options.Access == nil {
		return
	}
	e.Status, e.BytesIn, e.BytesOut, e.Duration = s.status, in, out, lasted
	e.Server, e.Attempts, e.Queued, e.Upstream, e.Ended = upstream, s.tries, s.queued, s.answered, s.ended()
	if s.join != nil {
		e.Upgrade = s.protocol
	}
	b.options.Access.Write(&e)
}
