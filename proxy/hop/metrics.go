package hop

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/streamspace-dev/streamspace-edge/proxy/tunnel"
)

// Metrics of a Hop.
type Metrics struct {
	active  prometheus.Gauge
	dials   *prometheus.CounterVec
	dialFor prometheus.Histogram
	serves  *prometheus.CounterVec
}

// NewMetrics makes the metrics and registers them; with a nil r they are kept
// but not registered.
func NewMetrics(r prometheus.Registerer) *Metrics {
	f := promauto.With(r)
	return &Metrics{
		active: f.NewGauge(prometheus.GaugeOpts{
			Name: "streamspace_hop_streams_active",
			Help: "Streams that this edge carries for viewers of other edges.",
		}),
		dials: f.NewCounterVec(prometheus.CounterOpts{
			Name: "streamspace_hop_dials_total",
			Help: "Streams asked of other edges, by result: ok, refused, unreachable, given_up.",
		}, []string{"result"}),
		dialFor: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "streamspace_hop_dial_duration_seconds",
			Help:    "Time from asking another edge for a stream to the stream, successful ones only.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}),
		serves: f.NewCounterVec(prometheus.CounterOpts{
			Name: "streamspace_hop_serves_total",
			Help: "Streams that other edges asked for, by result: ok, refused (by the agent, or while draining), unauthorized.",
		}, []string{"result"}),
	}
}

func (m *Metrics) dialled(err error, took time.Duration) {
	var unreachable *Unreachable
	var refused *tunnel.Error
	result := "given_up"
	switch {
	case err == nil:
		result = "ok"
		m.dialFor.Observe(took.Seconds())
	case errors.As(err, &unreachable):
		result = "unreachable"
	case errors.As(err, &refused):
		result = "refused"
	}
	m.dials.WithLabelValues(result).Inc()
}

func (m *Metrics) served(err error) {
	var refused *tunnel.Error
	result := "ok"
	switch {
	case errors.As(err, &refused) && refused.Code == tunnel.CodeUnauthorized:
		result = "unauthorized"
	case err != nil:
		result = "refused"
	}
	m.serves.WithLabelValues(result).Inc()
}
