package balancer

import (
	"strings"
	"testing"
)

// FuzzRequests: whatever a client sends, each whole request that an upstream sees
// is one that all parsers read alike, and as many are answered as it has seen.
func FuzzRequests(f *testing.F) {
	for _, c := range smugglingCases() {
		if len(c.raw) < 4<<10 {
			f.Add(c.raw + canary)
		}
	}
	upstream := startStrict(f)
	e := startEdge(f, onePool(func(p *PoolConfig) {
		p.Upstreams = []UpstreamConfig{{URL: upstream.url}}
		p.Passive.Failures = 1 << 30 // what a client breaks off is no fault of the upstream
	}))
	f.Fuzz(func(t *testing.T, raw string) {
		if len(raw) > 64<<10 {
			return
		}
		answer := answerTo(t, e.addr, raw)
		whole, _, violations := upstream.take()
		for _, v := range violations {
			t.Errorf("%q: an upstream was sent %s", raw, v)
		}
		if answered := strings.Count(answer, "X-Seen: "); answered != len(whole) {
			t.Errorf("%q: the upstream saw %d requests, of which %d were answered: %q", raw, len(whole), answered, answer)
		}
		if limit := strings.Count(raw, "\n"); len(whole) > limit {
			t.Errorf("%q: the upstream saw %d requests", raw, len(whole))
		}
	})
}
