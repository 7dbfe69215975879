package balancer

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// limiter is a balancer that has nothing but rate limits.
func limiter(t *testing.T, limits ...RateLimitConfig) *Balancer {
	t.Helper()
	c := Config{RateLimits: limits}
	if faults := c.Validate(); len(faults) > 0 {
		t.Fatal(faults)
	}
	b := New(Options{Metrics: NewMetrics(prometheus.NewRegistry())})
	b.Load(c)
	t.Cleanup(func() {
		if err := b.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return b
}

func asker(addr, key string) Asker {
	return Asker{Host: "desk.example.org:8443", Path: "/api/v1/sessions", Addr: netip.MustParseAddr(addr), Key: key}
}

func passes(b *Balancer, a Asker, n int) (passed int) {
	for range n {
		if b.Limit(context.Background(), a, func(string, string) {}) == nil {
			passed++
		}
	}
	return passed
}

func TestALimitByAddressCountsEachOnItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := limiter(t, RateLimitConfig{Name: "a", By: ByAddress, Requests: 2, Per: time.Second, Burst: 3})
		for _, c := range []struct {
			addr string
			want int
		}{
			{"192.0.2.1", 3}, {"192.0.2.2", 3}, {"::ffff:192.0.2.1", 0},
			{"2001:db8::1", 3}, {"2001:db8::ffff:2", 0}, {"2001:db8:0:1::1", 3}, // a /64 is one client
		} {
			a := asker(c.addr, "")
			a.Addr = a.Addr.Unmap()
			if got := passes(b, a, 10); got != c.want {
				t.Errorf("%s: %d came through, want %d", c.addr, got, c.want)
			}
		}
		time.Sleep(500 * time.Millisecond)
		if got := passes(b, asker("192.0.2.1", ""), 10); got != 1 {
			t.Errorf("half a second later: %d", got)
		}
		time.Sleep(time.Hour)
		if got := passes(b, asker("192.0.2.1", ""), 10); got != 3 {
			t.Errorf("an hour later: %d", got)
		}
		if got := passes(b, asker("192.0.2.9", "key"), 10); got != 10 {
			t.Errorf("who is known counts by address again: %d of 10", got)
		}
	})
}

func TestALimitByKeyCountsWhoIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := limiter(t, RateLimitConfig{Name: "k", By: ByKey, Requests: 5})
		if got := passes(b, asker("192.0.2.1", ""), 10); got != 10 {
			t.Errorf("nobody: %d of 10", got)
		}
		if got := passes(b, asker("192.0.2.1", "key 1"), 4) + passes(b, asker("192.0.2.2", "key 1"), 4); got != 5 {
			t.Errorf("one key from two addresses: %d of 8", got)
		}
		if got := passes(b, asker("192.0.2.1", "key 2"), 10); got != 5 {
			t.Errorf("another key: %d", got)
		}
	})
}

func TestALimitIsForWhatItMatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := limiter(t,
			RateLimitConfig{Name: "log-in", By: ByRoute, Path: "/api/v1/login", Requests: 1, Per: time.Minute},
			RateLimitConfig{Name: "other", By: ByRoute, Host: "other.example.org", Requests: 1, Per: time.Minute},
		)
		if got := passes(b, asker("192.0.2.1", ""), 10); got != 10 {
			t.Errorf("elsewhere: %d", got)
		}
		a := asker("192.0.2.1", "")
		a.Path = "/api/v1/login"
		if got := passes(b, a, 10); got != 1 {
			t.Errorf("there: %d", got)
		}
		a.Addr = netip.MustParseAddr("192.0.2.2")
		if got := passes(b, a, 10); got != 0 {
			t.Errorf("from another address: %d", got)
		}
		a.Path, a.Host = "/", "OTHER.example.org"
		if got := passes(b, a, 10); got != 1 {
			t.Errorf("the other host: %d", got)
		}
	})
}

func TestTheAnswerTellsOfTheLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := limiter(t,
			RateLimitConfig{Name: "fast", By: ByAddress, Requests: 10, Per: time.Second, Burst: 20},
			RateLimitConfig{Name: "slow", By: ByAddress, Requests: 2, Per: time.Hour},
		)
		for i, want := range []string{
			`RateLimit-Policy: "fast";q=20;w=2|RateLimit: "fast";r=19;t=1|RateLimit-Policy: "slow";q=2;w=3600|RateLimit: "slow";r=1;t=1800|`,
			`RateLimit-Policy: "fast";q=20;w=2|RateLimit: "fast";r=18;t=1|RateLimit-Policy: "slow";q=2;w=3600|RateLimit: "slow";r=0;t=3600|`,
			`RateLimit-Policy: "fast";q=20;w=2|RateLimit: "fast";r=17;t=1|RateLimit-Policy: "slow";q=2;w=3600|RateLimit: "slow";r=0;t=3600|Retry-After: 1800|`,
		} {
			var got strings.Builder
			refused := b.Limit(context.Background(), asker("192.0.2.1", ""), func(name, value string) { fmt.Fprintf(&got, "%s: %s|", name, value) })
			if got.String() != want || (refused != nil) != (i == 2) {
				t.Errorf("request %d: %s, %v\nwant %s", i+1, got.String(), refused, want)
			}
			if refused != nil && refused.Error() != `the rate limit "slow" is used up; try again in 1800 s` {
				t.Error(refused)
			}
		}
	})
}

func TestNobodyIsRefusedWhileNobodyCanCount(t *testing.T) {
	b := limiter(t, RateLimitConfig{Name: "a", By: ByAddress, Requests: 1, Per: time.Hour})
	b.options.Take = func(context.Context, string, store.Rate) (store.Taken, error) {
		return store.Taken{}, errors.New("down")
	}
	if got := passes(b, asker("192.0.2.1", ""), 5); got != 5 {
		t.Errorf("%d of 5", got)
	}
}

// TestARoutesLimits: by what a header holds, and by the address without it.
func TestARoutesLimits(t *testing.T) {
	c := onePool(nil, named(t, "a"))
	c.Routes[0].RateLimits = []RateLimitConfig{{Name: "keys", By: ByKey, Header: "X-Api-Key", Requests: 2, Per: time.Hour}}
	c.Trusted = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	e := startEdge(t, c)
	client := e.client()
	for _, one := range []struct {
		headers []string
		want    int
	}{
		{[]string{"X-Api-Key", "one"}, 200}, {[]string{"X-Api-Key", "one", "X-Forwarded-For", "192.0.2.1"}, 200}, {[]string{"X-Api-Key", "one"}, 429},
		{[]string{"X-Api-Key", "two"}, 200},
		{[]string{"X-Forwarded-For", "192.0.2.1"}, 200}, {[]string{"X-Forwarded-For", "192.0.2.1"}, 200}, {[]string{"X-Forwarded-For", "192.0.2.1"}, 429},
		{[]string{"X-Forwarded-For", "192.0.2.2"}, 200},
	} {
		response, body := get(t, client, e.url("/"), one.headers...)
		if response.StatusCode != one.want || response.Header.Get("RateLimit-Policy") != `"keys";q=2;w=3600` || response.Header.Get("RateLimit") == "" {
			t.Errorf("%v: %d %v", one.headers, response.StatusCode, response.Header)
		}
		if limited := one.want == 429; limited != strings.Contains(body, `"code":"rate_limited"`) || limited != (response.Header.Get("Retry-After") != "") {
			t.Errorf("%v: %s %v", one.headers, body, response.Header)
		}
	}
}

func TestRateLimitFaults(t *testing.T) {
	for _, c := range []struct {
		limit RateLimitConfig
		want  string
	}{
		{RateLimitConfig{By: ByAddress, Requests: 1}, `rate_limits[0].name: "" is not a name`},
		{RateLimitConfig{Name: "a", By: "user", Requests: 1}, `rate_limits[0].by: "user" is not one of`},
		{RateLimitConfig{Name: "a", By: ByAddress}, "rate_limits[0].requests: 0 is out of range"},
		{RateLimitConfig{Name: "a", By: ByAddress, Requests: 1, Burst: -1}, "rate_limits[0].burst: -1 is out of range"},
		{RateLimitConfig{Name: "a", By: ByAddress, Requests: 1, Per: 24 * time.Hour, Burst: mostBurst}, "rate_limits[0].per: it takes 7200h0m0s"},
		{RateLimitConfig{Name: "a", By: ByAddress, Requests: 1, Header: "X"}, `rate_limits[0].header: "X" has no meaning`},
		{RateLimitConfig{Name: "a", By: ByKey, Requests: 1, Header: "X Y"}, `rate_limits[0].header: "X Y"`},
		{RateLimitConfig{Name: "a", By: ByKey, Requests: 1, Path: "x"}, `rate_limits[0].match.path: "x"`},
		{RateLimitConfig{Name: "a", By: ByKey, Requests: 1, Host: "https://x"}, `rate_limits[0].match.host: "https://x"`},
	} {
		faults := Config{RateLimits: []RateLimitConfig{c.limit}}.Validate()
		if len(faults) != 1 || !strings.HasPrefix(faults[0].Key+": "+faults[0].Text, c.want) {
			t.Errorf("%+v: %v, want %s", c.limit, faults, c.want)
		}
	}
	good := RateLimitConfig{Name: "a", By: ByAddress, Requests: 1}
	if faults := (Config{RateLimits: []RateLimitConfig{good, good}}).Validate(); len(faults) != 1 || !strings.Contains(faults[0].Text, "another rate limit") {
		t.Errorf("%v", faults)
	}
}
