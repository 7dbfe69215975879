package cluster

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics of a Cluster.
type Metrics struct {
	nodes   *prometheus.GaugeVec
	ignored prometheus.Counter
}

// NewMetrics makes the metrics and registers them; with a nil r they are kept
// but not registered.
func NewMetrics(r prometheus.Registerer) *Metrics {
	f := promauto.With(r)
	return &Metrics{
		nodes: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "streamspace_cluster_nodes",
			Help: "Edges that have a lease, by whether they answer; this one too.",
		}, []string{"health"}),
		ignored: f.NewCounter(prometheus.CounterOpts{
			Name: "streamspace_cluster_ignored_leases_total",
			Help: "Leases of edges that were not believed: forged, or not of this cluster.",
		}),
	}
}
