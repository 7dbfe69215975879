// Package auth tells who is calling and what they may do: API keys, the
// console's log-in cookie, the tickets that open streams, and the one place
// where owner and organisation are checked.
package auth

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// Caller is who makes a request: what its key says.
type Caller struct {
	KeyID string
	Name  string // of the key
	Org   string
	Owner string
	Role  store.Role
}

// Auth checks credentials. Safe for concurrent use; it starts no goroutines.
type Auth struct {
	store    store.Store
	logins   signer
	tickets  signer
	keys     *keyCache
	failures failures
}

// New reads the signing secrets from the store, so that log-ins outlive a restart,
// and tickets as long as their ledger, and both are good at every edge of that store. Wrong keys are
// counted by the coord; the caller closes both.
func New(ctx context.Context, s store.Store, coord store.Coord) (*Auth, error) {
	a := &Auth{store: s, keys: newKeyCache(), failures: failures{coord}}
	for name, signer := range map[string]*signer{"login": &a.logins, "ticket": &a.tickets} {
		secret, err := s.Secret(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("reading the signing secret %q: %w", name, err)
		}
		signer.secret, signer.audience, signer.now = secret, name, a.now
	}
	return a, nil
}

// now is the time of day by the store's clock, which all edges share.
func (a *Auth) now() time.Time { return time.Now().Add(a.store.ClockAhead()) }

// Site is what the checks of a browser's requests depend on.
type Site struct {
	Secure         bool     // browsers come by HTTPS to this process itself
	AllowedOrigins []string // whose pages may call beside the site's own: "https://desk.example.org", "https://*.example.org"
}

// Request tells who makes r: by its bearer key or, without one, by its log-in
// cookie. A request with a cookie that changes something or opens a WebSocket
// must come from a page of the site or of an allowed origin. Errors:
// Unauthorized, Forbidden (the origin), Limit (too many wrong keys from this
// address), Unavailable.
func (a *Auth) Request(r *http.Request, site Site) (Caller, error) {
	secret, sent, err := bearer(r.Header.Values("Authorization"))
	if err != nil {
		return Caller{}, err
	}
	if sent {
		return a.keyFrom(r, secret)
	}
	cookie, err := r.Cookie(site.cookieName())
	if err != nil {
		return Caller{}, store.Errorf(store.Unauthorized, "no credentials: send Authorization: Bearer KEY, or log in")
	}
	if unsafe(r) {
		if err := site.checkOrigin(r); err != nil {
			return Caller{}, err
		}
	}
	return a.cookieCaller(r.Context(), cookie.Value)
}

// Check tells whether the caller's key still exists and has not expired:
// Unauthorized when not, Unavailable when that can't be told.
func (a *Auth) Check(ctx context.Context, c Caller) error {
	_, err := a.keyByID(ctx, c.KeyID)
	return err
}

func callerOf(k *store.Key) Caller {
	return Caller{KeyID: k.ID, Name: k.Name, Org: k.Org, Owner: k.Owner, Role: k.Role}
}
