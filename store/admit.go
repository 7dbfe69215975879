package store

import "time"

// Fits decides whether a session may be placed on an agent. It is asked inside
// the transaction that places it, while nobody else can place anything there:
// a is the agent as it is then, nil when there is none of that id, and there are
// the other sessions that take room on it, of which nothing but ID, Runtime and
// Labels is set. An error is returned as it is and nothing is written. It must be quick, must not call the Store, and may be
// asked again like a change function.
type Fits func(a *Agent, there []*Session) error

// Admission is what must hold for a session to be stored, however many edges
// store sessions at once.
type Admission struct {
	// Quota is asked with how many sessions the owner in its organisation has
	// that have not ended; the rules of Fits hold for it. nil: no bound.
	Quota func(sessions int) error
	// Fits is asked about the session's agent. nil, or a session without one: anything fits.
	Fits Fits
}

// Refusals is what is known of a session's failed starts, until it runs. It is
// in the row because the edge that has the session started may be another one
// after each of them.
type Refusals struct {
	Count     int             `json:"count,omitzero"`
	By        map[string]bool `json:"by,omitempty"`        // by agent id: not to be asked now; true: not later either
	Latest    string          `json:"latest,omitzero"`     // in words
	NotBefore time.Time       `json:"not_before,omitzero"` // when the others in By may be asked again
}
