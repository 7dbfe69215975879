package balancer

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// RateLimitConfig bounds how many requests come through.
type RateLimitConfig struct {
	Name     string        // in metrics and in the answers' headers; unique
	By       LimitBy       // whose requests are counted together
	Header   string        // for ByKey at a pool: holds the key; "": Authorization
	Host     string        // as of a route; "": every host. Of a route's own limit: always ""
	Path     string        // as of a route; "": every path. Of a route's own limit: always ""
	Requests int           // in each Per, on the long run
	Per      time.Duration // 0: 1 s
	Burst    int           // at once; 0: Requests
}

// LimitBy tells whose requests a limit counts together.
type LimitBy string

// An IPv6 client owns its /64, so that is its address.
const (
	ByAddress LimitBy = "address"
	ByKey     LimitBy = "key"   // of the API; at a pool what a header holds, and the address without it
	ByRoute   LimitBy = "route" // everybody's
)

const (
	mostBurst   = 1_000_000
	longestFull = 30 * 24 * time.Hour // until a bucket is full
)

var headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$") // RFC 9110 section 5.1

func (c RateLimitConfig) withDefaults() RateLimitConfig {
	setDefault(&c.Header, fasthttp.HeaderAuthorization)
	setDefault(&c.Per, time.Second)
	setDefault(&c.Burst, c.Requests)
	return c
}

func (c RateLimitConfig) validate(f *configFaults, names map[string]bool, ofRoute bool) {
	f.checkName(c.Name, names, "the name of another rate limit")
	if c.By != ByAddress && c.By != ByKey && c.By != ByRoute {
		f.add("by", "%q is not one of: address, key, route", c.By)
	}
	if c.Header != "" && (c.By != ByKey || !headerName.MatchString(c.Header)) {
		f.add("header", "%q has no meaning here; it is the header that holds the key of a limit by key", c.Header)
	}
	switch {
	case ofRoute && (c.Host != "" || c.Path != ""):
		f.add("match", "has no meaning inside a route, whose requests are meant")
	case strings.ContainsAny(strings.TrimPrefix(c.Host, "*."), "*/:@ "):
		f.add("match.host", "%q is not a host; write it without scheme and port, like \"desk.example.org\" or \"*.example.org\"", c.Host)
	case c.Path != "":
		f.checkPath("match.path", c.Path)
	}
	if c.Requests < 1 || c.Requests > mostBurst {
		f.add("requests", "%d is out of range; 1 to %d in each \"per\"", c.Requests, mostBurst)
		return
	}
	if c.Per < 0 || c.Burst < 0 || c.Burst > mostBurst {
		f.add("burst", "%d is out of range; 1 to %d requests at once, and \"per\" must not be negative", c.Burst, mostBurst)
		return
	}
	if full := c.withDefaults().whole(); full > longestFull {
		f.add("per", "it takes %s until the burst may be used again; at most %s, so raise requests or lower per or burst", full, longestFull)
	}
}

// whole is how long an empty bucket needs to be full.
func (c RateLimitConfig) whole() time.Duration {
	return time.Duration(min(float64(c.Per)/float64(c.Requests)*float64(c.Burst), float64(10*longestFull)))
}

// limit is a rate limit as it is served.
type limit struct {
	name    string
	by      LimitBy
	header  string
	scope   Route // which requests it is for
	rate    store.Rate
	policy  string // what RateLimit-Policy says of it
	refused prometheus.Counter
}

func (b *Balancer) newLimits(configs []RateLimitConfig) []*limit {
	var all []*limit
	for _, c := range configs {
		c = c.withDefaults()
		all = append(all, &limit{
			name: c.Name, by: c.By, header: c.Header, scope: Route{host: strings.ToLower(c.Host), path: orElse(c.Path, "/")},
			rate:    store.Rate{Count: c.Requests, Per: c.Per, Burst: c.Burst},
			policy:  fmt.Sprintf(`%q;q=%d;w=%d`, c.Name, c.Burst, max(upToSeconds(c.whole()), 1)),
			refused: b.options.Metrics.limited.WithLabelValues(c.Name),
		})
	}
	return all
}

func upToSeconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

// Asker is who has sent a request to the edge's own pages.
type Asker struct {
	Host, Path string
	Addr       netip.Addr
	Key        string // the id of the API key, once that is known to be good
}

// Limited is a request that a rate limit refuses.
type Limited struct {
	Name       string // of the limit
	RetryAfter int    // seconds, at least 1
}

func (l *Limited) Error() string {
	return fmt.Sprintf("the rate limit %q is used up; try again in %d s", l.Name, l.RetryAfter)
}

// Limit counts a request to the edge's own pages: by address and route while
// Asker.Key is empty, and then again by the key. tell gets the headers of the
// answer. nil: the request may go on.
func (b *Balancer) Limit(ctx context.Context, a Asker, tell func(name, value string)) *Limited {
	t := b.table.Load()
	if len(t.limits) == 0 {
		return nil
	}
	return b.take(ctx, tell, t.limits, func(l *limit) (subject string, counts bool) {
		if (l.by == ByKey) != (a.Key != "") || !l.scope.fitsHost([]byte(a.Host)) || !l.scope.fitsPath([]byte(a.Path)) {
			return "", false
		}
		if l.by == ByKey {
			return a.Key, true
		}
		return l.subject(a.Addr, nil), true
	})
}

// limit counts a request to a pool. what it says of the limits goes to the
// answer by tellLimits.
func (s *serving) limit() *Limited {
	t := s.b.table.Load()
	if len(t.limits) == 0 && len(s.route.limits) == 0 {
		return nil
	}
	uri, header := s.ctx.URI(), &s.ctx.Request.Header
	tell := func(name, value string) { s.limitFields = append(s.limitFields, [2]string{name, value}) }
	if refused := s.b.take(s.b.ctx, tell, t.limits, func(l *limit) (string, bool) {
		return l.subject(s.addr, header), l.scope.fitsHost(uri.Host()) && l.scope.fitsPath(uri.Path())
	}); refused != nil {
		return refused
	}
	return s.b.take(s.b.ctx, tell, s.route.limits, func(l *limit) (string, bool) { return l.subject(s.addr, header), true })
}

func (s *serving) tellLimits(h *fasthttp.ResponseHeader) {
	for _, field := range s.limitFields {
		h.Add(field[0], field[1])
	}
}

// subject is whose requests are counted together; of a pool's, by what their
// header holds, of which only a hash is kept.
func (l *limit) subject(addr netip.Addr, h *fasthttp.RequestHeader) string {
	switch {
	case l.by == ByRoute:
		return ""
	case l.by == ByKey && h != nil && len(h.Peek(l.header)) > 0:
		sum := sha256.Sum256(h.Peek(l.header))
		return string(sum[:16])
	}
	return store.ClientNetwork(addr).String()
}

// take counts a request with each limit that it counts for, and tells of each in
// the headers of draft-ietf-httpapi-ratelimit-headers. It stops at the first
// that refuses. While nobody can count, all come through.
func (b *Balancer) take(ctx context.Context, tell func(name, value string), limits []*limit, subject func(*limit) (string, bool)) *Limited {
	for _, l := range limits {
		whose, counts := subject(l)
		if !counts {
			continue
		}
		taken, err := b.options.Take(ctx, "rate/"+l.name+"/"+whose, l.rate)
		if err != nil {
			b.log.Warn("a rate limit can't be counted, so it lets through", zap.String("limit", l.name), zap.Error(err))
			continue
		}
		tell("RateLimit-Policy", l.policy)
		tell("RateLimit", fmt.Sprintf(`%q;r=%d;t=%d`, l.name, taken.Remaining, upToSeconds(taken.Full)))
		if !taken.OK {
			l.refused.Inc()
			refused := &Limited{l.name, max(upToSeconds(taken.RetryAfter), 1)}
			tell("Retry-After", strconv.Itoa(refused.RetryAfter))
			return refused
		}
	}
	return nil
}
