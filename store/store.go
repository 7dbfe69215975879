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
// caller's own copy: changing it changes nothing that is stored.
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
	Endpoint string // "host:port" of a VNC server that the edge dials itself; empty for an agent's session

	IdleTimeout time.Duration // 0: never
	MaxDuration time.Duration // 0: no end

	LastActivity time.Time // when a viewer was last attached; CreatedAt before the first
	CreatedAt    time.Time
	UpdatedAt    time.Time
	ExpiresAt    time.Time // zero: no end
}

// Ended tells whether nothing will ever run again under this id.
func (s *Session) Ended() bool { return s.State == Terminated || s.State == Failed }

// SessionFilter narrows Sessions. The zero value lists everything.
type SessionFilter struct {
	Org, Owner, AgentID string
	States              []State // any of these; empty means all
	Limit               int     // 1 to 1000; 0 means 100
	Cursor              string  // NextCursor of the page before; empty starts at the newest
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
	Slots int    `json:"slots,omitempty"` // sessions of this runtime at once; 0: only the agent's capacity binds
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

// Store is the authority on sessions, agents, keys and signing secrets. When a
// writing call returns nil, what it wrote survives kill -9 and power loss.
// Every method returns an *Error with a Code for what a caller can act on:
// NotFound, Conflict, Invalid or Unavailable. Safe for concurrent use.
type Store interface {
	// CreateSession stores s. With a non-empty idempotencyKey that the same
	// owner used before, it stores nothing and returns the session of that
	// first call and created=false. Keys are kept for 24 hours.
	CreateSession(ctx context.Context, s *Session, idempotencyKey string) (stored *Session, created bool, err error)
	Session(ctx context.Context, id string) (*Session, error)
	// Sessions lists newest first. next is empty on the last page.
	Sessions(ctx context.Context, f SessionFilter) (page []*Session, next string, err error)
	// UpdateSession reads, calls change, checks the step against the state
	// table (Conflict when it is not allowed), stamps UpdatedAt and writes, in
	// one transaction. An error from change is returned as it is and nothing
	// is written; ErrUnchanged from change means no write and no error.
	UpdateSession(ctx context.Context, id string, change func(*Session) error) (*Session, error)
	// ActiveSessions counts the sessions that take room on each agent, by
	// agent and runtime: all that are placed and have not ended.
	ActiveSessions(ctx context.Context) (map[string]map[string]int, error)
	// PurgeSessions deletes sessions that ended before t, and idempotency keys older than 24 hours before now.
	PurgeSessions(ctx context.Context, t time.Time) (deleted int, err error)

	// EnrolAgent stores what an agent says of itself. A new id is created with
	// a.KeyHash; a known id must carry the same KeyHash, else Forbidden.
	// Draining and CreatedAt of a known agent stay as they are.
	EnrolAgent(ctx context.Context, a *Agent) (*Agent, error)
	Agent(ctx context.Context, id string) (*Agent, error)
	Agents(ctx context.Context) ([]*Agent, error)
	UpdateAgent(ctx context.Context, id string, change func(*Agent) error) (*Agent, error)
	DeleteAgent(ctx context.Context, id string) error

	CreateKey(ctx context.Context, k *Key) error
	KeyByHash(ctx context.Context, hash []byte) (*Key, error)
	Key(ctx context.Context, id string) (*Key, error)
	Keys(ctx context.Context) ([]*Key, error)
	DeleteKey(ctx context.Context, id string) error

	// Secret returns the signing secret of that name: 32 random bytes, made at
	// the first call and the same ever after, for every edge on this store.
	Secret(ctx context.Context, name string) ([]byte, error)

	// Ping fails when the store can't take a write.
	Ping(ctx context.Context) error
	Close() error
}
