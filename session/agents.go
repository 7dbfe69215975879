package session

import (
	"context"
	"maps"
	"time"

	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// ObservedState is a session's state as its agent sees it.
type ObservedState string

// The words are those of the tunnel's reports.
const (
	ObservedStarting ObservedState = "starting"
	ObservedRunning  ObservedState = "running"
	ObservedEnded    ObservedState = "ended"
	ObservedFailed   ObservedState = "failed"
	ObservedStopping ObservedState = "stopping"
)

// adoptable tells whether the agent has it and will have it running: it was
// told to start it although the edge did not learn of that.
func adoptable(s ObservedState) bool {
	return s == ObservedStarting || s == ObservedRunning
}

// over tells whether nothing of it is left at the agent.
func (s ObservedState) over() bool { return s == ObservedEnded || s == ObservedFailed }

// Observed is what an agent says of one session.
type Observed struct {
	Session string
	State   ObservedState
	Reason  string // in words for a person; may be empty

	Endpoint string // the name of the VNC server that the session was given; empty: it has no name of its own
	Lost     bool   // failed, because the agent heard of no edge within Lease
}

// alive tells whether there is something at the agent that could be stopped.
func alive(s ObservedState) bool {
	return s == ObservedStarting || s == ObservedRunning || s == ObservedStopping
}

// link is what is known of one agent since Run. Guarded by Manager.mu.
type link struct {
	generation uint64 // of the newest tunnel
	up         bool
	left       bool      // it went for good, or is removed while it is away
	removing   bool      // to be deleted once its sessions have ended
	why        string    // not up: in words
	since      time.Time // not up: since when

	reports map[string]*report // by session: what runs there, as told in this generation, and what ended there and no look has taken in

	beat, beatStored time.Time
	commands         int // under way
}

type report struct {
	Observed
	assumed    bool      // not the agent's word: it was told to start
	unanswered bool      // assumed: it may not have heard that
	untold     bool      // it is what the agent said as it connected, and no event told that it is back
	stopped    time.Time // when a stop for it was acked
}

// AgentUp says that an agent has a tunnel, and everything that runs there now.
// A generation that is not newer than the one before changes nothing, here and
// below.
func (m *Manager) AgentUp(a *store.Agent, generation uint64, running []Observed) {
	m.mu.Lock()
	l := m.links[a.ID]
	if l == nil {
		l = m.link(a.ID)
	}
	if l.generation >= generation && l.generation != 0 {
		m.mu.Unlock()
		return
	}
	m.know(a)
	l.generation, l.up, l.left, l.why, l.beat = generation, true, false, "", time.Now()
	// To a session whose agent could be reached all the time it has not come back.
	reached, known := m.reached[a.ID]
	back := !m.clustered() || known && !reached || !m.o.Reachable(a.ID)
	before := l.reports
	l.reports = make(map[string]*report, min(len(running), maxReported))
	for _, o := range running {
		m.note(l, a.ID, o)
		if r := l.reports[o.Session]; r != nil {
			r.untold = back
		}
	}
	for id, r := range before { // an end is not told twice
		if r.State.over() && l.reports[id] == nil {
			m.note(l, a.ID, r.Observed)
		}
	}
	m.o.Metrics.agentActive.WithLabelValues(a.ID).Set(float64(m.member(a.ID).active))
	m.o.Metrics.heard(a.ID, m.storeNow())
	m.kickPlacedOn(a.ID)
	m.kickWaiting()
	m.mu.Unlock()

	m.o.Log.Info("agent up", zap.String("agent", a.ID), zap.String("name", a.Name), zap.Uint64("generation", generation), zap.Int("sessions", len(running)))
	m.publishAgent(a.ID, m.AgentStatus(a))
}

// AgentState says that a session changed at its agent.
func (m *Manager) AgentState(agentID string, generation uint64, o Observed) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.current(agentID, generation)
	if l == nil {
		return
	}
	m.note(l, agentID, o)
}

// note keeps an agent's word on a session. m.mu is held.
func (m *Manager) note(l *link, agentID string, o Observed) {
	r := l.reports[o.Session]
	if r == nil {
		if len(l.reports) >= maxReported {
			m.o.Log.Warn("an agent reports too many sessions; this one is not taken in",
				zap.String("agent", agentID), zap.String("session", o.Session), zap.Int("limit", maxReported))
			return
		}
		r = &report{}
		l.reports[o.Session] = r
	}
	r.Observed, r.assumed, r.unanswered = o, false, false
	m.queue.kick(o.Session)
}

// AgentBeat says that the agent's tunnel works.
func (m *Manager) AgentBeat(agentID string, generation uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l := m.current(agentID, generation); l != nil {
		l.beat = time.Now()
		m.o.Metrics.heard(agentID, m.storeNow())
	}
}

// AgentDown says that the tunnel of this generation has ended. final: the
// agent left for good and its sessions with it; otherwise they may still run,
// and viewers that are attached stay.
func (m *Manager) AgentDown(agentID string, generation uint64, reason string, final bool) {
	m.mu.Lock()
	l := m.current(agentID, generation)
	if l == nil {
		m.mu.Unlock()
		return
	}
	l.up, l.left, l.since = false, final || l.removing, time.Now()
	// What ended there has ended, also when no look has taken it in yet; what ran
	// may end unseen.
	maps.DeleteFunc(l.reports, func(_ string, r *report) bool { return !r.State.over() })
	l.why = "its agent is away: " + reason
	if final {
		l.why = "its agent left: " + reason
	}
	m.kickPlacedOn(agentID)
	m.mu.Unlock()

	m.o.Log.Info("agent down", zap.String("agent", agentID), zap.Uint64("generation", generation), zap.String("reason", reason), zap.Bool("final", final))
	if !m.reachable(agentID) {
		m.publishAgent(agentID, store.AgentOffline)
	}
}

// current is the agent's link when generation is that of its tunnel, else nil.
// m.mu is held.
func (m *Manager) current(agentID string, generation uint64) *link {
	if l := m.links[agentID]; l != nil && l.up && l.generation == generation {
		return l
	}
	return nil
}

// AgentStatus is what the edge knows of an agent now, whichever edge it is
// connected to.
func (m *Manager) AgentStatus(a *store.Agent) store.AgentStatus {
	switch {
	case !m.reachable(a.ID):
		return store.AgentOffline
	case a.Draining:
		return store.AgentDraining
	default:
		return store.AgentOnline
	}
}

func (m *Manager) connected(agentID string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.links[agentID]
	return l != nil && l.up
}

// LastHeartbeat is when this edge last heard of the agent: newer than what is
// stored, which is written once a minute.
func (m *Manager) LastHeartbeat(a *store.Agent) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l := m.links[a.ID]; l != nil {
		return latest(a.LastHeartbeat, there(l.beat, time.Now(), m.o.Store.ClockAhead()))
	}
	return a.LastHeartbeat
}

// Active is how many sessions take room on the agent.
func (m *Manager) Active(agentID string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if a := m.members[agentID]; a != nil {
		return a.active
	}
	return 0
}

// reach tells whether the agent can be told something, since when not, and
// why. m.mu is held.
func (m *Manager) reach(agentID string) (r reach, since time.Time, why string) {
	l := m.links[agentID]
	grace := m.started.Add(connectGrace)
	switch {
	case l != nil && l.up:
		return up, time.Time{}, ""
	case m.clustered() && m.noteReach(agentID):
		return elsewhere, time.Now().Add(elsewhereAgain), ""
	case l != nil && l.left:
		return left, l.since, l.why
	case l != nil:
		return away, latest(l.since, m.gone[agentID]), l.why
	case time.Now().Before(grace):
		return unheard, grace, ""
	case m.clustered():
		return away, m.gone[agentID], "its agent has no connection to any edge"
	default:
		return away, m.started, "its agent has not connected since the edge started"
	}
}

// storeBeats writes the heartbeats that came since they were last written.
func (m *Manager) storeBeats(ctx context.Context) {
	m.mu.Lock()
	beats := map[string]time.Time{}
	for id, l := range m.links {
		if l.beat.After(l.beatStored) {
			beats[id] = l.beat
		}
	}
	m.mu.Unlock()
	for id, beat := range beats {
		heard := there(beat, time.Now(), m.o.Store.ClockAhead())
		_, err := m.o.Store.UpdateAgent(ctx, id, func(a *store.Agent) error {
			if !heard.After(a.LastHeartbeat) { // another edge has heard of it since
				return store.ErrUnchanged
			}
			a.LastHeartbeat = heard
			return nil
		})
		switch {
		case err == nil:
			m.mu.Lock()
			if l := m.links[id]; l != nil {
				l.beatStored = beat
			}
			m.mu.Unlock()
		case store.CodeOf(err) != store.NotFound && ctx.Err() == nil:
			m.o.Log.Warn("an agent's heartbeat could not be stored; trying again in a minute", zap.String("agent", id), zap.Error(err))
		}
	}
}

// tellOfAgent publishes that the agent of a running session is back with it.
// After a restart of the edge no change of state tells that.
func (m *Manager) tellOfAgent(s *store.Session) {
	m.mu.Lock()
	var untold bool
	viewers := m.record(s.ID).viewers
	if l := m.links[s.AgentID]; l != nil && l.reports[s.ID] != nil {
		untold, l.reports[s.ID].untold = l.reports[s.ID].untold, false
	}
	m.mu.Unlock()
	if untold && s.State == store.Running {
		e := m.event(s, viewers)
		e.AgentUp = true
		m.o.Coord.Publish(context.Background(), e)
	}
}

func (m *Manager) publishAgent(id string, status store.AgentStatus) {
	m.o.Coord.Publish(context.Background(), store.Event{Type: "agent", ID: id, State: string(status)})
}

// DrainAgent makes the agent take no new sessions; those that run stay.
func (m *Manager) DrainAgent(ctx context.Context, id string) error {
	return m.setDraining(ctx, id, true)
}

// ResumeAgent undoes DrainAgent, and DeleteAgent as long as the agent is not gone.
func (m *Manager) ResumeAgent(ctx context.Context, id string) error {
	m.mu.Lock()
	if l := m.links[id]; l != nil {
		l.removing = false
	}
	m.mu.Unlock()
	return m.setDraining(ctx, id, false)
}

func (m *Manager) setDraining(ctx context.Context, id string, draining bool) error {
	changed := false
	a, err := m.o.Store.UpdateAgent(ctx, id, func(a *store.Agent) error {
		if changed = a.Draining != draining; !changed {
			return store.ErrUnchanged
		}
		a.Draining = draining
		return nil
	})
	if err != nil || !changed {
		return err
	}
	m.o.Log.Info("agent drain", zap.String("agent", id), zap.Bool("draining", draining))
	m.publishAgent(id, m.AgentStatus(a))
	m.mu.Lock()
	defer m.mu.Unlock()
	m.know(a)
	m.kickPlacedOn(id) // those that are not started yet go elsewhere
	m.kickWaiting()
	return nil
}
