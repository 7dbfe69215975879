package auth

import "github.com/streamspace-dev/streamspace-edge/store"

// Verb is what a caller wants to do.
type Verb string

const (
	Self Verb = "self" // see who one is, log in, listen to events

	// What is done to sessions.
	ListSessions   Verb = "sessions.list"
	CreateSession  Verb = "sessions.create"
	CreateDirect   Verb = "sessions.create_direct" // one with an endpoint of its own
	GetSession     Verb = "sessions.get"
	StopSession    Verb = "sessions.stop"
	ViewSession    Verb = "sessions.view" // look at its screen
	ControlSession Verb = "sessions.control"

	// What is done to the installation.
	Agents Verb = "agents"
	Nodes  Verb = "nodes"
	Keys   Verb = "keys"
	Pools  Verb = "pools" // and the config that they come from
)

// Verbs lists every verb.
func Verbs() []Verb {
	return []Verb{
		Self, ListSessions, CreateSession, CreateDirect, GetSession, StopSession, ViewSession, ControlSession, Agents, Nodes, Keys, Pools,
	}
}

// May is the one place that tells whether a caller may do something: nil,
// Forbidden, or NotFound for a session that the caller must not know of. s is
// the session in question; with nil it tells whether the caller may do it at
// all, to sessions of its own.
func May(c Caller, verb Verb, s *store.Session) error {
	switch {
	case c.Role == store.RoleAdmin:
		return nil
	case c.Role != store.RoleUser || c.Org == "" || c.Owner == "":
		return store.Errorf(store.Forbidden, "a key with role %q can't be used here; it needs %q or %q", c.Role, store.RoleUser, store.RoleAdmin)
	}
	switch verb {
	case Self, ListSessions, CreateSession, GetSession, StopSession, ViewSession, ControlSession:
	case CreateDirect:
		return store.Errorf(store.Forbidden, "endpoint is for keys with role %q only; leave it out to get a desktop from an agent", store.RoleAdmin)
	default:
		return store.Errorf(store.Forbidden, "this is for keys with role %q only", store.RoleAdmin)
	}
	if s != nil && (s.Org != c.Org || s.Owner != c.Owner) {
		return NoSession(s.ID)
	}
	return nil
}

// NoSession is the answer for a session that does not exist, and for one that
// the caller must not know of.
func NoSession(id string) error {
	return store.Errorf(store.NotFound, "there is no session %s", id)
}

// Narrow limits a listing to the sessions that the caller may see; none is true
// when the filter asks only for others.
func Narrow(c Caller, f store.SessionFilter) (narrowed store.SessionFilter, none bool) {
	if c.Role == store.RoleAdmin {
		return f, false
	}
	if May(c, ListSessions, nil) != nil || (f.Org != "" && f.Org != c.Org) || (f.Owner != "" && f.Owner != c.Owner) {
		return store.SessionFilter{}, true
	}
	f.Org, f.Owner = c.Org, c.Owner
	return f, false
}

// Sees tells whether the caller may be told of an event.
func Sees(c Caller, e store.Event) bool {
	switch e.Type {
	case "resync":
		return true
	case "lease", "viewers", "activity": // the edges' own
		return false
	case "session":
		return May(c, GetSession, &store.Session{ID: e.ID, Org: e.Org, Owner: e.Owner}) == nil
	default:
		return May(c, Agents, nil) == nil
	}
}
