package balancer

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/valyala/fasthttp"

	"github.com/streamspace-dev/streamspace-edge/accesslog"
	"github.com/streamspace-dev/streamspace-edge/proxy/reactor"
)

// Serve answers a request for which Route has found a way. The server's listener
// must be one of reactor.Lend.
func (b *Balancer) Serve(ctx *fasthttp.RequestCtx, r *Route) {
	if s, ok := ctx.UserValue(expecting{}).(*serving); ok {
		s.goOnExpected()
		return
	}
	s := b.begin(ctx, r)
	s.serve()
	s.tellUnread()
	if !s.streams {
		s.end()
		*s = serving{} // nobody has it any more: a visit is ended, or not, before it leaves the list
		b.servings.Put(s)
	}
}

func (b *Balancer) begin(ctx *fasthttp.RequestCtx, r *Route) *serving {
	s, _ := b.servings.Get().(*serving)
	if s == nil {
		s = new(serving)
	}
	s.b, s.ctx, s.route, s.pool, s.rules, s.began = b, ctx, r, r.pool, r.pool.current.Load(), time.Now()
	s.visit.client, s.visit.came = ctx.Conn(), s.began
	b.visits.of(ctx.ConnID()).add(&s.visit)
	return s
}

// serving is one request's way through the balancer.
type serving struct {
	visit
	b        *Balancer
	ctx      *fasthttp.RequestCtx
	route    *Route
	pool     *pool
	began    time.Time
	over     time.Time  // when the answer was there as a whole; zero: it was not
	id       string     // of the request
	addr     netip.Addr // of the client itself
	room     [len("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255")]byte
	http11   bool   // the client's version
	protocol string // that the client asks to go on with; empty: none
	rules    *rules
	wish     wish
	upstream *upstream // that serves it; nil: none
	placed   bool      // the upstream has counted it
	status   int
	refused  *refusal // nil: the answer is an upstream's
	streams  bool     // it goes on when the handler has returned
	asks     bool     // the client waits for an upstream's word before it sends the body
	last     bool     // of its connection, said a client that asks

	// For the metrics and the access log; see record.go.
	tries            int              // how often it was sent
	queued, answered time.Duration    // it waited for a place; for the last answer's head
	sent             *steady          // its body; nil: that was not passed on as a stream
	read             int64            // bytes of a body that was read as a whole
	received         *answerBody      // nil: it was read as a whole
	join             *reactor.Joined  // the end of its upgraded connection; nil: there was none
	kept             *accesslog.Entry // what the server has forgotten; nil: nothing
	limitFields      [][2]string      // what the answer says of rate limits
}

func (s *serving) serve() {
	from := s.b.clientOf(s.ctx)
	h := &s.ctx.Request.Header
	s.id = requestID(h, from.trusted, s.began)
	s.addr, s.http11 = clientAddr(h, from, s.b.Trusted), h.IsHTTP11()
	has, why := examine(s.ctx)
	if why != nil {
		s.refuse(why)
		s.ctx.SetConnectionClose() // where the request ends is a matter of opinion
		s.b.options.Unread(s.visit.client)
		return
	}
	if over := s.limit(); over != nil {
		s.refuse(&refusal{status: fasthttp.StatusTooManyRequests, code: rateLimited, detail: over.Error()})
		return
	}
	s.prepare(from, has)
	if s.asks {
		s.once = !isIdempotent(string(h.Method()))
	} else if err := s.takeBody(); err != nil {
		s.refuseBody(err)
		return
	}
	now := s.began
	if s.read > 0 { // it took a while
		now = time.Now()
	}
	s.find(now)
}

// find tries upstreams until one serves the request, or none is left to try.
func (s *serving) find(now time.Time) {
	var failed *failure
	for ; ; now = time.Now() {
		u, err := s.upstream, error(nil)
		if s.asked == nil {
			u, err = s.pool.acquire(s.b.ctx, &s.wish, now)
		}
		if err != nil && s.gone() {
			s.leftEarly()
			return
		}
		if err != nil && failed != nil {
			s.refuse(answerRefusal(failed)) // it says more than that no other is left
			return
		}
		if err != nil {
			s.refuse(placeRefusal(err))
			return
		}
		s.upstream, s.placed = u, true
		if failed = s.try(u, now); failed == nil {
			return
		}
		if s.gone() {
			s.leftEarly()
			return
		}
		if failed.client {
			s.refuseBody(failed.err)
			return
		}
		if !failed.stale {
			s.pool.failed(u, time.Now())
		}
		if !s.mayRetry(failed) {
			s.refuse(answerRefusal(failed))
			return
		}
		s.pool.release(u)
		s.upstream, s.placed = nil, false
		s.attempts++
		if !failed.stale {
			s.wish.tried = append(s.wish.tried, u)
		}
	}
}

// leftEarly is for a client that has gone before it had an answer.
func (s *serving) leftEarly() {
	s.ctx.SetConnectionClose()
	s.status = accesslog.StatusClientLeft
}

// prepare makes the request one of the edge's.
func (s *serving) prepare(from client, has fields) {
	request := &s.ctx.Request
	h := &request.Header
	uri := request.URI()
	uri.DisablePathNormalizing = true // the upstream gets the path as it was sent
	s.wish.mark, s.wish.expires, s.wish.marked = s.rules.markOf(h, s.began)
	s.wish.key = s.rules.keyOf(h, s.addr)
	s.wish.queued, s.wish.visit = &s.queued, &s.visit
	if has.has(fieldUpgrade) && hasToken(h.PeekAll(fasthttp.HeaderConnection), "upgrade") && !h.ConnectionClose() {
		s.protocol = string(bytes.TrimSpace(h.Peek(fasthttp.HeaderUpgrade)))
	}
	if !s.http11 {
		h.SetProtocol("HTTP/1.1")
	}
	passOn(h, has, from, uri.Host(), s.room[:0])
	h.SetCanonical(requestIDName, []byte(s.id))
	if s.protocol != "" {
		h.Set(fasthttp.HeaderConnection, "Upgrade")
		h.Set(fasthttp.HeaderUpgrade, s.protocol)
	}
}

// try lets one upstream serve the request, now if it had no wait for a place.
func (s *serving) try(u *upstream, sent time.Time) *failure {
	if s.queued > 0 {
		sent = time.Now()
	}
	if s.asked == nil {
		s.tries++
	}
	var link *link
	var failed *failure
	if s.asks {
		s.asked, failed = u.links.ask(s.b.ctx, &s.visit, &s.ctx.Request, &s.ctx.Response, s.passHints, sent)
	} else {
		link, failed = u.links.exchange(s.b.ctx, &s.visit, &s.ctx.Request, &s.ctx.Response, s.passHints, sent)
	}
	now := time.Now()
	s.answered = now.Sub(sent)
	if failed != nil || s.asked != nil {
		return failed
	}
	u.metrics.responses.Observe(s.answered.Seconds())
	response := &s.ctx.Response
	s.status = response.StatusCode()
	body, streams := response.BodyStream().(*answerBody)
	if s.placed = link != nil || streams; !s.placed {
		s.over = now
	}
	s.pool.answered(u, s.status, now, !s.placed)
	has := fieldsOf(&response.Header)
	protocol := ""
	if has.has(fieldUpgrade) {
		protocol = string(response.Header.Peek(fasthttp.HeaderUpgrade))
	}
	stripConnection(&response.Header, has)
	ownVersion(&response.Header)
	response.Header.SetCanonical(requestIDName, []byte(s.id))
	s.tellLimits(&response.Header)
	s.pool.setAffinity(&response.Header, s.rules.affinity, u, &s.wish, s.ctx.IsTLS(), now)
	if link != nil {
		s.goOn(link, protocol)
		return nil
	}
	if streams {
		body.over, s.streams, s.received = s.end, true, body
		if !s.http11 && response.Header.ContentLength() < 0 {
			s.answerOld(body)
			return nil
		}
	}
	if s.protocol != "" { // what came behind the request was meant for another protocol
		s.ctx.SetConnectionClose()
	}
	return nil
}

// mayRetry tells whether the request may be sent again: nothing of it has
// reached the upstream, or its method allows it (RFC 9110 section 9.2.2) and its
// body is still there; within the pool's attempts and budget.
func (s *serving) mayRetry(f *failure) bool {
	switch {
	case s.once && !f.untouched:
		return false
	case f.stale && s.attempts == 0:
		return true // that the upstream closes idle connections is no failure of its
	}
	return s.attempts+1 < s.rules.attempts && s.pool.mayRetry()
}

func isIdempotent(method string) bool {
	return slices.Contains([]string{"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"}, method)
}

const brokenBody = "the body of the request is broken"

// refuseBody is for a client that has sent no whole body. One that has left is
// answered all the same: it may only have closed its own half.
func (s *serving) refuseBody(err error) {
	s.refuse(&refusal{status: fasthttp.StatusBadRequest, code: "bad_request", detail: brokenBody, cause: err})
	s.ctx.SetConnectionClose()
	if connectionEnded(err) {
		s.refused, s.status = nil, accesslog.StatusClientLeft
	}
}

func (s *serving) refuse(why *refusal) {
	s.refused, s.status = why, why.status
	why.answer(&s.ctx.Response, s.id)
	if len(s.ctx.Request.Header.Peek(fasthttp.HeaderUpgrade)) > 0 {
		s.ctx.SetConnectionClose() // what follows may be of another protocol, not another request
	}
	s.tellLimits(&s.ctx.Response.Header)
}

// end is the request's last turn.
func (s *serving) end() {
	s.leave()
	if s.placed {
		s.pool.release(s.upstream)
	}
	s.b.record(s)
}

// passHints sends the 103 in the response to the client.
func (s *serving) passHints() error {
	if !s.http11 {
		return nil // it would not understand (RFC 9110 section 15.2)
	}
	return s.ctx.EarlyHints()
}

func (b *Balancer) clientOf(ctx *fasthttp.RequestCtx) client {
	addr, _ := netip.AddrFromSlice(ctx.RemoteIP())
	addr = addr.Unmap()
	return client{peer: addr, trusted: b.Trusted(addr), secure: ctx.IsTLS()}
}

// requestID is a trusted proxy's, when it has one, or a new one.
func requestID(h *fasthttp.RequestHeader, trusted bool, now time.Time) string {
	const longest = 128
	unprintable := func(c byte) bool { return c <= ' ' || c > '~' }
	if trusted {
		if said := h.Peek("X-Request-Id"); len(said) > 0 && len(said) <= longest && !slices.ContainsFunc(said, unprintable) {
			return string(said)
		}
	}
	return newRequestID(now).String()
}

// newRequestID is a UUIDv7 (RFC 9562 section 5.7). It has to be different from
// others, not to be a secret, so it does not take the system's randomness, which
// is ten times the work.
func newRequestID(now time.Time) (id uuid.UUID) {
	binary.BigEndian.PutUint64(id[:], uint64(now.UnixMilli())<<16|rand.Uint64()>>48)
	binary.BigEndian.PutUint64(id[8:], rand.Uint64())
	id[6] = id[6]&0x0f | 7<<4    // version
	id[8] = id[8]&0x3f | 0b10<<6 // variant
	return id
}
