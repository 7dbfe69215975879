package balancer

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// replacing has a pool of the upstreams a and b, of which a has a request, and
// loads it again with what change makes of its config: a's successor has its id.
func replacing(t *testing.T, change func(*PoolConfig)) (p *pool, old, successor *upstream) {
	t.Helper()
	b := New(Options{Metrics: NewMetrics(prometheus.NewRegistry()), Secret: make([]byte, 32)})
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	c := PoolConfig{Name: "web", Policy: LeastConnections, Passive: PassiveConfig{Failures: 2, MaxOut: 1}, Upstreams: []UpstreamConfig{
		{ID: "a", URL: "http://127.0.0.1:1", MaxConnections: 2}, {ID: "b", URL: "http://127.0.0.1:2", MaxConnections: 2},
	}}
	b.Load(Config{Pools: []PoolConfig{c}})
	p = b.table.Load().pools[0]
	old = p.upstreams[0]
	if got := acquired(t, p, &wish{}); got != old {
		t.Fatalf("the first request is at %s", got.id)
	}
	c.Upstreams = slices.Clone(c.Upstreams)
	change(&c)
	b.Load(Config{Pools: []PoolConfig{c}})
	successor = p.upstreams[0]
	if successor == old || successor.id != old.id || !slices.Contains(p.upstreams, old) {
		t.Fatal("the reload has not replaced a")
	}
	return p, old, successor
}

func acquired(t *testing.T, p *pool, w *wish) *upstream {
	t.Helper()
	u, err := p.acquire(t.Context(), w, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func otherTimeouts(c *PoolConfig) { c.Timeouts.Idle = time.Minute + time.Second }
func otherServer(c *PoolConfig)   { c.Upstreams[0].URL = "http://127.0.0.1:3" }

// TestAServerKeepsItsLoadWhenItIsReplaced: a reload that changes how it is met
// neither gives it more than max_connections nor makes it look idle. Another
// server of the same id begins with none.
func TestAServerKeepsItsLoadWhenItIsReplaced(t *testing.T) {
	p, old, successor := replacing(t, otherTimeouts)
	if got := acquired(t, p, &wish{}); got.id != "b" {
		t.Errorf("the less loaded is b, and %s gets the request", got.id)
	}
	if got := acquired(t, p, &wish{tried: []*upstream{p.upstreams[1]}}); got != successor || !successor.full() {
		t.Errorf("%s has the second of two, full: %t", got.id, successor.full())
	}
	p.release(old)
	if successor.full() {
		t.Error("it is full although the other one's request is over")
	}
	p.release(successor)
	if *successor.held != 0 || successor.active != 0 || old.active != 0 {
		t.Errorf("%d are left: %d and %d", *successor.held, successor.active, old.active)
	}
	_, _, another := replacing(t, otherServer)
	if *another.held != 0 {
		t.Errorf("another server has %d requests of the one before", *another.held)
	}
}

// TestTheReplacedGetsNothingMore, neither by a cookie, which names its successor,
// too, nor in a retry; and the picker has each id once.
func TestTheReplacedGetsNothingMore(t *testing.T) {
	for name, change := range map[string]func(*PoolConfig){"other timeouts": otherTimeouts, "another server": otherServer} {
		p, old, successor := replacing(t, change)
		cookie := wish{marked: true, mark: old.mark}
		if got := acquired(t, p, &cookie); got != successor {
			t.Errorf("%s: its cookie leads to %s", name, got.config.URL)
		}
		cookie.tried = []*upstream{successor}
		if got := acquired(t, p, &cookie); got.id != "b" {
			t.Errorf("%s: a retry is at %s", name, got.config.URL)
		}
		if _, err := p.set("a", Disabled, 0); err != nil {
			t.Fatal(err)
		}
		if got := acquired(t, p, &wish{marked: true, mark: old.mark}); got.id != "b" {
			t.Errorf("%s: disabled, and its cookie leads to %s", name, got.config.URL)
		}
		ids := map[string]int{}
		for _, place := range p.places {
			if ids[place.ID]++; ids[place.ID] > 1 {
				t.Errorf("%s: the picker has %s twice", name, place.ID)
			}
		}
	}
}

// TestTheReplacedSaysNothingOfItsSuccessor: what fails there ejects nobody.
func TestTheReplacedSaysNothingOfItsSuccessor(t *testing.T) {
	p, old, successor := replacing(t, otherServer)
	for range 3 {
		p.failed(old, time.Now())
	}
	p.answered(successor, 200, time.Now(), false)
	if state := successor.state(p, time.Now()).State; state != "up" {
		t.Errorf("its predecessor fails, and it is %s", state)
	}
}

// TestAnEjectionIsOfAServer: it lasts beyond a reload that changes how the server
// is met, and is not another one's that gets its id.
func TestAnEjectionIsOfAServer(t *testing.T) {
	for _, c := range []struct {
		change func(*PoolConfig)
		want   string
	}{{otherTimeouts, "ejected"}, {otherServer, "up"}} {
		b := New(Options{Metrics: NewMetrics(prometheus.NewRegistry()), Secret: make([]byte, 32)})
		t.Cleanup(func() { _ = b.Close(context.Background()) })
		config := PoolConfig{Name: "web", Passive: PassiveConfig{Failures: 2, MaxOut: 1}, Upstreams: []UpstreamConfig{{ID: "a", URL: "http://127.0.0.1:1"}}}
		b.Load(Config{Pools: []PoolConfig{config}})
		p := b.table.Load().pools[0]
		p.failed(p.upstreams[0], time.Now())
		p.failed(p.upstreams[0], time.Now())
		config.Upstreams = slices.Clone(config.Upstreams)
		c.change(&config)
		b.Load(Config{Pools: []PoolConfig{config}})
		for _, when := range []string{"at once", "after an answer"} {
			if got := b.Pools()[0].Upstreams[0].State; got != c.want {
				t.Errorf("%s it is %s, want %s", when, got, c.want)
			}
			p.answered(p.upstreams[0], 200, time.Now(), false)
		}
	}
}

// TestADrainIsOfAServer: also what it has from before a reload goes by then.
func TestADrainIsOfAServer(t *testing.T) {
	p, old, _ := replacing(t, otherTimeouts)
	if _, err := p.set("a", Draining, time.Minute); err != nil {
		t.Fatal(err)
	}
	if left := time.Until(old.drainEnds); left > time.Minute {
		t.Errorf("its upgraded connections stay for %s", left)
	}
	p, old, _ = replacing(t, otherServer)
	if _, err := p.set("a", Draining, time.Minute); err != nil {
		t.Fatal(err)
	}
	if left := time.Until(old.drainEnds); left < 59*time.Minute {
		t.Errorf("another server's drain ends its own after %s", left)
	}
}

// TestWhatIsRemovedEndsAlsoWhereItWasDisabled: nobody can reach its upgraded
// connections any more but by their end.
func TestWhatIsRemovedEndsAlsoWhereItWasDisabled(t *testing.T) {
	b := New(Options{Metrics: NewMetrics(prometheus.NewRegistry()), Secret: make([]byte, 32)})
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	c := PoolConfig{Name: "web", Upstreams: []UpstreamConfig{{ID: "a", URL: "http://127.0.0.1:1"}, {ID: "b", URL: "http://127.0.0.1:2"}}}
	b.Load(Config{Pools: []PoolConfig{c}})
	p := b.table.Load().pools[0]
	u := p.upstreams[0]
	u.take()
	upgraded := p.switched(u, 1)
	if _, err := b.Set("web", "a", Disabled, 0); err != nil {
		t.Fatal(err)
	}
	sweep := func(after time.Duration) error {
		p.sweep(time.Now().Add(after))
		return upgraded.Err()
	}
	if sweep(24*time.Hour) != nil {
		t.Error("to disable it ends what runs there")
	}
	c.Upstreams = c.Upstreams[1:]
	b.Load(Config{Pools: []PoolConfig{c}})
	if sweep(59*time.Minute) != nil {
		t.Error("it ends before the pool's drain")
	}
	if sweep(61*time.Minute) == nil {
		t.Error("it stays for ever")
	}
	if state := u.state(p, time.Now()).State; state != "disabled" {
		t.Errorf("it is %s", state)
	}
}

// TestAnOldCheckSaysNothing: its result may come when it was replaced already.
func TestAnOldCheckSaysNothing(t *testing.T) {
	b := New(Options{Metrics: NewMetrics(prometheus.NewRegistry()), Secret: make([]byte, 32)})
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	b.Load(Config{Pools: []PoolConfig{{Name: "web", Upstreams: []UpstreamConfig{{ID: "a", URL: "http://127.0.0.1:1"}}}}})
	p := b.table.Load().pools[0]
	u := p.upstreams[0]
	checker, replace := context.WithCancel(t.Context())
	p.reported(checker, u, true, Answer{Weighted: true, Weight: 7})
	replace()
	p.reported(checker, u, true, Answer{Drain: true})
	p.turned(checker, u, false, "late")
	if got := u.state(p, time.Now()).State; got != "up" || u.asked != 7 || u.leaving {
		t.Errorf("%s with the weight %d, leaving: %t", got, u.asked, u.leaving)
	}
}

// TestWithoutChecksNothingIsAskedFor: nobody would hear that it is taken back.
func TestWithoutChecksNothingIsAskedFor(t *testing.T) {
	leaving := startServer(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set(headerDrain, "1") })
	c := onePool(func(p *PoolConfig) { p.Health = HealthConfig{Path: "/", Interval: 20 * time.Millisecond} }, leaving)
	e := startEdge(t, c)
	eventually(t, "it asks to be drained", func() bool { return e.Pools()[0].Upstreams[0].State == "draining" })
	c.Pools[0].Health = HealthConfig{}
	e.Load(c)
	if got := e.Pools()[0].Upstreams[0]; got.State != "up" {
		t.Errorf("it is %s: %s", got.State, got.Reason)
	}
}

// TestMetricsOfAnUpstreamAreOneNumber: what a reload has left to its predecessor is
// told with its own.
func TestMetricsOfAnUpstreamAreOneNumber(t *testing.T) {
	p, _, _ := replacing(t, otherTimeouts)
	acquired(t, p, &wish{tried: []*upstream{p.upstreams[1]}})
	want := `# HELP streamspace_upstream_requests_in_flight Requests that the upstream is answering now.
# TYPE streamspace_upstream_requests_in_flight gauge
streamspace_upstream_requests_in_flight{pool="web",upstream="a"} 2
streamspace_upstream_requests_in_flight{pool="web",upstream="b"} 0
`
	if err := testutil.CollectAndCompare(gauges{p.b.options.Metrics}, strings.NewReader(want), "streamspace_upstream_requests_in_flight"); err != nil {
		t.Error(err)
	}
}
