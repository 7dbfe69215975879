package balancer

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/accesslog"
	"github.com/streamspace-dev/streamspace-edge/proxy/reactor"
	"github.com/streamspace-dev/streamspace-edge/store"
)

// Options are what a Balancer works with.
type Options struct {
	Log     *zap.Logger
	Metrics *Metrics          // NewMetrics(prometheus.Registerer)
	Reactor *reactor.Reactor  // carries upgraded connections; the caller closes it after Close
	Secret  []byte            // of the affinity cookies; the same on every edge
	Changed func(pool string) // optional: an upstream's state is another one
	Access  *accesslog.Log    // nil: off; the caller closes it after Close
	// Unread is told of a client's connection on which a request was answered, or
	// is about to be, before its end was read. nil: nobody is.
	Unread func(client net.Conn)
	// Take counts for rate limits, as store.Coord does. nil: this process alone
	// counts.
	Take func(ctx context.Context, bucket string, r store.Rate) (store.Taken, error)
}

// Balancer sends requests to the upstreams of pools. Its methods are safe for
// concurrent use.
type Balancer struct {
	options  Options
	log      *zap.Logger
	buffers  *buffers
	visits   visits
	warnings warnings

	servings sync.Pool // of requests that are over, to be used again

	ctx     context.Context // of everything that it starts
	cancel  context.CancelCauseFunc
	running sync.WaitGroup // health checks, upgraded connections, the sweep

	entering sync.Mutex
	closing  bool // guarded by entering

	loading sync.Mutex // one Load at a time
	table   atomic.Pointer[table]
	retired atomic.Pointer[[]*pool] // not in the table any more, but with clients; changed under loading
	told    map[place]bool          // has series in the metrics; guarded by loading
	stale   bool                    // something has gone of which they tell; guarded by loading
}

// table is what a config comes to. It is not changed.
type table struct {
	routes  []Route
	pools   []*pool // in the config's order
	trusted []netip.Prefix
	limits  []*limit
}

// sweepEvery is how often clients that left, idle connections and drains are
// looked for.
const sweepEvery = 500 * time.Millisecond

// New makes a Balancer without routes. Close ends it.
func New(o Options) *Balancer {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Unread == nil {
		o.Unread = func(net.Conn) {}
	}
	if o.Take == nil {
		o.Take = store.NewLocal().Take
	}
	b := &Balancer{options: o, log: o.Log, buffers: newBuffers(), told: map[place]bool{}}
	b.ctx, b.cancel = context.WithCancelCause(context.Background())
	b.table.Store(&table{})
	b.retired.Store(new([]*pool))
	o.Metrics.of.Store(b)
	b.running.Go(b.sweep)
	return b
}

// Route finds the way of a request; nil when the config has none for it. One that
// Expect has begun with keeps its way.
func (b *Balancer) Route(ctx *fasthttp.RequestCtx) *Route {
	if s, ok := ctx.UserValue(expecting{}).(*serving); ok {
		return s.route
	}
	t := b.table.Load()
	if len(t.routes) == 0 {
		return nil
	}
	return matchRoute(t.routes, ctx.Host(), ctx.Path())
}

// Trusted tells whether addr is that of a proxy whose words about a client count.
func (b *Balancer) Trusted(addr netip.Addr) bool {
	return slices.ContainsFunc(b.table.Load().trusted, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// Load goes over to a valid config at once. What it does not change stays as it
// is: upstreams keep their requests, connections, health and settings. One that
// is not in it any more drains.
func (b *Balancer) Load(c Config) {
	b.loading.Lock()
	defer b.loading.Unlock()
	old := b.table.Load()
	next := &table{trusted: c.Trusted, limits: b.newLimits(c.RateLimits)}
	named := map[string]*pool{}
	for _, config := range c.Pools {
		config = config.withDefaults()
		p := old.pool(config.Name)
		if p == nil {
			p = b.newPool(config.Name)
		}
		p.load(config)
		named[config.Name] = p
		next.pools = append(next.pools, p)
	}
	for _, r := range c.Routes {
		next.routes = append(next.routes, Route{
			host: strings.ToLower(r.Host), path: r.Path, pool: named[r.Pool],
			name: r.label(), metrics: b.options.Metrics.route(r.label()), limits: b.newLimits(r.RateLimits),
		})
	}
	sortRoutes(next.routes)
	b.table.Store(next)
	gone := slices.Clone(*b.retired.Load())
	for _, p := range old.pools {
		if named[p.name] != p {
			p.retire()
			gone = append(gone, p)
		}
	}
	b.retired.Store(&gone)
	for _, r := range old.routes {
		if !slices.ContainsFunc(next.routes, func(n Route) bool { return n.name == r.name }) {
			b.options.Metrics.forgetRoute(r.name)
		}
	}
	for name := range old.limitNames() {
		if !next.limitNames()[name] {
			b.options.Metrics.limited.DeleteLabelValues(name)
		}
	}
	b.forgetGone()
}

// limitNames are those of all rate limits.
func (t *table) limitNames() map[string]bool {
	names := map[string]bool{}
	for _, l := range t.limits {
		names[l.name] = true
	}
	for _, r := range t.routes {
		for _, l := range r.limits {
			names[l.name] = true
		}
	}
	return names
}

func (b *Balancer) sweepPools(now time.Time) {
	b.loading.Lock()
	defer b.loading.Unlock()
	for _, p := range b.table.Load().pools {
		p.sweep(now)
	}
	if retired := *b.retired.Load(); len(retired) > 0 {
		stay := slices.DeleteFunc(slices.Clone(retired), func(p *pool) bool { return p.sweep(now) })
		b.retired.Store(&stay)
	}
	if b.stale {
		b.stale = false
		b.forgetGone()
	}
}

func (t *table) pool(name string) *pool {
	for _, p := range t.pools {
		if p.name == name {
			return p
		}
	}
	return nil
}

func (b *Balancer) sweep() {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-b.ctx.Done():
			return
		case now := <-tick.C:
			b.visits.abortLeft(now)
			b.tellMissed(now)
			b.sweepPools(now)
		}
	}
}

// Drain waits until all that it serves has ended, upgraded connections too, or
// ctx ends.
func (b *Balancer) Drain(ctx context.Context) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for b.Active() > 0 {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// enter counts one that Close waits for; it calls running.Done. After Close
// there is none.
func (b *Balancer) enter() bool {
	b.entering.Lock()
	defer b.entering.Unlock()
	if b.closing {
		return false
	}
	b.running.Add(1)
	return true
}

// Active is how many requests and upgraded connections it serves now.
func (b *Balancer) Active() int { return b.visits.count() }

// Close ends the upgraded connections and waits for all that it started. The
// server must take no more requests.
func (b *Balancer) Close(ctx context.Context) error {
	b.entering.Lock()
	b.closing = true
	b.entering.Unlock()
	b.cancel(errClosing)
	done := make(chan struct{})
	go func() {
		b.running.Wait()
		close(done)
	}()
	b.loading.Lock()
	for _, p := range slices.Concat(b.table.Load().pools, *b.retired.Load()) {
		p.close()
	}
	b.loading.Unlock()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
