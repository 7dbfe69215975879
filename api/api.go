// Package api is the edge's public HTTP interface: sessions, agents, nodes,
// keys, log-in, events and health. openapi.yaml describes it to the letter; a
// test holds the two together.
package api

import (
	"context"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/api/auth"
	"github.com/streamspace-dev/streamspace-edge/store"
)

// requestTime bounds the work on one request; event streams have none.
const requestTime = 20 * time.Second

// maxEventStreams is how many clients may listen to events at once: a browser
// tab each.
const maxEventStreams = 1000

// Options are what the API needs of the other rooms. The functions marked
// optional may be nil; the rest must be set. All are called from many
// goroutines at once.
type Options struct {
	Store   store.Store
	Coord   store.Coord
	Auth    *auth.Auth
	Log     *zap.Logger  // nil: silent
	Metrics *Metrics     // nil: counted for nobody
	Console http.Handler // everything that is not the API's; nil: 404
	Version string

	CreateSession func(ctx context.Context, s *store.Session, idempotencyKey string) (*store.Session, error)
	StopSession   func(ctx context.Context, id string) (*store.Session, error)
	CheckEndpoint func(endpoint string) error // whether the edge may connect there itself; nil: nowhere
	Viewers       func(sessionID string) int  // optional
	// Streams tells of the viewers that are connected to a session now, in any
	// order; it is called only for who may see the session. nil: none are told.
	Streams func(sessionID string) []Stream
	// NotNow tells why a stream with this ticket would be refused at this
	// moment, nil when it would not. nil: it is never told.
	NotNow func(t auth.Ticket) *NotNow

	// NodeCookie is the Set-Cookie header that goes with a ticket for s; empty:
	// none. nil: there is never one.
	NodeCookie func(r *http.Request, s *store.Session) string

	AgentStatus func(*store.Agent) store.AgentStatus
	AgentActive func(agentID string) int
	AgentRoom   func(*store.Agent) int        // how many sessions it may have: its capacity less the headroom
	AgentHeard  func(*store.Agent) time.Time  // its last heartbeat; nil: the stored one, which may be a minute old
	AgentHomes  func(agentID string) []string // the nodes it is connected to; nil: none is told
	DrainAgent  func(ctx context.Context, id string) error
	ResumeAgent func(ctx context.Context, id string) error
	DeleteAgent func(ctx context.Context, id string) error

	Nodes func(ctx context.Context) ([]Node, error)
	// DrainNode and ResumeNode return the node after it. NotFound.
	DrainNode, ResumeNode func(ctx context.Context, id string) (Node, error)

	Health func(ctx context.Context) Health
	Hints  func(ctx context.Context) []Hint // optional: what an operator should know when looking at the console

	Pools func() []Pool // of the balancer
	// SetUpstream's setting is "enabled", "draining" or "disabled"; drain is how
	// long the second keeps its clients, 0: as its pool says. NotFound.
	SetUpstream func(pool, upstream, setting string, drain time.Duration) (Upstream, error)
	Reload      func() (changed []string, err error) // reads the config again; Invalid: it has faults, and nothing was changed

	// Client is the address of who sent r, where the connection is a proxy's, as
	// "HOST:PORT". nil: r.RemoteAddr.
	Client func(r *http.Request) string
	// Limit counts a request: first with a zero caller, and again once that is
	// known. RateLimited refuses it. It may set headers of the answer. nil: there
	// are no limits.
	Limit func(r *http.Request, c auth.Caller, answer http.Header) error
	// Ended is told of each request once, an upgraded one's connection at its end.
	// r must not be kept. nil: nobody needs it.
	Ended func(r *http.Request, e Ended)
	// HSTS is sent as Strict-Transport-Security; empty: it is not.
	HSTS string

	TicketTTL        time.Duration                // 0: auth.DefaultTicketTTL
	BlockClipboardIn bool                         // what viewers paste is dropped, which tickets tell
	PublicURL        func(r *http.Request) string // the origin by which the client of r reaches the edge; nil: the request's host
	AllowedOrigins   []string                     // as auth.Site.AllowedOrigins
	SecureCookies    bool                         // browsers come by HTTPS to this process
	JoinPin          string                       // "sha256:HEX", put behind join tokens; empty: none
}

// server answers requests. It starts no goroutines of its own.
type server struct {
	o       Options
	site    auth.Site
	routes  *http.ServeMux
	streams chan struct{} // holds one for each open event stream
}

// New returns the handler of all pages of the edge, API and console.
func New(o Options) http.Handler {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	if o.PublicURL == nil {
		o.PublicURL = func(r *http.Request) string {
			if o.SecureCookies {
				return "https://" + r.Host
			}
			return "http://" + r.Host
		}
	}
	s := &server{
		o:       o,
		site:    auth.Site{Secure: o.SecureCookies, AllowedOrigins: o.AllowedOrigins},
		streams: make(chan struct{}, maxEventStreams),
	}
	s.routes = s.newRoutes()
	return s
}
