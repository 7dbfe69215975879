package store

import (
	"context"
	"time"
)

// Event tells that something changed. Subscribers that need the new value read
// it from the Store.
type Event struct {
	Type  string `json:"type"` // "session", "agent", "node", "pool", or "resync": events were missed, read everything again
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
}

// Coord holds what may be lost: losing it costs a retry, never a session.
// Safe for concurrent use.
type Coord interface {
	// UseTicket tells whether this is the first use of the ticket id; it
	// remembers ids until expires. A ticket that has expired counts as used.
	// Errors: Unavailable, and then nothing is known of the ticket.
	UseTicket(ctx context.Context, id string, expires time.Time) (first bool, err error)
	// Take takes 1 from the bucket of that name, which is full when it is new and
	// fills at the rate; who is refused has taken nothing. A bucket that was not
	// taken from for as long as it needs to be full may be forgotten. Errors:
	// Unavailable, and then nothing is known of the bucket.
	Take(ctx context.Context, bucket string, r Rate) (Taken, error)
	// Publish never blocks on a slow subscriber.
	Publish(ctx context.Context, e Event)
	// Subscribe delivers, in order, what is published after it returned, until
	// ctx ends or the Coord is closed; then it closes the channel. A
	// subscriber that falls behind by more than the queue holds gets one
	// "resync" in place of what it missed.
	Subscribe(ctx context.Context) <-chan Event
	// Ping tells whether the other edges can be reached through it; nil for
	// the in-process Coord.
	Ping(ctx context.Context) error
	// Close ends all subscriptions and waits for what the Coord runs.
	Close() error
}
