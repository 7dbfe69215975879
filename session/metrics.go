package session

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// Metrics is what a Manager tells Prometheus.
type Metrics struct {
	sessions    *prometheus.GaugeVec
	ended       *prometheus.CounterVec
	agentActive *prometheus.GaugeVec
	agentBeat   *prometheus.GaugeVec
	start       prometheus.Histogram
	placements  *prometheus.CounterVec
}

// Results of a placement, values of the label of that name.
const (
	placed  = "placed"
	noAgent = "no_agent" // nobody was eligible
	refused = "refused"  // the chosen agent would not or could not start it
)

// NewMetrics makes and registers the metrics.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		sessions: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "streamspace_sessions", Help: "Sessions that have not ended, by state."}, []string{"state"}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "streamspace_sessions_ended_total", Help: "Sessions that ended, by how: terminated as asked, or failed."}, []string{"state"}),
		agentActive: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "streamspace_agent_sessions_active", Help: "Sessions that take room on the agent."}, []string{"agent"}),
		agentBeat: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "streamspace_agent_heartbeat_last_seen", Help: "When the agent was last heard of, in seconds since 1970."}, []string{"agent"}),
		start: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "streamspace_session_start_seconds", Help: "From the request for a session to its running desktop.",
			Buckets: []float64{.1, .25, .5, 1, 2, 3, 5, 10, 20, 30, 60, 120}}),
		placements: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "streamspace_session_placements_total", Help: "Attempts to find an agent for a session, by result: placed, no_agent, refused."}, []string{"result"}),
	}
	r.MustRegister(m.sessions, m.ended, m.agentActive, m.agentBeat, m.start, m.placements)
	for _, state := range store.States() {
		if state == store.Terminated || state == store.Failed {
			m.ended.WithLabelValues(string(state))
		} else {
			m.sessions.WithLabelValues(string(state))
		}
	}
	for _, result := range []string{placed, noAgent, refused} {
		m.placements.WithLabelValues(result)
	}
	return m
}

func (m *Metrics) forgetAgent(id string) {
	m.agentActive.DeleteLabelValues(id)
	m.agentBeat.DeleteLabelValues(id)
}

func (m *Metrics) heard(agentID string, at time.Time) {
	m.agentBeat.WithLabelValues(agentID).Set(float64(at.UnixMilli()) / 1000)
}
