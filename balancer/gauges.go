package balancer

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// gauges tells what a Balancer has at the moment it is asked, so that requests
// keep no gauges and what was removed is not told.
type gauges struct{ *Metrics }

// Describe tells nothing: which series there are depends on the config.
func (gauges) Describe(chan<- *prometheus.Desc) {}

// states are all that UpstreamState.State may be.
var states = [...]string{"up", "down", "ejected", "draining", "disabled"}

func (g gauges) Collect(to chan<- prometheus.Metric) {
	b := g.of.Load()
	if b == nil {
		return
	}
	tell := func(name, help string, value int, labels prometheus.Labels) {
		to <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, nil, labels), prometheus.GaugeValue, float64(value))
	}
	told := map[place]bool{}
	for _, p := range slices.Concat(b.table.Load().pools, *b.retired.Load()) {
		p.gauge(time.Now(), told, tell)
	}
}

// gauge tells what nobody has told yet of the pool and its upstreams: one that
// was removed may have the name of one that was added since. What upstreams of one
// id have is one number.
func (p *pool) gauge(now time.Time, told map[place]bool, tell func(name, help string, value int, labels prometheus.Labels)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at := (place{pool: p.name}); !told[at] {
		told[at] = true
		panics := 0
		if p.trust.panics {
			panics = 1
		}
		tell("streamspace_pool_panic", "1 while so many upstreams of the pool are down that all are used, else 0.", panics, prometheus.Labels{"pool": p.name})
		tell("streamspace_pool_queue_length", "Requests that wait for a place at an upstream of the pool.", len(p.waiting), prometheus.Labels{"pool": p.name})
	}
	for i, u := range p.upstreams { // those of the config come first
		at := place{p.name, u.id}
		if told[at] {
			continue
		}
		told[at] = true
		requests, upgraded, idle := 0, 0, 0
		for _, same := range p.upstreams[i:] {
			if same.id == u.id {
				requests += same.active - same.upgraded
				upgraded += same.upgraded
				idle += same.links.waiting()
			}
		}
		labels := prometheus.Labels{"pool": p.name, "upstream": u.id}
		tell("streamspace_upstream_requests_in_flight", "Requests that the upstream is answering now.", requests, labels)
		tell("streamspace_upstream_upgraded_connections", "Upgraded connections to the upstream that are open now.", upgraded, labels)
		tell("streamspace_upstream_idle_connections", "Connections to the upstream that wait for a request.", idle, labels)
		now := u.state(p, now).State
		for _, state := range states {
			is := 0
			if state == now {
				is = 1
			}
			tell("streamspace_upstream_state", "1 for the state that the upstream is in, 0 for the others.", is,
				prometheus.Labels{"pool": p.name, "upstream": u.id, "state": state})
		}
	}
}

// place is what a series is about: a pool, or one of its upstreams.
type place struct{ pool, upstream string }

// forgetGone drops the series of pools and upstreams that are no more. b.loading
// is held.
func (b *Balancer) forgetGone() {
	here := map[place]bool{}
	for _, pools := range [][]*pool{b.table.Load().pools, *b.retired.Load()} {
		for _, p := range pools {
			here[place{p.name, ""}] = true
			for _, u := range p.state(time.Now()).Upstreams {
				here[place{p.name, u.ID}] = true
			}
		}
	}
	for at := range b.told {
		if here[at] {
			continue
		}
		if at.upstream == "" {
			b.options.Metrics.forgetPool(at.pool)
		} else {
			b.options.Metrics.forgetUpstream(at.pool, at.upstream)
		}
	}
	clear(b.told)
	for at := range here {
		b.told[at] = true
	}
}
