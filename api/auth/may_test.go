package auth

import (
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/streamspace-dev/streamspace-edge/store"
)

func TestVerbsByRole(t *testing.T) {
	session := &store.Session{ID: uuid.NewString(), Org: "a", Owner: "alice"}
	admin := Caller{Org: "default", Owner: "admin", Role: store.RoleAdmin}
	alice := Caller{Org: "a", Owner: "alice", Role: store.RoleUser}
	bob := Caller{Org: "a", Owner: "bob", Role: store.RoleUser}
	stranger := Caller{Org: "b", Owner: "alice", Role: store.RoleUser}
	for _, verb := range Verbs() {
		aboutSession := strings.HasPrefix(string(verb), "sessions.") && verb != CreateDirect
		user, other := store.Forbidden, store.Forbidden
		if aboutSession || verb == Self {
			user, other = "", store.NotFound
		}
		for name, c := range map[string]struct {
			caller Caller
			want   store.Code
		}{
			"admin": {admin, ""}, "owner": {alice, user}, "another owner": {bob, other}, "another organisation": {stranger, other},
			"agent":            {Caller{Org: "a", Owner: "alice", Role: store.RoleAgent}, store.Forbidden},
			"no role":          {Caller{Org: "a", Owner: "alice"}, store.Forbidden},
			"user of nothing":  {Caller{Role: store.RoleUser}, store.Forbidden},
			"user of no owner": {Caller{Org: "a", Role: store.RoleUser}, store.Forbidden},
		} {
			if got := store.CodeOf(May(c.caller, verb, session)); got != c.want {
				t.Errorf("%s by %s: %q, want %q", verb, name, got, c.want)
			}
		}
		if got := store.CodeOf(May(alice, verb, nil)); got != user {
			t.Errorf("%s by a user at all: %q, want %q", verb, got, user)
		}
	}
}

func TestListsAreNarrowed(t *testing.T) {
	alice := Caller{Org: "a", Owner: "alice", Role: store.RoleUser}
	for name, c := range map[string]struct {
		caller Caller
		asked  store.SessionFilter
		want   store.SessionFilter
		none   bool
	}{
		"admin":             {Caller{Role: store.RoleAdmin}, store.SessionFilter{Owner: "x"}, store.SessionFilter{Owner: "x"}, false},
		"user":              {alice, store.SessionFilter{Limit: 5}, store.SessionFilter{Org: "a", Owner: "alice", Limit: 5}, false},
		"own":               {alice, store.SessionFilter{Org: "a", Owner: "alice"}, store.SessionFilter{Org: "a", Owner: "alice"}, false},
		"another owner":     {alice, store.SessionFilter{Owner: "bob"}, store.SessionFilter{}, true},
		"another org":       {alice, store.SessionFilter{Org: "b"}, store.SessionFilter{}, true},
		"agent":             {Caller{Org: "a", Owner: "alice", Role: store.RoleAgent}, store.SessionFilter{}, store.SessionFilter{}, true},
		"user without name": {Caller{Role: store.RoleUser}, store.SessionFilter{}, store.SessionFilter{}, true},
	} {
		got, none := Narrow(c.caller, c.asked)
		if none != c.none || got.Org != c.want.Org || got.Owner != c.want.Owner || got.Limit != c.want.Limit {
			t.Errorf("%s: %+v, %v", name, got, none)
		}
	}
}

func TestOriginsOfASecureSite(t *testing.T) {
	for origin, ok := range map[string]bool{
		"https://edge": true, "https://edge:443": true, "http://edge": false, "https://edge:8443": false, "https://EDGE": true, "https://[::1]": false,
	} {
		if got := (Site{Secure: true}).trusts(origin, "edge"); got != ok {
			t.Errorf("%s: %v", origin, got)
		}
	}
	if !(Site{Secure: true}).trusts("https://[::1]:8443", "[::1]:8443") || (Site{}).trusts("http://", "") {
		t.Error("IPv6 or empty hosts are misread")
	}
}
