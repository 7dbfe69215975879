// Package store holds the nouns that every room shares (sessions, agents,
// keys), the table of session states, the error codes, and the two interfaces
// behind which state is kept: Store for what must not be lost, Coord for what
// may be. It imports nothing of ours.
package store

import (
	"context"
	"time"
)

// Session is one remote desktop. A *Session handed out by a Store is the
// caller's own copy: changing it changes nothing that is stored. Times and
// durations of every noun are kept to the microsecond, times in UTC.
type Session struct {
	ID    string // UUIDv7
	Name  string
	Org   string
	Owner string

	State   State  // what was last observed
	Desired State  // what the owner wants: Running, Hibernated or Terminated
	Reason  string // why it is in State, in words for a person; empty when all is well

	AgentID  string // empty until placed, and always for a session with an Endpoint
	Runtime  string
	Labels   map[string]string // what the agent must carry; nil means anything
	Width    int               // pixels, 0 means the runtime's default
	Height   int
	Endpoint string // "host:port" or "ws://…" of a VNC server that the edge dials itself; empty for an agent's session

	IdleTimeout time.Duration // 0: never
	MaxDuration time.Duration // 0: no end

	LastActivity time.Time // when it was last used: opened to be controlled, a key, the pointer; to the minute. CreatedAt before the first
	CreatedAt    time.Time
	UpdatedAt    time.Time
	ExpiresAt    time.Time // zero: no end

	// The end that is announced because it is near; zero and empty when none
	// is. Use takes back one for EndsIdle.
	EndsAt      time.Time
	EndsBecause EndsBecause

	Refusals Refusals // of its start; zero once it has run or has ended
}

// EndsBecause is what brings a session to its end by itself.
type EndsBecause string

const (
	EndsIdle        EndsBecause = "idle_timeout" // nobody used it for IdleTimeout
	EndsMaxDuration EndsBecause = "max_duration" // ExpiresAt has come
)

// Ended tells whether nothing will ever run again under this id.
func (s *Session) Ended() bool { return s.State == Terminated || s.State == Failed }

// SessionFilter narrows Sessions. The zero value lists everything.
type SessionFilter struct {
	Org, Owner, AgentID string
	States              []State // any of these; empty means all
	Limit               int     // 1 to 1000; 0 means 100
	Cursor              string  // what the page before returned as next; empty starts at the newest
}

// AgentStatus is what the edge knows of an agent's reachability.
type AgentStatus string

const (
	AgentOnline   AgentStatus = "online"
	AgentDraining AgentStatus = "draining" // online, takes no new sessions
	AgentOffline  AgentStatus = "offline"
)

// Runtime is one way in which an agent can start a session.
type Runtime struct {
	Name  string `json:"name"`
	Type  string `json:"type,omitempty"`  // "process", "static" or "demo"; empty: not told
	Slots int    `json:"slots,omitempty"` // sessions of this runtime at once; 0: only the agent's capacity binds

	Endpoints []string `json:"endpoints,omitempty"` // names of VNC servers that exist already; a session may ask for one
	Missing   string   `json:"missing,omitempty"`   // why it can start nothing on that host, for a person; empty: it can
}

// Agent is one desktop host as it last described itself. Whether it is
// connected now is not stored: Status is derived by whoever holds its tunnel.
type Agent struct {
	ID            string // UUIDv7, made by the agent at its first start
	Name          string
	KeyHash       []byte // SHA-256 of the secret that pins ID to one host
	Capacity      int    // sessions at once, >= 1
	Weight        int    // >= 1; 2 takes twice the share of 1
	Labels        map[string]string
	Runtimes      []Runtime // the first is the default
	Version       string
	Draining      bool
	CreatedAt     time.Time
	LastHeartbeat time.Time
}

// Role is what a key may do.
type Role string

const (
	RoleAdmin Role = "admin" // operates the installation: everything, in every organisation
	RoleUser  Role = "user"  // own sessions in the own organisation
	RoleAgent Role = "agent" // join as an agent, nothing else
)

// Valid tells whether r is one of the roles.
func (r Role) Valid() bool { return r == RoleAdmin || r == RoleUser || r == RoleAgent }

// Key is an API key or a join token. The secret itself is never stored.
type Key struct {
	ID        string // UUIDv7
	Name      string
	Org       string
	Owner     string
	Role      Role
	Hash      []byte // SHA-256 of the secret (256 random bits, so no salt or stretching is needed)
	CreatedAt time.Time
	ExpiresAt time.Time // zero: never
}

// Limits of SessionFilter.Limit.
const (
	DefaultPage = 100
	MaxPage     = 1000
)

// IdempotencyTTL is how long an idempotency key is remembered.
const IdempotencyTTL = 24 * time.Hour

// TicketPatience is how long the use of a ticket is known after it has expired,
// for edges whose clock is behind.
const TicketPatience = time.Hour

// lagAllowed is the key of AllowLag in a context.
type lagAllowed struct{}

// AllowLag returns a context with which Session and Sessions may be answered by a
// copy of the data that has everything written before the call began, through
// whichever edge. Without it every read is by the authority itself, as what decides
// something has to be.
func AllowLag(ctx context.Context) context.Context {
	return context.WithValue(ctx, lagAllowed{}, true)
}

// LagAllowed tells whether ctx is one of AllowLag's.
func LagAllowed(ctx context.Context) bool { return ctx.Value(lagAllowed{}) != nil }

// Store is the authority on sessions, agents, keys, the use of tickets, drained edges and signing secrets. When a
// writing call returns nil, what it wrote survives kill -9 and power loss.
// Every method returns an *Error with a Code for what a caller can act on:
// NotFound (an id that is malformed is just not found), Conflict (it exists
// already), Invalid (a field breaks its contract; the text names it) or
// Unavailable. When ctx ends first, the error is Unavailable and wraps
// ctx.Err(). Safe for concurrent use.
//
// A change function runs inside a transaction that keeps other writers of the
// row out: it must be quick and must not call the Store. It works on a copy of
// its own. It is called again, with a fresh copy, when the database ended the
// transaction before anything was written (a failover, say).
//
// When the connection to the database is lost while a write is committed, the
// error is Unavailable and the write may or may not have happened.
type Store interface {
	// CreateSession stores s; times of s that are zero, but ExpiresAt, become
	// now. With a non-empty idempotencyKey that the same owner of the same
	// organisation used within IdempotencyTTL, it stores nothing and returns
	// that first call's session as it is now, and created=false. A key is
	// forgotten with its session.
	CreateSession(ctx context.Context, s *Session, idempotencyKey string) (stored *Session, created bool, err error)
	// AdmitSession is CreateSession, if what a asks for holds; what was created
	// with that key before is returned without asking.
	AdmitSession(ctx context.Context, s *Session, idempotencyKey string, a Admission) (stored *Session, created bool, err error)
	// SessionByKey returns what CreateSession stored with that key, NotFound
	// when there is nothing.
	SessionByKey(ctx context.Context, org, owner, idempotencyKey string) (*Session, error)
	Session(ctx context.Context, id string) (*Session, error)
	// Sessions lists by CreatedAt, newest first; every session that exists
	// from the first page to the last is on exactly one. next is empty on the
	// last page. A Limit out of range or a Cursor that Sessions did not make
	// is Invalid.
	Sessions(ctx context.Context, f SessionFilter) (page []*Session, next string, err error)
	// UpdateSession reads, calls change, checks the step against the state
	// table (Conflict when it is not allowed), stamps UpdatedAt (now, but always
	// later than before, so that it tells a row's versions apart) and writes, in
	// one transaction. ID, Org, Owner and CreatedAt stay whatever change does.
	// An error from change is returned as it is and nothing is written;
	// ErrUnchanged from change means no write and no error.
	UpdateSession(ctx context.Context, id string, change func(*Session) error) (*Session, error)
	// PlaceSession is UpdateSession, if fits agrees to the agent when change has
	// set another one.
	PlaceSession(ctx context.Context, id string, fits Fits, change func(*Session) error) (*Session, error)
	// ActiveSessions counts the sessions that take room on each agent, by
	// agent and runtime: all that are placed and have not ended.
	ActiveSessions(ctx context.Context) (map[string]map[string]int, error)
	// PurgeSessions deletes sessions that ended, and were last updated, before
	// t, and with them what is of no use any more: idempotency keys older than
	// IdempotencyTTL, and the use of tickets that expired TicketPatience ago.
	PurgeSessions(ctx context.Context, t time.Time) (deleted int, err error)

	// EnrolAgent stores what an agent says of itself and returns what is
	// stored. A new id is created with a.KeyHash; a known id must carry the
	// same KeyHash, else Forbidden. Draining and CreatedAt of a known agent
	// stay as they are; a zero CreatedAt of a new one becomes now.
	EnrolAgent(ctx context.Context, a *Agent) (*Agent, error)
	Agent(ctx context.Context, id string) (*Agent, error)
	// Agents lists all of them, oldest first.
	Agents(ctx context.Context) ([]*Agent, error)
	// UpdateAgent is to agents what UpdateSession is to sessions. ID, KeyHash
	// and CreatedAt stay whatever change does.
	UpdateAgent(ctx context.Context, id string, change func(*Agent) error) (*Agent, error)
	// DeleteAgent forgets the agent; its sessions stay as they are.
	DeleteAgent(ctx context.Context, id string) error

	// CreateKey stores k; a zero CreatedAt becomes now. Conflict when its ID
	// or its Hash is stored already.
	CreateKey(ctx context.Context, k *Key) error
	// KeyByHash and Key return keys that have expired too.
	KeyByHash(ctx context.Context, hash []byte) (*Key, error)
	Key(ctx context.Context, id string) (*Key, error)
	// Keys lists all of them, oldest first.
	Keys(ctx context.Context) ([]*Key, error)
	DeleteKey(ctx context.Context, id string) error

	// TicketLedger is the id of the ledger that notes the use of tickets which are
	// made now. A ticket names it and is good for nothing once there is another: a
	// Store that notes in memory has a new one when it was not closed before.
	TicketLedger() string
	// UseTicket notes that the ticket of that id is used, and tells whether it
	// may be: once, by whoever comes first at any edge of this store, and never if
	// it belongs to another ledger. The caller has seen that it has not expired;
	// one that has may count as used, and does so TicketPatience after. Unavailable:
	// it must not be used, and may count as used from now on.
	UseTicket(ctx context.Context, ledger, id string, expires time.Time) (first bool, err error)

	// SetNodeDrained keeps in mind whether an operator has drained the edge of
	// that id; changed tells whether it was otherwise before. An empty id is
	// Invalid; whether there is such an edge, nobody asks.
	SetNodeDrained(ctx context.Context, id string, drained bool) (changed bool, err error)
	// DrainedNodes are the ids of the edges that are drained, sorted.
	DrainedNodes(ctx context.Context) ([]string, error)

	// Secret returns the signing secret of that name: 32 random bytes, made at
	// the first call and the same ever after, for every edge on this store.
	Secret(ctx context.Context, name string) ([]byte, error)

	// ClockAhead is how far the store's clock, by which are all times that it
	// stamps and that edges compare, is ahead of this host's; negative: behind. It
	// is 0 while they differ by a second at most or nothing is known, and else stays
	// as it is until it is off by more than that. It does not block.
	ClockAhead() time.Duration

	// Ping fails when the store can't take a write, with ErrDiskFull where that is
	// why. That a disk is full the first write finds that it refuses.
	Ping(ctx context.Context) error
	// Close ends the use of the store; calls after it are Unavailable.
	Close() error
}
