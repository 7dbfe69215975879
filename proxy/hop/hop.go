// Package hop carries a viewer's stream from the edge that the viewer is on to
// one that has a tunnel to the session's agent. It is one hop: the far end opens
// tunnels of its own and never asks a third edge.
//
//	edge of the viewer                       home of the agent
//	  | -- GET Path, Upgrade, token -----------> |   over TLS: a connection for each stream
//	  | <------------ 101, or a refusal: JSON -- |
//	  |                                          |   opens the stream at the agent
//	  | <------------------- answer, see answer.go |
//	  | <=============== raw bytes =============> |   until both sides have closed
package hop

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/proxy/reactor"
	"github.com/streamspace-dev/streamspace-edge/proxy/tunnel"
)

// Path is where an edge serves the streams of other edges.
const Path = "/api/v1/peers/stream"

// Protocol is what a hop's request asks to be upgraded to.
const Protocol = "streamspace-hop"

// HeaderToken carries the token of a hop; never logged.
const HeaderToken = "Streamspace-Hop"

// Peer is another edge.
type Peer struct {
	ID  string
	URL string // "https://HOST:PORT"; "http://…" for an edge without TLS
	Pin string // of its certificate's key; empty: by its chain
}

// Options configure a Hop.
type Options struct {
	Node    string      // this edge's id
	Secret  []byte      // that all edges share; at least 16 random bytes
	CAFile  string      // PEM roots for peers without a pin; empty: the system's
	Log     *zap.Logger // nil: none
	Metrics *Metrics    // nil: none
	Reactor *reactor.Reactor
	// Now tells the time of day by a clock that all edges share; nil: time.Now.
	Now func() time.Time

	// Open opens a stream at an agent that is connected to this edge, as
	// tunnel.Hub.Open does. An *tunnel.Error goes to the other edge as it is.
	Open func(ctx context.Context, agentID string, o tunnel.OpenRequest) (net.Conn, error)
	// Carry takes this edge's place for a stream of another edge, before Open;
	// giveBack is called once it has ended. An *tunnel.Error goes to the other edge
	// as it is. It must not block. nil: there is no bound.
	Carry func() (giveBack func(), err error)
}

// Hop is both ends of an edge's hops. Safe for concurrent use.
type Hop struct {
	o        Options
	key      []byte
	used     *used
	sessions tls.ClientSessionCache // of TLS: a second stream to a peer checks no certificate anew
	active   atomic.Int64
	draining atomic.Bool
	times    times

	ctx    context.Context // ends all that is served
	cancel context.CancelFunc

	mu        sync.Mutex
	closing   bool
	carried   map[*carried]bool // streams that are open
	serving   sync.WaitGroup
	strangers map[string]bool // peers that do not take this edge for one of theirs, of which the log tells
}

// times are a hop's deadlines.
type times struct {
	dial   time.Duration // TCP, TLS and the 101
	answer time.Duration // from there to the answer
	open   time.Duration // of Options.Open; less than answer
}

// A peer is near; one that takes longer to answer at all is as good as gone, and
// the viewer's next way is tried. A tunnel waits at most 5 s for a connection of the agent's and 15 s for its
// answer; with the rest the far end's word comes first.
func defaultTimes() times {
	return times{dial: 2 * time.Second, answer: 25 * time.Second, open: 22 * time.Second}
}

// New makes a Hop. It panics when the secret is too short to be one. The caller
// calls Close before that of its Reactor.
func New(o Options) *Hop {
	if len(o.Secret) < 16 {
		panic("hop: a secret of less than 16 bytes")
	}
	key, err := hkdf.Key(sha256.New, o.Secret, nil, "streamspace hop token", sha256.Size)
	if err != nil {
		panic("hop: " + err.Error())
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	h := &Hop{o: o, key: key, used: newUsed(), strangers: map[string]bool{}, carried: map[*carried]bool{}, sessions: tls.NewLRUClientSessionCache(64), times: defaultTimes()}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	return h
}

// Active counts the streams that are carried for other edges.
func (h *Hop) Active() int { return int(h.active.Load()) }

// Drain refuses new streams of other edges with CodeNodeDraining, until Resume.
// Those that run go on.
func (h *Hop) Drain() { h.draining.Store(true) }

// Resume takes streams of other edges again.
func (h *Hop) Resume() { h.draining.Store(false) }

// Close ends what is carried for other edges and waits until it has ended, or
// for ctx. What Dial has returned is its caller's.
func (h *Hop) Close(ctx context.Context) error {
	h.mu.Lock()
	h.closing = true
	h.mu.Unlock()
	h.cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.serving.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// enter counts one stream's handling; it fails once the hop closes.
func (h *Hop) enter() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closing {
		return false
	}
	h.serving.Add(1)
	return true
}
