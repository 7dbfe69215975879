package store

import (
	"context"
	"time"
)

// Event tells that something changed. Subscribers that need the new value read
// it from the Store.
type Event struct {
	// Type is "session", "agent", "node", "pool"; "resync": events were missed,
	// read everything again; or, for edges alone, "lease", of which ID is the
	// kind, "viewers": the session ID has Viewers on Node, and "activity": a
	// person uses the session ID.
	Type  string `json:"type"`
	ID    string `json:"id,omitempty"`
	State string `json:"state,omitempty"`
	Org   string `json:"-"` // with Owner: who may see it; both empty for things that belong to nobody
	Owner string `json:"-"`

	// Of a "session" whose end is announced, as in Session; an event of the
	// session without them takes it back.
	EndsAt      time.Time   `json:"ends_at,omitzero"`
	EndsBecause EndsBecause `json:"ends_because,omitempty"`

	// Of a "session" that runs: its agent has just connected and has it, though
	// State may be what it was before.
	AgentUp bool `json:"agent_up,omitempty"`

	// Of a "session": when its row was written, by which who has that row knows it,
	// and how many viewers it has on Node, the edge that published this.
	Updated time.Time `json:"-"`
	Node    string    `json:"-"`
	Viewers int       `json:"-"`
	Told    string    `json:"-"` // of one that ends or has ended: what its viewers are told

	Remote bool `json:"-"` // another edge has published it; what is kept here of the thing is old
}

// Coord holds what may be lost: losing it costs a retry, never a session.
// Safe for concurrent use.
type Coord interface {
	// Take takes 1 from the bucket of that name, which is full when it is new and
	// fills at the rate; who is refused has taken nothing. A bucket that was not
	// taken from for as long as it needs to be full may be forgotten. Errors:
	// Unavailable, and then nothing is known of the bucket.
	Take(ctx context.Context, bucket string, r Rate) (Taken, error)
	// Look is Take that takes nothing: OK tells whether Take would.
	Look(ctx context.Context, bucket string, r Rate) (Taken, error)
	// TakePlace takes one of the places of a group, of which it has most, for ttl;
	// a holder that has one already keeps it. Renew it with KeepPlaces at a third of
	// ttl. Errors: Unavailable: nothing is known of the place; who goes on without
	// it keeps it all the same, so that it counts once the Coord is back.
	TakePlace(ctx context.Context, group, holder string, most int, ttl time.Duration) (taken bool, err error)
	// KeepPlaces renews the places of these holders by their groups, for ttl from
	// now. Those that the Coord has lost are there again, whatever the bound.
	// Errors: Unavailable.
	KeepPlaces(ctx context.Context, held map[string][]string, ttl time.Duration) error
	// LeavePlaces gives the places of these holders back, by their groups. Errors:
	// Unavailable; they end by themselves.
	LeavePlaces(ctx context.Context, held map[string][]string) error
	// Places is how many places of the group are held. Errors: Unavailable.
	Places(ctx context.Context, group string) (held int, err error)
	// Generation returns a number above that of every lease of this kind and id
	// which is held now, and above those it returned before: for who begins to
	// hold it. Errors: Unavailable.
	Generation(ctx context.Context, kind, id string) (uint64, error)
	// Hold makes the lease, or renews it, for ttl from now, by a clock that the
	// edges share. Renew it at a third of ttl: what the Coord loses is then back
	// before anybody notices. Errors: Conflict when a newer generation holds it
	// or this one was released (Lease.Superseded), Invalid (Lease.Check),
	// Unavailable.
	Hold(ctx context.Context, l Lease, ttl time.Duration) error
	// Release ends the lease unless a newer generation holds it. A Hold of this
	// generation or an older one that comes late, up to a minute, changes
	// nothing. Errors: Unavailable.
	Release(ctx context.Context, kind, id string, generation uint64) error
	// Leases are those of a kind that are held, sorted by id. Errors:
	// Unavailable; who has a list keeps it then.
	Leases(ctx context.Context, kind string) ([]Lease, error)
	// Publish never blocks on a slow subscriber.
	Publish(ctx context.Context, e Event)
	// Subscribe delivers what is published after it returned, in the order of
	// each edge, until ctx ends or the Coord is closed; then it closes the
	// channel. A subscriber that falls behind by more than the queue holds gets
	// one "resync" in place of what it missed, as do all where the network loses
	// something. Hold and Release publish a "lease" of what they change; the end
	// of a ttl nobody tells.
	Subscribe(ctx context.Context) <-chan Event
	// Ping tells whether the other edges can be reached through it; nil for
	// the in-process Coord.
	Ping(ctx context.Context) error
	// Close ends all subscriptions and waits for what the Coord runs.
	Close() error
}
