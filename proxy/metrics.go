package proxy

import "github.com/prometheus/client_golang/prometheus"

// Metrics are the numbers of the viewer path.
type Metrics struct {
	active  prometheus.Gauge
	streams *prometheus.CounterVec
	in, out prometheus.Counter
	open    prometheus.Histogram

	response, gap, rtt prometheus.Histogram
	stalls             prometheus.Counter
}

// NewMetrics registers the metrics with r. A nil r keeps them to themselves.
func NewMetrics(r prometheus.Registerer) *Metrics {
	bytes := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "streamspace_vnc_bytes_total",
		Help: "Bytes of RFB that were relayed, without WebSocket framing.",
	}, []string{"direction"})
	m := &Metrics{
		active: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "streamspace_vnc_connections_active",
			Help: "Viewers that are connected now.",
		}),
		streams: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "streamspace_vnc_streams_total",
			Help: "Streams that ended and viewers that were refused, by reason.",
		}, []string{"reason"}),
		in:  bytes.WithLabelValues("viewer_to_server"),
		out: bytes.WithLabelValues("server_to_viewer"),
		open: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "streamspace_vnc_open_seconds",
			Help:    "From a viewer's request to the desktop's first bytes after both greetings.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 20},
		}),
	}
	felt := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: name, Help: help, Buckets: prometheus.ExponentialBuckets(.001, 2, 12),
		})
	}
	m.response = felt("streamspace_vnc_response_seconds", "From a viewer's key or pointer event to the desktop's next bytes.")
	m.gap = felt("streamspace_vnc_update_gap_seconds", "Between two updates of a desktop, up to 2 s.")
	m.rtt = felt("streamspace_vnc_rtt_seconds", "From a WebSocket ping to the viewer's answer.")
	m.stalls = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "streamspace_vnc_stalls_total",
		Help: "Times that a viewer took nothing although there was something for it.",
	})
	for _, info := range reasons {
		m.streams.WithLabelValues(string(info.Reason))
	}
	if r != nil {
		r.MustRegister(m.active, m.streams, bytes, m.open, m.response, m.gap, m.rtt, m.stalls)
	}
	return m
}
