// Package session is a session's life: creating and placing it, driving it from
// what was observed to what is wanted, and taking in what agents report.
//
// Whatever happens (a request, an agent's report, a viewer, a clock) only
// notes a fact and asks for a look at the session. A look reads the row, adds
// what is known in memory, and takes the one step that life.go names for that.
// So a lost, repeated or late event costs a look, never a wrong state.
//
// Of several edges on one Store, one drives each session (Options.Drives) and
// the others only look on: they keep its row at hand, and tell and end their own
// viewers. That two edges drive it for a moment, or none does, is harmless: every
// step is a transaction that depends on what it was decided on, agents take a
// command twice, and what was not done is done by the next one that drives.
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

	// Node is this edge's id, told with its viewers' numbers.
	Node string
	// Drives tells whether this edge drives the session, by what it knows of the
	// others now. Only ID and AgentID count, which may be empty; with an AgentID
	// whose agent has tunnels it is true on one edge that has one, and the same for
	// all sessions of that agent. nil: there is one edge. Reachable and Alive are then not asked. None of them may call the
	// Manager, and Rethink must be called when their answers may have changed.
	Drives func(s *store.Session) bool
	// Reachable tells whether any edge has a tunnel of the agent.
	Reachable func(agentID string) bool
	// Alive tells whether that edge is one of the cluster now.
	Alive func(node string) bool
	// Announced is when the other edges could last learn which agents are connected
	// here; zero: never.
	Announced func() time.Time

	Strategy     string        // of balancer.ParseStrategy; empty: weighted_least_connections
	Headroom     float64       // share of each agent's capacity that stays free, 0 to below 1
	LostAfter    time.Duration // an agent away for this long has lost its sessions; 0: 10 min. With RestartLost at least 30 s
	RestartLost  bool          // what an agent has lost is started again elsewhere, as the same session; else it has failed
	PerUser      int           // sessions of one owner that have not ended, at most; 0: no bound
	StartTimeout time.Duration // from the start's beginning to a running desktop; 0: 60 s
	Retention    time.Duration // ended sessions are kept this long; 0: 7 days

	// Start and Stop tell the session's agent and return after its ack. Both
	// are repeated when in doubt. Start uses the tunnel of that generation and no
	// other. Only *Refused says that the agent does not start the session; after
	// any other error it may.
	Start func(ctx context.Context, s *store.Session, generation uint64) error
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
	startAgain     = time.Second      // a start without an ack is repeated after this, while its agent is there
	stopAgain      = 10 * time.Second // an acked stop is repeated after this, until the end is reported
	farewell       = time.Second      // viewers hear of the end before the desktop goes, or are cut off by it after this
	placeAgain     = time.Second      // what another edge, which sees other agents, has undone is done again after this
	roomAgain      = 30 * time.Second // a session without an agent is placed anew at least this often
	maxRefusals    = 5                // failed starts before a session is given up
	activityGrain  = time.Minute      // LastActivity is written again after this at the earliest
	beatGrain      = time.Minute      // the same for a connected agent's LastHeartbeat
	purgeEvery     = time.Hour
	recheckEvery   = 5 * time.Second  // a beat of a tunnel
	rereadEvery    = 30 * time.Second // of all rows that have not ended, where an event of another edge may have been lost
	maxReported    = 20_000           // sessions one agent may report; a hello holds about 10,000
)

// Manager is one edge's part in the sessions. Safe for concurrent use.
type Manager struct {
	o        Options
	limits   limits
	picker   *balancer.Picker
	queue    *queue
	outdated chan struct{} // has a value when all rows are to be read again
	stale    chan struct{} // has a value when the agents are to be read again

	mu      sync.Mutex
	started time.Time          // of Run; zero before
	links   map[string]*link   // by agent id: every agent heard of since the start
	live    map[string]*record // by session id: every session that has not ended, and watched ones that have
	waiting map[string]bool    // ids of those in live that are pending and have no agent

	forgotten uint64 // records that were dropped from live

	members       map[string]*member   // by agent id: every agent that the store has, or that was heard of
	roster        []*member            // those that the store has, the oldest first
	rosterRead    time.Time            // when the read that roster is of began; zero: none was
	rosterVersion uint64               // raised when a row becomes known otherwise than by that read
	counted       bool                 // every session of before has been read
	shortlist     []balancer.Candidate // of the choice that is being made; kept for its memory

	reached map[string]bool               // by agent id: the latest answer of Reachable
	gone    map[string]time.Time          // by agent id: since when no edge has a tunnel of it
	watched map[string]map[string]watched // by session id and node: viewers on other edges
	checked time.Time                     // when the latest recheck began that found nothing to put right
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
	if o.RestartLost {
		o.LostAfter = max(o.LostAfter, leastLostAfter)
	}
	o.StartTimeout = orDefault(o.StartTimeout, time.Minute)
	o.Retention = orDefault(o.Retention, 7*24*time.Hour)
	return &Manager{
		o:        o,
		limits:   limits{lostAfter: o.LostAfter, startTimeout: o.StartTimeout, restartLost: o.RestartLost},
		picker:   balancer.NewPicker(strategy),
		queue:    newQueue(maxLooks),
		outdated: make(chan struct{}, 1),
		links:    map[string]*link{},
		live:     map[string]*record{},
		waiting:  map[string]bool{},
		members:  map[string]*member{},
		reached:  map[string]bool{},
		stale:    make(chan struct{}, 1),
		gone:     map[string]time.Time{},
		watched:  map[string]map[string]watched{},
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
	if m.clustered() {
		events := m.o.Coord.Subscribe(ctx) // before anything is read, so that no change is missed
		parts.Go(func() { m.listen(ctx, events) })
	}
	parts.Go(func() { m.resume(ctx) })
	parts.Go(func() { m.keepHouse(ctx) })
	parts.Go(func() { m.keepRoster(ctx) })
	m.queue.run(ctx, m.look)
	return nil
}

// resume asks for a look at every session that has not ended.
func (m *Manager) resume(ctx context.Context) {
	for failures := 1; ; failures++ {
		err := m.reread(ctx)
		if err == nil {
			m.mu.Lock()
			m.counted = true
			m.mu.Unlock()
			return
		}
		if ctx.Err() != nil {
			return
		}
		m.o.Log.Error("the sessions of before can't be read; trying again", zap.Error(err))
		if !sleep(ctx, backoff(failures)) {
			return
		}
	}
}

// keepHouse does what no session waits for.
func (m *Manager) keepHouse(ctx context.Context) {
	beats, purges, rechecks := time.NewTicker(beatGrain), time.NewTicker(purgeEvery), time.NewTicker(recheckEvery)
	defer beats.Stop()
	defer purges.Stop()
	defer rechecks.Stop()
	var rereads <-chan time.Time // never, where nobody else writes
	if m.clustered() {
		ticker := time.NewTicker(rereadEvery)
		defer ticker.Stop()
		rereads = ticker.C
	}
	rechecking := outage{log: m.o.Log, failed: "sessions that may wait for this edge could not be looked for; trying again every few seconds", over: "sessions that may wait for this edge are looked for again"}
	rereading := outage{log: m.o.Log, failed: "the sessions could not be read again; trying again later", over: "the sessions have been read again"}
	m.purge(ctx)
	for {
		select {
		case <-ctx.Done():
			return
		case <-beats.C:
			m.storeBeats(ctx)
		case <-rechecks.C:
			rechecking.tell(ctx, m.recheck(ctx))
			m.tellWatched()
		case <-rereads:
			rereading.tell(ctx, m.reread(ctx))
		case <-m.outdated:
			rereading.tell(ctx, m.reread(ctx))
		case <-purges.C:
			m.purge(ctx)
		}
	}
}

func (m *Manager) purge(ctx context.Context) {
	n, err := m.o.Store.PurgeSessions(ctx, m.storeNow().Add(-m.o.Retention))
	switch {
	case err != nil && ctx.Err() == nil:
		m.o.Log.Warn("ended sessions could not be purged; trying again in an hour", zap.Error(err))
	case n > 0:
		m.o.Log.Info("purged ended sessions", zap.Int("sessions", n), zap.Duration("older_than", m.o.Retention))
	}
}

// update changes a session's row; every change goes through here or place, so
// that each is counted, published and, when the state changed, logged. It
// returns the row as it is now and whether this call changed it.
func (m *Manager) update(ctx context.Context, id string, change func(*store.Session) error) (*store.Session, bool, error) {
	return m.changing("", change, func(change func(*store.Session) error) (*store.Session, error) {
		return m.o.Store.UpdateSession(ctx, id, change)
	})
}

// changing is update by a write of the Store; told is what viewers are told of the
// change.
func (m *Manager) changing(
	told string, change func(*store.Session) error, write func(change func(*store.Session) error) (*store.Session, error),
) (*store.Session, bool, error) {
	var before store.State
	changed := false
	s, err := write(func(s *store.Session) error {
		before = s.State
		err := change(s)
		changed = err == nil
		if s.Ended() || s.Desired == store.Terminated {
			s.EndsAt, s.EndsBecause = time.Time{}, "" // it ends now, or has
		}
		if s.Ended() || s.State == store.Running {
			s.Refusals = store.Refusals{}
		}
		return err
	})
	if err != nil {
		return nil, false, err
	}
	if changed {
		m.changed(before, s, told)
	} else {
		m.heardOf(s.ID) // it was not as it was at hand
	}
	return s, changed, nil
}

func (m *Manager) changed(before store.State, s *store.Session, told string) {
	viewers := m.track(s)
	m.heardOf(s.ID) // a look under way may have read an older row
	e := m.event(s, viewers)
	e.Told = told
	m.noteTold(s.ID, told)
	m.o.Coord.Publish(context.Background(), e)
	if before == s.State {
		return
	}
	m.o.Log.Info("session", zap.String("session", s.ID), zap.String("from", string(before)), zap.String("to", string(s.State)),
		zap.String("agent", s.AgentID), zap.String("reason", s.Reason))
	if s.Ended() {
		m.o.Metrics.ended.WithLabelValues(string(s.State)).Inc()
	}
}

// noteTold keeps what the viewers of a session that ends are told.
func (m *Manager) noteTold(id, told string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.live[id]; r != nil && told != "" { // nil: ended and watched by nobody
		r.told = told
	}
}

// publish tells of a session; viewers is how many it has on this edge.
func (m *Manager) publish(s *store.Session, viewers int) {
	m.o.Coord.Publish(context.Background(), m.event(s, viewers))
}

func (m *Manager) event(s *store.Session, viewers int) store.Event {
	return store.Event{
		Type: "session", ID: s.ID, State: string(s.State), Org: s.Org, Owner: s.Owner, EndsAt: s.EndsAt, EndsBecause: s.EndsBecause,
		Updated: s.UpdatedAt, Node: m.o.Node, Viewers: viewers,
	}
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
