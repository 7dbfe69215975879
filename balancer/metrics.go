package balancer

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// Metrics are a Balancer's.
type Metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	retries  *prometheus.CounterVec
	changes  *prometheus.CounterVec
}

// NewMetrics registers them with r.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "streamspace_http_requests_total", Help: "Requests to pools, by pool, upstream (empty: none served it) and the first digit of the status.",
		}, []string{"pool", "upstream", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "streamspace_http_request_duration_seconds", Help: "From a request's coming to the end of its answer, by pool.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60},
		}, []string{"pool"}),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "streamspace_http_retries_total", Help: "Requests that were sent again, by pool.",
		}, []string{"pool"}),
		changes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "streamspace_upstream_changes_total", Help: "Changes of upstreams' states, by pool, upstream and what it changed to.",
		}, []string{"pool", "upstream", "to"}),
	}
	r.MustRegister(m.requests, m.duration, m.retries, m.changes)
	return m
}

// record tells the metrics and the log of a request that is over.
func (b *Balancer) record(s *serving) {
	m, upstream := b.options.Metrics, ""
	if s.upstream != nil {
		upstream = s.upstream.id
	}
	m.requests.WithLabelValues(s.pool.name, upstream, strconv.Itoa(s.status/100)+"xx").Inc()
	m.duration.WithLabelValues(s.pool.name).Observe(time.Since(s.began).Seconds())
	if s.attempts > 0 {
		m.retries.WithLabelValues(s.pool.name).Add(float64(s.attempts))
	}
	if s.refused != nil {
		b.log.Warn("request refused", zap.String("request", s.id), zap.String("pool", s.pool.name), zap.String("upstream", upstream),
			zap.Int("status", s.status), zap.String("code", s.refused.code), zap.Error(s.refused.cause))
	}
}
