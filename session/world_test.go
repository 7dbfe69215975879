package session

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/streamspace-dev/streamspace-edge/store"
)

func TestMain(m *testing.M) {
	runtime.GOMAXPROCS(processors)
	goleak.VerifyTestMain(m)
}

// world is an edge with a store and some agents, in virtual time. The agents'
// end of the tunnel is played by host; everything else is real.
type world struct {
	t        *testing.T
	store    store.Store
	o        Options
	registry *prometheus.Registry
	m        *Manager
	end      func() // of Run

	mu         sync.Mutex
	hosts      map[string]*host
	generation uint64
	events     []store.Event
	cut        []string      // "session reason" of every EndViewers
	linger     time.Duration // from EndViewers to a viewer that has gone
	removed    []string      // agents disconnected
	probe      func(ctx context.Context, endpoint string) error
}

// host is the far end of an agent: it runs what it is told to.
type host struct {
	agent      *store.Agent
	inOrder    sync.Mutex               // held from a change until it is told: the tunnel tells one agent's news one after another
	generation uint64                   // 0: not connected
	running    map[string]ObservedState // starting or running
	starts     int                      // start commands taken
	endpoint   string                   // what it says that each session has
	mood       mood
}

// mood is how a host treats its commands.
type mood struct {
	refuse *store.Error  // what a start gets
	silent bool          // acks a start and does nothing
	slow   time.Duration // from a start to the running desktop
	stuck  bool          // never acks
}

// set changes the host's mood.
func (w *world) set(h *host, m mood) {
	w.mu.Lock()
	defer w.mu.Unlock()
	h.mood = m
}

// inWorld runs a test against a fresh world in virtual time.
func inWorld(t *testing.T, test func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, openStore(t))
		w.run()
		synctest.Wait() // some tests change what the edge was given, which it reads as it begins
		test(t, w)
		w.end()
		if err := w.store.Close(); err != nil {
			t.Error(err)
		}
	})
}

func newWorld(t *testing.T, s store.Store) *world {
	w := &world{t: t, store: s, hosts: map[string]*host{}}
	w.o = Options{
		Store: s, Coord: recorder{w: w}, Start: w.start, Stop: w.stop,
		EndViewers:    w.endViewers,
		ProbeEndpoint: func(ctx context.Context, endpoint string) error { return w.probe(ctx, endpoint) },
		Disconnect:    w.disconnect,
	}
	return w
}

// run starts an edge on the world's store; the agents do not know it yet.
func (w *world) run() {
	w.registry = prometheus.NewRegistry()
	w.o.Metrics = NewMetrics(w.registry)
	w.m = New(w.o)
	ctx, cancel := context.WithCancel(w.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := w.m.Run(ctx); err != nil {
			w.t.Errorf("Run: %v", err)
		}
	}()
	w.end = func() { cancel(); <-ended }
}

// restart ends the edge and starts another on the same store. Agents lose
// their tunnels and keep what they run.
func (w *world) restart() {
	w.end()
	w.mu.Lock()
	for _, h := range w.hosts {
		h.generation = 0
	}
	w.mu.Unlock()
	w.run()
}

// join adds an agent and connects it.
func (w *world) join(name string, change ...func(*store.Agent)) *host {
	w.t.Helper()
	a := &store.Agent{ID: "agent-" + name, Name: name, KeyHash: []byte(name), Capacity: 10, Weight: 1,
		Runtimes: []store.Runtime{{Name: "desktop"}}, CreatedAt: time.Now(), LastHeartbeat: time.Now()}
	for _, c := range change {
		c(a)
	}
	h := &host{agent: a, running: map[string]ObservedState{}}
	w.mu.Lock()
	w.hosts[a.ID] = h
	w.mu.Unlock()
	w.connect(h)
	return h
}

// connect gives the agent a new tunnel on which it says what it runs.
func (w *world) connect(h *host) {
	w.t.Helper()
	a, err := w.store.EnrolAgent(w.t.Context(), h.agent)
	if err != nil {
		w.t.Fatal(err)
	}
	h.inOrder.Lock()
	w.mu.Lock()
	w.generation++
	h.generation = w.generation
	var running []Observed
	for id, state := range h.running {
		running = append(running, Observed{Session: id, State: state})
	}
	generation := h.generation
	w.mu.Unlock()
	w.m.AgentUp(a, generation, running)
	h.inOrder.Unlock()
	synctest.Wait()
}

// drop ends the agent's tunnel; what it runs stays.
func (w *world) drop(h *host) {
	generation := w.detach(h)
	w.m.AgentDown(h.agent.ID, generation, "the connection broke", false)
	synctest.Wait()
}

// leave ends the agent and everything on it.
func (w *world) leave(h *host) {
	generation := w.detach(h)
	w.mu.Lock()
	h.running = map[string]ObservedState{}
	w.mu.Unlock()
	w.m.AgentDown(h.agent.ID, generation, "the host shuts down", true)
	synctest.Wait()
}

func (w *world) detach(h *host) (generation uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	generation, h.generation = h.generation, 0
	return generation
}

// say reports a session's state on the agent's tunnel, if there is one.
func (w *world) say(h *host, id string, state ObservedState, reason string) {
	h.inOrder.Lock()
	defer h.inOrder.Unlock()
	w.mu.Lock()
	switch state {
	case ObservedStarting, ObservedRunning:
		h.running[id] = state
	case ObservedEnded, ObservedFailed:
		delete(h.running, id)
	}
	generation := h.generation
	w.mu.Unlock()
	if generation > 0 {
		w.m.AgentState(h.agent.ID, generation, Observed{Session: id, State: state, Reason: reason, Endpoint: h.endpoint})
	}
}

func (w *world) start(ctx context.Context, s *store.Session, generation uint64) error {
	h, mood, err := w.host(ctx, s.AgentID)
	if err != nil {
		return err
	}
	if mood.refuse != nil {
		return &Refused{mood.refuse}
	}
	w.mu.Lock()
	if h.generation != generation {
		w.mu.Unlock()
		return fmt.Errorf("the tunnel %d of agent %s is no more", generation, s.AgentID)
	}
	_, known := h.running[s.ID]
	full := len(h.running) >= h.agent.Capacity
	h.starts++
	w.mu.Unlock()
	switch {
	case known, mood.silent:
		return nil
	case full:
		return &Refused{store.Errorf(store.NoAgent, "agent %s is full", s.AgentID)}
	}
	w.say(h, s.ID, ObservedStarting, "")
	if mood.slow == 0 {
		w.say(h, s.ID, ObservedRunning, "")
		return nil
	}
	time.AfterFunc(mood.slow, func() {
		w.mu.Lock()
		_, still := h.running[s.ID]
		w.mu.Unlock()
		if still {
			w.say(h, s.ID, ObservedRunning, "")
		}
	})
	return nil
}

func (w *world) stop(ctx context.Context, s *store.Session) error {
	h, _, err := w.host(ctx, s.AgentID)
	if err != nil {
		return err
	}
	w.say(h, s.ID, ObservedStopping, "")
	w.say(h, s.ID, ObservedEnded, "")
	return nil
}

func (w *world) host(ctx context.Context, agentID string) (*host, mood, error) {
	w.mu.Lock()
	h := w.hosts[agentID]
	if h == nil || h.generation == 0 {
		w.mu.Unlock()
		return nil, mood{}, store.Errorf(store.Unavailable, "agent %s is offline", agentID)
	}
	now := h.mood
	w.mu.Unlock()
	if now.stuck {
		<-ctx.Done()
		return nil, mood{}, store.Errorf(store.Unavailable, "agent %s did not answer", agentID)
	}
	return h, now, nil
}

func (w *world) endViewers(id, reason string) {
	w.mu.Lock()
	w.cut = append(w.cut, id+" "+reason)
	linger := w.linger
	w.mu.Unlock()
	if linger > 0 {
		time.AfterFunc(linger, func() { w.m.Viewers(id, 0) })
		return
	}
	w.m.Viewers(id, 0)
}

func (w *world) disconnect(agentID string) {
	w.mu.Lock()
	w.removed = append(w.removed, agentID)
	w.mu.Unlock()
}

// create makes a session and waits until nothing more happens at once.
func (w *world) create(change ...func(*store.Session)) *store.Session {
	w.t.Helper()
	ask := &store.Session{Name: "work", Org: "acme", Owner: "ann"}
	for _, c := range change {
		c(ask)
	}
	s, err := w.m.Create(w.t.Context(), ask, "")
	if err != nil {
		w.t.Fatal(err)
	}
	synctest.Wait()
	return s
}

func (w *world) session(id string) *store.Session {
	w.t.Helper()
	s, err := w.store.Session(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// want checks a session's state and that its reason contains the words.
func (w *world) want(id string, state store.State, words string) {
	w.t.Helper()
	synctest.Wait()
	s := w.session(id)
	if s.State != state || !containsFold(s.Reason, words) || (words == "" && s.Reason != "") {
		w.t.Fatalf("session is %s (%q) on %q, want %s (%q)", s.State, s.Reason, s.AgentID, state, words)
	}
}

func (w *world) runs(h *host) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Sorted(maps.Keys(h.running))
}

// pass lets virtual time pass.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// metric is the value of a gauge or counter, or a histogram's count; label is
// the value of its only label, or empty.
func (w *world) metric(name, label string) (value float64, found bool) {
	w.t.Helper()
	families, err := w.registry.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range families {
		for _, metric := range f.GetMetric() {
			if f.GetName() == name && (label == "" || metric.GetLabel()[0].GetValue() == label) {
				switch {
				case metric.Gauge != nil:
					return metric.GetGauge().GetValue(), true
				case metric.Counter != nil:
					return metric.GetCounter().GetValue(), true
				default:
					return float64(metric.GetHistogram().GetSampleCount()), true
				}
			}
		}
	}
	return 0, false
}

// checkBooks compares what is counted in memory with the store.
func (w *world) checkBooks() {
	w.t.Helper()
	synctest.Wait()
	byState, byAgent := map[store.State]int{}, map[string]int{}
	page, _, err := w.store.Sessions(w.t.Context(), store.SessionFilter{Limit: 1000})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, s := range page {
		byState[s.State]++
		if !s.Ended() && s.AgentID != "" {
			byAgent[s.AgentID]++
		}
	}
	for _, state := range store.States() {
		if state == store.Terminated || state == store.Failed {
			continue
		}
		if got, _ := w.metric("streamspace_sessions", string(state)); int(got) != byState[state] {
			w.t.Errorf("streamspace_sessions{%s} is %v, want %d", state, got, byState[state])
		}
	}
	for id := range w.hosts {
		if got := w.m.Active(id); got != byAgent[id] {
			w.t.Errorf("Active(%s) is %d, want %d", id, got, byAgent[id])
		}
	}
}

// recorder is the part of a Coord that a Manager uses.
type recorder struct {
	store.Coord
	w *world
}

func (r recorder) Publish(_ context.Context, e store.Event) {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	r.w.events = append(r.w.events, e)
}

// announced lists the ends that events announced of one session, "" where one
// was taken back.
func (w *world) announced(id string) (ends []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	latest := ""
	for _, e := range w.events {
		if e.ID != id {
			continue
		}
		now := ""
		if !e.EndsAt.IsZero() {
			now = string(e.EndsBecause) + " " + e.EndsAt.UTC().Format(time.TimeOnly)
		}
		if now != latest {
			ends = append(ends, now)
		}
		latest = now
	}
	return ends
}

// told lists the states that events told of one thing.
func (w *world) told(id string) (states []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.events {
		if e.ID == id && (len(states) == 0 || states[len(states)-1] != e.State) {
			states = append(states, e.State)
		}
	}
	return states
}

func (w *world) all() []*store.Session {
	w.t.Helper()
	page, _, err := w.store.Sessions(w.t.Context(), store.SessionFilter{Limit: 1000})
	if err != nil {
		w.t.Fatal(err)
	}
	return page
}
