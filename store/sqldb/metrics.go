package sqldb

import (
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are those of a DB on PostgreSQL. One DB at a time uses them.
type Metrics struct {
	registerer prometheus.Registerer
	queries    *prometheus.HistogramVec // by target
	retries    *prometheus.CounterVec   // by target
	refused    *prometheus.CounterVec   // by target
	reads      *prometheus.CounterVec   // by target
}

// What a query goes to, as the metrics have it.
const (
	targetPrimary = "primary"
	targetReplica = "replica"
)

// NewMetrics registers the metrics; a nil registerer keeps them to themselves.
func NewMetrics(r prometheus.Registerer) *Metrics {
	if r == nil {
		r = prometheus.NewRegistry()
	}
	target := []string{"target"}
	m := &Metrics{
		registerer: r,
		queries: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "streamspace_store_query_seconds", Help: "From a call's wish for a connection to the database's last answer, each attempt on its own.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}, target),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "streamspace_store_retries_total", Help: "Attempts that were repeated because the database had certainly written nothing.",
		}, target),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "streamspace_store_refused_total", Help: "Calls that failed at once because the database counts as gone.",
		}, target),
		reads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "streamspace_store_reads_total", Help: "Reads outside of transactions.",
		}, target),
	}
	r.MustRegister(m.queries, m.retries, m.refused, m.reads)
	return m
}

// watch serves the gauges of a pool.
func (m *Metrics) watch(p *pgPool) (forget func()) {
	labels := prometheus.Labels{"target": p.target}
	for _, vec := range []*prometheus.CounterVec{m.retries, m.refused, m.reads} {
		vec.WithLabelValues(p.target)
	}
	m.queries.WithLabelValues(p.target)
	return m.register(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "streamspace_store_connections_in_use", Help: "Connections that calls have now.", ConstLabels: labels,
		}, func() float64 { return float64(p.slots.inUse()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "streamspace_store_connections_open", Help: "Connections that are open, in use or not.", ConstLabels: labels,
		}, func() float64 { return float64(p.pool.Stat().TotalConns()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "streamspace_store_waiting", Help: "Calls that wait for a connection.", ConstLabels: labels,
		}, func() float64 { return float64(p.slots.waiting.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "streamspace_store_unavailable", Help: "1 while the database counts as gone and calls fail at once, else 0.", ConstLabels: labels,
		}, func() float64 {
			if p.breaker.isOpen() {
				return 1
			}
			return 0
		}),
	)
}

// watchLag serves the lag of a replica.
func (m *Metrics) watchLag(r *replica) (forget func()) {
	return m.register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "streamspace_store_replica_lag_seconds", Help: "How far the replica may be behind the primary; +Inf when nothing is known of it.",
	}, func() float64 {
		if lag := r.lag(time.Now()); lag != unknownLag {
			return lag.Seconds()
		}
		return math.Inf(1)
	}))
}

// watchClock serves how far this host's clock is off.
func (m *Metrics) watchClock(c *clock) (forget func()) {
	return m.register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "streamspace_store_clock_offset_seconds", Help: "How far this host's clock is ahead of the database's; negative: behind.",
	}, func() float64 { return -c.measured().Seconds() }))
}

func (m *Metrics) register(gauges ...prometheus.Collector) (forget func()) {
	m.registerer.MustRegister(gauges...)
	return func() {
		for _, g := range gauges {
			m.registerer.Unregister(g)
		}
	}
}
