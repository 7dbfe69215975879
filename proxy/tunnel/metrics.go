package tunnel

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics of a Hub.
type Metrics struct {
	agents  prometheus.Gauge
	streams prometheus.Gauge
	spares  prometheus.Gauge
	rehomes prometheus.Counter
	opens   *prometheus.CounterVec
	openFor prometheus.Histogram
}

// NewMetrics makes the metrics and registers them; with a nil r they are kept
// but not registered.
func NewMetrics(r prometheus.Registerer) *Metrics {
	f := promauto.With(r)
	return &Metrics{
		agents: f.NewGauge(prometheus.GaugeOpts{
			Name: "streamspace_tunnel_agents",
			Help: "Agents with a tunnel to this edge.",
		}),
		streams: f.NewGauge(prometheus.GaugeOpts{
			Name: "streamspace_tunnel_streams_active",
			Help: "Streams between this edge and its connected agents, as the agents count them at each heartbeat.",
		}),
		spares: f.NewGauge(prometheus.GaugeOpts{
			Name: "streamspace_tunnel_spares",
			Help: "Idle stream connections that are ready to be opened.",
		}),
		rehomes: f.NewCounter(prometheus.CounterOpts{
			Name: "streamspace_tunnel_rehomes_total",
			Help: "Times that a connected agent was told other homes than before.",
		}),
		opens: f.NewCounterVec(prometheus.CounterOpts{
			Name: "streamspace_tunnel_opens_total",
			Help: "Streams asked of agents, by result: ok or the code of the failure.",
		}, []string{"result"}),
		openFor: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "streamspace_tunnel_open_duration_seconds",
			Help:    "Time from asking for a stream to its first byte being possible, successful opens only.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}),
	}
}

func (m *Metrics) opened(err error, took time.Duration) {
	result := "ok"
	var coded *Error
	switch {
	case errors.As(err, &coded):
		result = string(coded.Code)
		if coded.Code.closeStatus() < firstStatus {
			result = "other" // an agent's own word must not become a label
		}
	case err != nil:
		result = "other"
	default:
		m.openFor.Observe(took.Seconds())
	}
	m.opens.WithLabelValues(result).Inc()
}
