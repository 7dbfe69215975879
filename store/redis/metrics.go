package redis

import "github.com/prometheus/client_golang/prometheus"

// Metrics are those of a Coord over Redis.
type Metrics struct {
	connected prometheus.Gauge
	duration  *prometheus.HistogramVec
	errors    *prometheus.CounterVec
	resyncs   *prometheus.CounterVec
}

// NewMetrics registers them; once for each registerer.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		connected: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "streamspace_coord_connected", Help: "1 while Redis answers this edge, else 0.",
		}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "streamspace_coord_request_duration_seconds", Help: "From a request to Redis to its answer or its failure.",
			Buckets: []float64{.0002, .0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1},
		}, []string{"request"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "streamspace_coord_errors_total", Help: "Requests to Redis that failed, or were not made because it was away.",
		}, []string{"request"}),
		resyncs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "streamspace_coord_resyncs_total", Help: "Times that events of other edges were lost, so that all was read again.",
		}, []string{"reason"}),
	}
	for _, request := range []string{"generation", "hold", "keep", "leases", "leave", "look", "place", "places", "publish", "release", "take"} {
		m.errors.WithLabelValues(request)
		m.duration.WithLabelValues(request)
	}
	for _, reason := range []string{resyncReconnect, resyncGap} {
		m.resyncs.WithLabelValues(reason)
	}
	r.MustRegister(m.connected, m.duration, m.errors, m.resyncs)
	return m
}
