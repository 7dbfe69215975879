// Package proxy carries one viewer's bytes: it authorises the viewer, upgrades
// its connection to a WebSocket, dials the session's VNC server, relays in both
// directions and closes with a reason.
//
// The bytes are never dropped, reordered or kept: each direction holds one
// buffer at most, or one pipe of the kernel's of 1 MiB between plain
// connections, so a viewer that reads slowly slows the VNC server's writes on
// its own stream and nothing else. What the server sends after the handshake
// (RFC 6143 section 7.1) is not looked at; what the viewer sends is, to keep it
// to what its ticket allows and to know when a person is at work.
package proxy

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/proxy/reactor"
)

// Mode is what a viewer may do with the session.
type Mode string

const (
	Control Mode = "control"
	View    Mode = "view" // look only
)

// Grant is what a ticket allows.
type Grant struct {
	Session, Org, Owner string
	Viewer              string // who looks, for people; may be empty
	Mode                Mode
	Ticket              string    // its id, for logs
	Expires             time.Time // of the ticket; a stream that it opened goes on
	Node                string    // what Options.Node says
}

// Options are what a Proxy works with.
type Options struct {
	Log     *zap.Logger // nil: no log
	Metrics *Metrics    // nil: none are kept
	// Authorize turns a ticket into a grant before the upgrade. A *Refusal
	// becomes the HTTP answer; any other error is Internal. The context lasts
	// 10 s.
	Authorize func(ctx context.Context, token string) (Grant, error)
	// Node is the edge of several where a viewer's stream should be, by its
	// request; empty: wherever it is best. nil: it is never asked.
	Node func(h *fasthttp.RequestHeader) string
	// Dial connects to the session's VNC server, after the upgrade. stream is
	// the id that the log has. A *Refusal becomes the close frame; other errors
	// are told apart as refused, silent and Internal. The context ends after
	// 10 s, or when the viewer has gone, and Dial must return then. The stream
	// closes the connection. A *Server tells more of it.
	Dial func(ctx context.Context, g Grant, stream string) (net.Conn, error)
	// Activity is told how many viewers a session has after one came or went.
	// Calls come one at a time and the last one has the true number; it must
	// not block. nil: nobody needs it.
	Activity func(session string, viewers int)
	// Input is told that somebody has used a key or the pointer of a session, at
	// most once a second by each stream; it may block for a while. nil: nobody
	// needs it.
	Input func(session string)
	// Ended is told of each viewer that has left or was refused, once; it must not
	// block. nil: nobody needs it.
	Ended func(Ended)
	// BlockClipboardIn drops what viewers paste. See rfb.Policy.
	BlockClipboardIn bool
	// AllowedOrigins lists the origins beside the edge's own whose pages may
	// connect: "https://desk.example.org" or "https://*.example.org". See
	// CheckOrigin.
	AllowedOrigins []string
	// Viewers at once; 0: no bound. A user's are those of the sessions that have
	// one org and owner, whoever looks at them.
	MaxStreams, MaxStreamsPerSession, MaxStreamsPerUser int
	// Bandwidth limits what viewers are sent; nil: nothing does.
	Bandwidth *Bandwidth
	// Reactor runs the streams; the caller closes it after Close. nil: the Proxy
	// has one of its own, which uses goroutines.
	Reactor *reactor.Reactor
}

// Server is a connection to a VNC server of which Options.Dial knows more.
type Server struct {
	net.Conn
	// Welcome: the handshake has been gone through, and the server waits for
	// ClientInit. The stream goes through the viewer's, which needs no password.
	Welcome bool
	// WebSocket: it is a WebSocket of which the server is the server's end, after
	// the opening handshake, without extensions.
	WebSocket bool
	// Ended is asked, when the connection has ended, whether it has for a reason
	// that is not the VNC server's; "": it has not. cause is io.EOF where it said
	// that nothing more comes. It must not block. nil: there is no such reason.
	Ended func(cause error) Reason
	// Gone is called once, when the stream no longer counts among the proxy's. It
	// must not block. nil: nobody needs it.
	Gone func()
}

// Proxy serves viewers. Its methods are safe for concurrent use.
type Proxy struct {
	options Options
	log     *zap.Logger
	metrics *Metrics
	times   timing
	reactor *reactor.Reactor

	ctx     context.Context // ends when Close gives up waiting
	cancel  context.CancelFunc
	running sync.WaitGroup // goroutines that dial and that record ends

	activity sync.Mutex // held while Options.Activity runs

	mu       sync.Mutex // guards the fields below
	streams  map[*stream]struct{}
	quota    quota
	draining bool
	closing  bool          // for good
	empty    chan struct{} // closed when the last stream went while draining
}

// timing holds the deadlines of a stream.
type timing struct {
	authorize      time.Duration // for Options.Authorize
	dial           time.Duration // for Options.Dial
	serverGreeting time.Duration // from the dial to the VNC server's greeting
	viewerGreeting time.Duration // from that greeting to the viewer's
	ping           time.Duration // between looks at whether both ends live
	silence        time.Duration // without an acknowledgement of what was sent, after which an end is dead
	close          time.Duration // for the last words: both close frames, the server's end of stream
}

// defaultTiming finds a dead peer within about a minute: three pings without an
// answer, or 60 s without an acknowledgement.
func defaultTiming() timing {
	return timing{
		authorize:      10 * time.Second,
		dial:           10 * time.Second,
		serverGreeting: 10 * time.Second,
		viewerGreeting: 30 * time.Second,
		ping:           20 * time.Second,
		silence:        60 * time.Second,
		close:          5 * time.Second,
	}
}

// New makes a Proxy. Close ends it.
func New(o Options) *Proxy {
	p := &Proxy{
		options: o,
		log:     o.Log,
		metrics: o.Metrics,
		times:   defaultTiming(),
		streams: make(map[*stream]struct{}),
		quota:   newQuota(o),
		empty:   make(chan struct{}),
	}
	if p.log == nil {
		p.log = zap.NewNop()
	}
	if p.metrics == nil {
		p.metrics = NewMetrics(nil)
	}
	if p.reactor = o.Reactor; p.reactor == nil {
		p.reactor = reactor.NewPortable(1)
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// Active is the number of viewers that are connected now.
func (p *Proxy) Active() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.streams)
}

// Viewers is the number of viewers of a session that are connected now.
func (p *Proxy) Viewers(session string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.quota.sessions[session]
}

// End closes every viewer of a session and does not wait for them to be gone.
func (p *Proxy) End(session string, why Reason) {
	for _, s := range p.viewersOf(session) {
		s.post(func() { s.end(&Refusal{Reason: why}) })
	}
}

func (p *Proxy) viewersOf(session string) (found []*stream) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for s := range p.streams {
		if s.grant.Session == session {
			found = append(found, s)
		}
	}
	return found
}

// refuses tells why no further viewer at all can be taken; nil when one can.
func (p *Proxy) refuses() *Refusal {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.draining {
		return &Refusal{Reason: NodeDraining}
	}
	return p.quota.full()
}

// HasRoom tells why no further viewer with this grant can be taken now, as a
// *Refusal; nil when one can. Options.Authorize asks before it uses a ticket up,
// so that a viewer which is told to try again can do so with the same one.
func (p *Proxy) HasRoom(g Grant) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if refusal := p.refusesLocked(g); refusal != nil {
		return refusal
	}
	return nil
}

func (p *Proxy) refusesLocked(g Grant) *Refusal {
	if p.draining {
		return &Refusal{Reason: NodeDraining}
	}
	return p.quota.refuses(g)
}

// admit counts a viewer in and starts its stream, unless there is no room.
func (p *Proxy) admit(v visit, conn net.Conn, response, ahead []byte) *Refusal {
	ctx, cancel := context.WithCancel(p.ctx)
	s := &stream{p: p, visit: v, loop: p.reactor.Loop(), cancel: cancel}
	reactor.KeepAlive(conn)
	p.mu.Lock()
	if refusal := p.refusesLocked(v.grant); refusal != nil {
		p.mu.Unlock()
		cancel()
		return refusal
	}
	p.streams[s] = struct{}{}
	p.quota.take(s.grant)
	p.metrics.active.Inc()
	// Inside the lock: who finds the stream may want its end, which comes after.
	started := s.loop.Do(func() { s.begin(s.loop.Add(conn, (*viewerSide)(s)), response, ahead, ctx) })
	p.mu.Unlock()
	if !started { // only after Close
		cancel()
		_ = conn.Close()
		p.forget(s)
	}
	return nil
}

// forget counts s out. It is the last thing that s does.
func (p *Proxy) forget(s *stream) {
	if s.serverForgotten != nil {
		s.serverForgotten()
	}
	p.mu.Lock()
	delete(p.streams, s)
	p.quota.giveBack(s.grant)
	last, empty := p.draining && len(p.streams) == 0, p.empty // a Resume may make another
	p.mu.Unlock()
	p.metrics.active.Dec()
	p.tellActivity(s.grant.Session)
	if last {
		close(empty)
	}
}

// tellActivity reads the number inside the lock, so that however calls overtake
// each other the last one is told the newest.
func (p *Proxy) tellActivity(session string) {
	if p.options.Activity == nil {
		return
	}
	p.activity.Lock()
	defer p.activity.Unlock()
	p.options.Activity(session, p.Viewers(session))
}
