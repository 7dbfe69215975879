package tunnel

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"
)

const (
	defaultBeat   = 5 * time.Second
	defaultSpares = 4
	maxHandshakes = 512 // control connections that are not admitted yet; each may hold a hello of MaxMessage
)

// HubOptions configure a Hub. Callbacks may block for as long as a store write
// takes: that delays later callbacks for the same agent and nothing else.
type HubOptions struct {
	Node      string        // this edge's id, told in Welcome
	Log       *zap.Logger   // nil: none
	Metrics   *Metrics      // nil: none
	BeatEvery time.Duration // 0: 5 s. Two beats missed: the tunnel is down
	Spares    int           // idle stream connections that an agent keeps; 0: 4

	// URL and Pin lead agents to this very edge, as those of a Home do, whatever
	// balancer stands before it; empty: they come by the address that they have.
	URL, Pin string
	// Homes are the edges that the agent should have tunnels to, best first; none:
	// it is told nothing and keeps the tunnels that it has. It is asked at each
	// connect and after Rehome, for several agents at once, and must not block. nil:
	// none for all.
	Homes func(agentID string) []Home

	// Lease is asked at each beat: how long from now what runs at an agent may live
	// without another beat, as Beat.Lease says it. It must not block. nil: for ever.
	Lease func() time.Duration

	// Admit decides on a control connection: token is the bearer token, key
	// the agent's own secret. An *Error refuses and is told to the agent; any
	// other error is logged and refuses with CodeUnavailable. nil admits all,
	// which only tests want.
	Admit func(ctx context.Context, hello Hello, token, key string) error

	// For one agent these are called one after another, never at once, in the
	// order Up, State and Beat, Down. A generation's Down comes before the
	// next generation's Up, and not at all when Up was never called. Each may
	// be nil. They may call every method of the Hub but Close.
	Up    func(hello Hello, generation uint64)
	State func(agentID string, generation uint64, r Report)
	Beat  func(agentID string, generation uint64)
	Down  func(agentID string, generation uint64, why Down)
}

// Down says why a tunnel ended. Bye is set when the agent left on purpose.
type Down struct {
	Reason string // for people; goes on after "the agent is away: "
	Bye    *Bye
}

// Hub is the edge's end of all its agents' tunnels. The edge mounts ServeHTTP
// and ServeStream at ConnectPath of a fasthttp.Server whose listener is one of
// reactor.Lend. Safe for concurrent use.
type Hub struct {
	o          HubOptions
	ctx        context.Context // ends when Close gives up waiting
	cancel     context.CancelFunc
	handshakes chan struct{}
	serving    sync.WaitGroup

	mu             sync.Mutex
	closing        bool
	lastGeneration uint64
	// tunnels holds the newest generation of each agent, until the last of its
	// callbacks has returned.
	tunnels map[string]*tunnel
}

func NewHub(o HubOptions) *Hub {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	if o.BeatEvery <= 0 {
		o.BeatEvery = defaultBeat
	}
	if o.Spares <= 0 {
		o.Spares = defaultSpares
	}
	h := &Hub{o: o, handshakes: make(chan struct{}, maxHandshakes), tunnels: make(map[string]*tunnel)}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	return h
}

// enter counts one connection's handling; it fails once the hub closes.
func (h *Hub) enter() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closing {
		return false
	}
	h.serving.Add(1)
	return true
}

// register makes t the agent's tunnel and ends the one before it. It returns
// what t's first callback must wait for; nil means nothing.
func (h *Hub) register(t *tunnel) (after <-chan struct{}, err *Error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closing {
		return nil, h.leaving()
	}
	// Microseconds since 1970 keep generations rising over a restart of the
	// edge without anything being stored; below 2^53, so any JSON reader is exact.
	h.lastGeneration = max(h.lastGeneration+1, uint64(time.Now().UnixMicro()))
	t.generation = h.lastGeneration
	if before := h.tunnels[t.agentID]; before != nil {
		before.channel.end(Errorf(CodeSuperseded, "agent %s has connected anew", t.agentID))
		after = before.reported
	}
	h.tunnels[t.agentID] = t
	return after, nil
}

// unregister leaves a newer generation's entry alone.
func (h *Hub) unregister(t *tunnel) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.tunnels[t.agentID] == t {
		delete(h.tunnels, t.agentID)
	}
}

// live returns the agent's tunnel, or CodeAgentOffline.
func (h *Hub) live(agentID string) (*tunnel, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t := h.tunnels[agentID]; t != nil && t.channel.ctx.Err() == nil {
		return t, nil
	}
	return nil, offline(agentID)
}

func offline(agentID string) *Error {
	return Errorf(CodeAgentOffline, "agent %s is not connected to this edge", agentID)
}

func (h *Hub) leaving() *Error {
	return Errorf(CodeNodeDraining, "edge %s is leaving", h.o.Node)
}

// Connected tells whether the agent has a live tunnel here.
func (h *Hub) Connected(agentID string) bool {
	_, err := h.live(agentID)
	return err == nil
}

// Agents counts the live tunnels.
func (h *Hub) Agents() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, t := range h.tunnels {
		if t.channel.ctx.Err() == nil {
			n++
		}
	}
	return n
}

// ConnectedAgents are the ids of the agents that have a live tunnel here.
func (h *Hub) ConnectedAgents() (ids []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, t := range h.tunnels {
		if t.channel.ctx.Err() == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

// Disconnect ends the agent's tunnel, if there is one, and tells the agent
// why. It returns at once; Down is called later. Streams that are open run on.
func (h *Hub) Disconnect(agentID string, why *Error) {
	if t, err := h.live(agentID); err == nil {
		t.channel.end(why)
	}
}

// Close refuses new connections, ends every tunnel with CodeNodeDraining and
// waits until the last Down has returned, or for ctx. Streams that are open
// belong to their openers and run on.
func (h *Hub) Close(ctx context.Context) error {
	h.mu.Lock()
	h.closing = true
	for _, t := range h.tunnels {
		t.channel.end(h.leaving())
	}
	h.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.serving.Wait()
	}()
	defer h.cancel()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
