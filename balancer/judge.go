package balancer

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/valyala/fasthttp"
)

// The retry budget: each request adds the config's share of a retry, up to
// mostBudget; an idle pool has leastBudget to begin with.
const (
	leastBudget = 10
	mostBudget  = 100
)

// answered notes the status of an answer. If that is over, its place is free
// again.
func (p *pool) answered(u *upstream, status int, now time.Time, over bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.retries = min(p.retries+p.config.Retry.Budget, mostBudget)
	if !aboutRequest(status) {
		p.judge(u, status < 500, now)
	}
	if over {
		u.leave()
		p.letIn(now)
	}
}

// aboutRequest tells the statuses of 5xx that say of the request, not of the
// upstream, that it can't be served: any client can have them at will.
func aboutRequest(status int) bool {
	return status == fasthttp.StatusNotImplemented || status == fasthttp.StatusHTTPVersionNotSupported
}

// failed notes that no answer came.
func (p *pool) failed(u *upstream, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.judge(u, false, now)
}

// judge takes an upstream out that fails too often. One that was replaced says
// nothing of its successor, whose record is kept under the same id. p.mu is held.
func (p *pool) judge(u *upstream, ok bool, now time.Time) {
	if u.replaced {
		return
	}
	ejected, until := p.outliers.note(u.id, ok, now)
	u.outUntil = until
	if ejected {
		u.readySince = until
		p.changed(u, "ejected", p.ejectedWhy())
	}
}

func (p *pool) ejectedWhy() string {
	return fmt.Sprintf("it failed %d requests in a row", p.outliers.config.Failures)
}

// rules are what a pool's config says to one request, from its beginning to its
// end. They are not changed.
type rules struct {
	policy   Strategy
	hash     HashConfig
	affinity *Affinity // nil: none
	attempts int
}

// mayRetry takes a retry from the budget.
func (p *pool) mayRetry() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.retries < 1 {
		return false
	}
	p.retries--
	return true
}

// switched counts connections that speak another protocol now. They end with ctx.
func (p *pool) switched(u *upstream, delta int) (ctx context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	u.upgraded += delta
	return u.ctx
}

// markOf reads the request's affinity cookie. Any that is not good is as none.
func (r *rules) markOf(h *fasthttp.RequestHeader, now time.Time) (m Mark, expires time.Time, ok bool) {
	if r.affinity == nil {
		return 0, time.Time{}, false
	}
	return r.affinity.ReadCookies(h.PeekAll(fasthttp.HeaderCookie), now)
}

// cookieValues adds the values of all cookies of a name, maxValues at most.
func cookieValues(values [][]byte, headers [][]byte, name string) [][]byte {
	for _, header := range headers {
		for pair := range bytes.SplitSeq(header, []byte{';'}) {
			key, value, _ := bytes.Cut(bytes.TrimSpace(pair), []byte{'='})
			if string(key) == name && len(values) < maxValues {
				values = append(values, bytes.Trim(value, `"`))
			}
		}
	}
	return values
}

// setAffinity gives the client the cookie of the upstream that it is at, unless
// it has one that is good for more than half of its time.
func (p *pool) setAffinity(h *fasthttp.ResponseHeader, affinity *Affinity, u *upstream, w *wish, secure bool, now time.Time) {
	if affinity == nil || w.marked && w.mark == u.mark && w.expires.Sub(now) > affinity.config.TTL/2 {
		return
	}
	h.Add(fasthttp.HeaderSetCookie, p.cookieOf(affinity, u, secure, now))
	if said := h.PeekAll(fasthttp.HeaderCacheControl); !hasToken(said, "private") && !hasToken(said, "no-store") {
		h.Add(fasthttp.HeaderCacheControl, "private") // or a shared cache would hand the cookie to others
	}
}

// cookieOf makes one cookie a second for each upstream: what it says does not
// change more often.
func (p *pool) cookieOf(affinity *Affinity, u *upstream, secure bool, now time.Time) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := &u.cookie; c.text == "" || c.of != affinity || c.secure != secure || c.second != now.Unix() {
		*c = issued{affinity, secure, now.Unix(), affinity.SetCookie(u.mark, secure, now)}
	}
	return u.cookie.text
}

// issued is a Set-Cookie header and what it was made for.
type issued struct {
	of     *Affinity
	secure bool
	second int64
	text   string
}

// keyOf is what the hash policy goes by; 0 with any other.
func (r *rules) keyOf(h *fasthttp.RequestHeader, addr netip.Addr) uint64 {
	if r.policy != Hash {
		return 0
	}
	var value []byte
	switch by := r.hash; by.By {
	case "header":
		value = h.Peek(by.Name)
	case "cookie":
		var room [maxValues][]byte
		if values := cookieValues(room[:0], h.PeekAll(fasthttp.HeaderCookie), by.Name); len(values) > 0 {
			value = values[0]
		}
	}
	if len(value) == 0 {
		value = addr.AsSlice()
	}
	return KeyOf(value)
}

// check starts the upstream's checker. p.mu is held.
func (u *upstream) check(p *pool, known health) {
	if !p.config.Health.active() {
		u.down, u.asked, u.leaving = "", noWish, false // nobody would take back what it has asked for
		return
	}
	ctx, cancel := context.WithCancel(p.b.ctx) // not of the upstream: checks go on when a drain is over
	u.stopCheck = cancel
	c := &checker{
		config: p.config.Health, address: u.address, host: u.address, tls: u.tls, known: known,
		told:    func(ok bool, _ string, a Answer) { p.reported(ctx, u, ok, a) },
		changed: func(up bool, why string) { p.turned(ctx, u, up, why) },
	}
	if p.config.ProxyProtocol != "" {
		c.hello = announcement(p.config.ProxyProtocol, nil)
	}
	if known == healthUnknown {
		u.down = firstCheck
	}
	p.b.running.Go(func() { c.run(ctx) })
}

// reported takes what an upstream says of itself. ctx is the checker's.
func (p *pool) reported(ctx context.Context, u *upstream, ok bool, a Answer) {
	if !ok {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if ctx.Err() != nil { // it is not the upstream's checker any more
		return
	}
	asked := noWish
	if a.Weighted {
		asked = a.Weight
	}
	if u.leaving != a.Drain {
		p.changed(u, map[bool]string{true: "asks to be drained", false: "asks for work again"}[a.Drain], "its health check says so")
	}
	away := !u.usable()
	u.asked, u.leaving = asked, a.Drain
	if away && u.usable() {
		u.readySince = time.Now()
	}
	p.review()
	p.letIn(time.Now())
}

// turned takes what an upstream's checks have come to. ctx is the checker's.
func (p *pool) turned(ctx context.Context, u *upstream, up bool, why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ctx.Err() != nil { // it is not the upstream's checker any more
		return
	}
	first := u.down == firstCheck
	if up {
		u.down = ""
		if !first {
			u.readySince = time.Now()
		}
	} else {
		u.down = why
	}
	if !up || !first {
		p.changed(u, map[bool]string{true: "up", false: "down"}[up], why)
	}
	p.review()
	p.letIn(time.Now()) // also when it is down: all may be used then
}

const firstCheck = "its first health check is not over"
