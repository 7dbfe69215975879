package balancer

import (
	"context"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// TestPanicIsTold: by one line of the log when it begins and one when it ends, an
// event for each, the metric and the pool's state; and it is what it says: the
// upstreams that are down are used.
func TestPanicIsTold(t *testing.T) {
	var servers []*httptest.Server
	for i := range 4 {
		servers = append(servers, named(t, fmt.Sprint(i)))
	}
	core, logs := observer.New(zap.InfoLevel)
	registry, events := prometheus.NewRegistry(), 0
	e := startEdge(t, onePool(func(p *PoolConfig) { p.Policy, p.Passive.Panic = RoundRobin, 0.5 }, servers...), func(o *Options) {
		o.Log, o.Metrics, o.Changed = zap.New(core), NewMetrics(registry), func(string) { events++ }
	})
	p := e.table.Load().pools[0]
	turn := func(which int, up bool) { p.turned(context.Background(), p.upstreams[which], up, "test") }
	want := func(panics bool, upstreams int, lines ...string) {
		t.Helper()
		served := map[string]bool{}
		for range 8 {
			response, body := get(t, e.client(), e.url("/"))
			if response.StatusCode != http.StatusOK {
				t.Fatal(response.Status)
			}
			served[body] = true
		}
		if got := e.Pools()[0].Panic; got != panics || len(served) != upstreams {
			t.Errorf("panic: %t, and %d upstreams serve; want %t and %d", got, len(served), panics, upstreams)
		}
		var told []string
		for _, line := range logs.TakeAll() {
			if of, has := line.ContextMap()["of"]; has {
				told = append(told, fmt.Sprintf("%s: %s: %v of %v", line.Level, line.ContextMap()["pool"], line.ContextMap()["down"], of))
			}
		}
		if fmt.Sprint(told) != fmt.Sprint(lines) {
			t.Errorf("the log tells %q, want %q", told, lines)
		}
		gauge := map[bool]float64{true: 1}[panics]
		if got := valueOf(t, registry, "streamspace_pool_panic"); got != gauge {
			t.Errorf("the metric is %g, want %g", got, gauge)
		}
	}
	want(false, 4)
	turn(0, false)
	turn(1, false)
	want(false, 2)
	if events != 2 {
		t.Errorf("%d events of two upstreams", events)
	}
	turn(2, false)
	want(true, 4, "warn: web: 3 of 4")
	turn(3, false)
	want(true, 4)
	if events != 5 {
		t.Errorf("%d events of four upstreams and a panic", events)
	}
	turn(0, true)
	turn(1, true)
	want(false, 2, "info: web: 2 of 4")
	if events != 8 {
		t.Errorf("%d events of six changes, a panic and its end", events)
	}
}

// TestPanicKeepsClientsWhereTheyAre: checks that are not believed part nobody from
// an upstream that serves. One that is down indeed loses its clients.
func TestPanicKeepsClientsWhereTheyAre(t *testing.T) {
	var servers []*httptest.Server
	for i := range 3 {
		servers = append(servers, named(t, fmt.Sprint(i)))
	}
	e := startEdge(t, onePool(func(p *PoolConfig) {
		p.Policy, p.Passive.Panic, p.Affinity = RoundRobin, 0.5, &AffinityConfig{Cookie: "C", TTL: time.Hour, Path: "/"}
	}, servers...))
	p := e.table.Load().pools[0]
	p.mu.Lock()
	upstreams := slices.Clone(p.upstreams)
	p.mu.Unlock()
	client := e.client()
	client.Jar, _ = cookiejar.New(nil)
	_, first := get(t, client, e.url("/"))
	for i, u := range upstreams {
		p.turned(context.Background(), u, false, fmt.Sprint("test ", i))
	}
	for range 6 {
		if _, body := get(t, client, e.url("/")); body != first {
			t.Fatalf("a client of %s was sent to %s", first, body)
		}
	}
	at, _ := strconv.Atoi(first)
	servers[at].Close()
	_, second := get(t, client, e.url("/"))
	for range 6 {
		if _, body := get(t, client, e.url("/")); body != second || body == first {
			t.Fatalf("a client of %s was sent to %s", second, body)
		}
	}
	if _, err := e.Set("web", upstreams[(at+1)%3].id, Disabled, 0); err != nil {
		t.Fatal(err)
	}
	for range 6 {
		if _, body := get(t, client, e.url("/")); body == fmt.Sprint((at+1)%3) {
			t.Fatal("one that is disabled serves")
		}
	}
}

func valueOf(t *testing.T, registry *prometheus.Registry, name string) float64 {
	t.Helper()
	if n, err := testutil.GatherAndCount(registry, name); err != nil || n != 1 {
		t.Fatalf("%d series of %s: %v", n, name, err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatal("no ", name)
	return 0
}

// TestPanicGoesByWhatIsKnown: an upstream whose first check is not over is not
// down, so no start begins with a panic; nor does one count that an operator has
// taken out.
func TestPanicGoesByWhatIsKnown(t *testing.T) {
	for name, c := range map[string]struct {
		up, down, unchecked, disabled int
		want                          bool
	}{
		"the first failure at a start":   {0, 1, 3, 0, false},
		"half unknown, the others down":  {0, 2, 2, 0, false},
		"more than half are down":        {0, 3, 1, 0, true},
		"all up":                         {4, 0, 0, 0, false},
		"disabled ones are not counted":  {2, 1, 0, 5, false},
		"disabled ones are no help":      {1, 2, 0, 5, true},
		"nobody there":                   {0, 0, 0, 2, false},
		"the only one":                   {0, 1, 0, 0, true},
		"all are down but those unknown": {0, 1, 1, 0, false},
	} {
		p := &pool{b: &Balancer{log: zap.NewNop()}, config: PoolConfig{Passive: PassiveConfig{Panic: 0.5}}}
		add := func(n int, u upstream) {
			for range n {
				u.asked = noWish
				one := u
				p.upstreams = append(p.upstreams, &one)
			}
		}
		add(c.up, upstream{setting: Enabled})
		add(c.down, upstream{setting: Enabled, down: "dead"})
		add(c.unchecked, upstream{setting: Enabled, down: firstCheck})
		add(c.disabled, upstream{setting: Disabled, down: "dead"})
		if p.review(); p.trust.panics != c.want {
			t.Errorf("%s: panic %t", name, p.trust.panics)
		}
	}
}
