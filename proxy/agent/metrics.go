package agent

import "github.com/prometheus/client_golang/prometheus"

// Metrics are the numbers of an agent's sessions.
type Metrics struct {
	sessions     prometheus.Gauge
	starts       *prometheus.CounterVec
	startSeconds prometheus.Histogram
}

// NewMetrics registers the metrics with r. A nil r keeps them to themselves.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		sessions: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "streamspace_agent_host_sessions",
			Help: "Sessions that take room on this agent now.",
		}),
		starts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "streamspace_agent_session_starts_total",
			Help: "Starts of sessions on this agent, by runtime and outcome.",
		}, []string{"runtime", "outcome"}),
		startSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "streamspace_agent_session_start_seconds",
			Help:    "From an accepted start to a VNC server that greets.",
			Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 20},
		}),
	}
	if r != nil {
		r.MustRegister(m.sessions, m.starts, m.startSeconds)
	}
	return m
}
