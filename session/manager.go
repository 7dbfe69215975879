// Package session is a session's life on one edge: creating and placing it,
// driving it from what was observed to what is wanted, and taking in what
// agents report.
//
// Whatever happens (a request, an agent's report, a viewer, a clock) only
// notes a fact and asks for a look at the session. A look reads the row, adds
// what is known in memory, and takes the one step that life.go names for that.
// So a lost, repeated or late event costs a look, never a wrong state.
package session

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/balancer"
	"github.com/streamspace-dev/streamspace-edge/store"
)

// Options is what a Manager works with. Store, Coord and the functions are
// needed; everything else has a default. The functions are called from several
// goroutines, for one session by one at a time, and may call the Manager.
type Options struct {
	Store   store.Store
	Coord   store.Coord
	Log     *zap.Logger // nil: silent
	Metrics *Metrics    // nil: not exported

	Strategy     string        // of balancer.ParseStrategy; empty: weighted_least_connections
	Headroom     float64       // share of each agent's capacity that stays free, 0 to below 1
	LostAfter    time.Duration // an agent away for this long has lost its sessions; 0: 10 min
	StartTimeout time.Duration // from the agent's ack to a running desktop; 0: 60 s
	Retention    time.Duration // ended sessions are kept this long; 0: 7 days

	// Start and Stop tell the session's agent and return after its ack. Both
	// are repeated when in doubt. An error of Start sends the session to
	// another agent; its code decides about this one: Conflict, it can't start
	// it and is not asked again; Invalid, nobody can; any other, later perhaps.
	Start func(ctx context.Context, s *store.Session) error
	Stop  func(ctx context.Context, s *store.Session) error
	// EndViewers closes every viewer of a session; reason is "session_ended",
	// "idle", "max_duration" or "agent_offline".
	EndViewers func(sessionID, reason string)
	// ProbeEndpoint tells whether the endpoint is allowed and answers.
	ProbeEndpoint func(ctx context.Context, endpoint string) error
	// Disconnect ends the tunnel of an agent that was deleted.
	Disconnect func(agentID string)
}

// Bounds of the reconciler.
const (
	maxLooks       = 64               // sessions looked at at once
	maxCommands    = 16               // commands under way to one agent, so that one that is stuck leaves looks for the others
	commandTimeout = 10 * time.Second // for an ack, or for an endpoint to answer
	connectGrace   = 15 * time.Second // for agents to come back by themselves: twice the longest reconnect delay, about
	stopAgain      = 10 * time.Second // an acked stop is repeated after this, until the end is reported
	farewell       = time.Second      // viewers hear of the end before the desktop goes, or are cut off by it after this
	roomAgain      = 30 * time.Second // a session without an agent is placed anew at least this often
	maxRefusals    = 5                // failed starts before a session is given up
	activityGrain  = time.Minute      // LastActivity is written again after this at the earliest
	beatGrain      = time.Minute      // the same for a connected agent's LastHeartbeat
	purgeEvery     = time.Hour
	recheckEvery   = 5 * time.Second // a beat of a tunnel
	maxReported    = 20_000          // sessions one agent may report; a hello holds about 10,000
)

// Manager owns the sessions of one edge. Safe for concurrent use.
type Manager struct {
	o       Options
	limits  limits
	picker  *balancer.Picker
	queue   *queue
	placing chan struct{} // holds one value while somebody counts and places

	mu      sync.Mutex
	started time.Time          // of Run; zero before
	links   map[string]*link   // by agent id: every agent heard of since the start
	live    map[string]*record // by session id: every session that has not ended, and watched ones that have
	waiting map[string]bool    // ids of those in live that are pending and have no agent
	active  map[string]int     // by agent id: sessions in live that take room there
}

// New makes a Manager. It panics when o.Strategy is not a strategy: the config
// has checked it.
func New(o Options) *Manager {
	if o.Strategy == "" {
		o.Strategy = string(balancer.WeightedLeastConnections)
	}
	strategy, err := balancer.ParseStrategy(o.Strategy)
	if err != nil {
		panic(fmt.Sprintf("session: Options.Strategy: %v", err))
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(prometheus.NewRegistry())
	}
	o.LostAfter = orDefault(o.LostAfter, 10*time.Minute)
	o.StartTimeout = orDefault(o.StartTimeout, time.Minute)
	o.Retention = orDefault(o.Retention, 7*24*time.Hour)
	return &Manager{
		o:       o,
		limits:  limits{lostAfter: o.LostAfter, startTimeout: o.StartTimeout},
		picker:  balancer.NewPicker(strategy),
		queue:   newQueue(maxLooks),
		placing: make(chan struct{}, 1),
		links:   map[string]*link{},
		live:    map[string]*record{},
		waiting: map[string]bool{},
		active:  map[string]int{},
	}
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}

// Run resumes every session that has not ended and drives them all until ctx
// ends; it returns nil after everything it started has ended. The other
// methods may be called before, during and after it; what they note is acted
// on only while it runs.
func (m *Manager) Run(ctx context.Context) error {
	m.mu.Lock()
	m.started = time.Now()
	m.mu.Unlock()
	var parts sync.WaitGroup
	defer parts.Wait()
	parts.Go(func() { m.resume(ctx) })
	parts.Go(func() { m.keepHouse(ctx) })
	m.queue.run(ctx, m.look)
	return nil
}

// resume asks for a look at every session that has not ended.
func (m *Manager) resume(ctx context.Context) {
	filter := store.SessionFilter{States: []store.State{
		store.Pending, store.Starting, store.Running, store.Hibernated, store.Unreachable, store.Stopping}, Limit: 1000}
	for failures := 0; ; {
		page, next, err := m.o.Store.Sessions(ctx, filter)
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			failures++
			m.o.Log.Error("the sessions of before can't be read; trying again", zap.Error(err))
			if !sleep(ctx, backoff(failures)) {
				return
			}
			continue
		}
		for _, s := range page {
			m.track(s)
			m.queue.kick(s.ID)
		}
		if next == "" {
			return
		}
		failures, filter.Cursor = 0, next
	}
}

// keepHouse does what no session waits for.
func (m *Manager) keepHouse(ctx context.Context) {
	beats, purges, rechecks := time.NewTicker(beatGrain), time.NewTicker(purgeEvery), time.NewTicker(recheckEvery)
	defer beats.Stop()
	defer purges.Stop()
	defer rechecks.Stop()
	m.purge(ctx)
	for {
		select {
		case <-ctx.Done():
			return
		case <-beats.C:
			m.storeBeats(ctx)
		case <-rechecks.C:
			m.recheck(ctx)
		case <-purges.C:
			m.purge(ctx)
		}
	}
}

func (m *Manager) purge(ctx context.Context) {
	n, err := m.o.Store.PurgeSessions(ctx, time.Now().Add(-m.o.Retention))
	switch {
	case err != nil && ctx.Err() == nil:
		m.o.Log.Warn("ended sessions could not be purged; trying again in an hour", zap.Error(err))
	case n > 0:
		m.o.Log.Info("purged ended sessions", zap.Int("sessions", n), zap.Duration("older_than", m.o.Retention))
	}
}

// update changes a session's row; every change goes through here, so that each
// is counted, published and, when the state changed, logged. It returns the
// row as it is now and whether this call changed it.
func (m *Manager) update(ctx context.Context, id string, change func(*store.Session) error) (*store.Session, bool, error) {
	var before store.State
	changed := false
	s, err := m.o.Store.UpdateSession(ctx, id, func(s *store.Session) error {
		before = s.State
		err := change(s)
		changed = err == nil
		if s.Ended() || s.Desired == store.Terminated {
			s.EndsAt, s.EndsBecause = time.Time{}, "" // it ends now, or has
		}
		return err
	})
	if err != nil {
		return nil, false, err
	}
	if changed {
		m.changed(before, s)
	}
	return s, changed, nil
}

func (m *Manager) changed(before store.State, s *store.Session) {
	m.track(s)
	m.publish(s)
	if before != s.State {
		m.o.Log.Info("session", zap.String("session", s.ID), zap.String("from", string(before)), zap.String("to", string(s.State)),
			zap.String("agent", s.AgentID), zap.String("reason", s.Reason))
	}
}

func (m *Manager) publish(s *store.Session) {
	m.o.Coord.Publish(context.Background(), event(s))
}

func event(s *store.Session) store.Event {
	return store.Event{Type: "session", ID: s.ID, State: string(s.State), Org: s.Org, Owner: s.Owner, EndsAt: s.EndsAt, EndsBecause: s.EndsBecause}
}

// sleep waits for d; false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
