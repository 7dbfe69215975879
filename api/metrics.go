package api

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the numbers of the API and the console.
type Metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	inFlight prometheus.Gauge
	streams  prometheus.Gauge
}

// NewMetrics registers the metrics with r. A nil r keeps them to themselves.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "streamspace_api_requests_total",
			Help: "Requests that were answered, by route, method and HTTP status.",
		}, []string{"route", "method", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "streamspace_api_request_duration_seconds",
			Help:    "From a request's arrival to the end of its answer; event streams are left out.",
			Buckets: []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 20},
		}, []string{"route"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "streamspace_api_requests_in_flight",
			Help: "Requests that are being answered now, without event streams.",
		}),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "streamspace_api_event_streams",
			Help: "Clients that listen to events now.",
		}),
	}
	if r != nil {
		r.MustRegister(m.requests, m.duration, m.inFlight, m.streams)
	}
	return m
}

func codeName(status int) string { return strconv.Itoa(status) }
