package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/streamspace-dev/streamspace-edge/store"
)

const (
	secretPrefix = "ssk_" // lets secret scanners find a leaked key
	secretBytes  = 32
)

// NewSecret returns the secret of a new key, "ssk_" and 43 base64url
// characters, and what of it is stored.
func NewSecret() (secret string, hash []byte) {
	random := make([]byte, secretBytes)
	_, _ = rand.Read(random) // never fails: crypto/rand ends the process instead
	secret = secretPrefix + base64.RawURLEncoding.EncodeToString(random)
	return secret, HashSecret(secret)
}

// HashSecret is what is stored of a secret: its SHA-256. The secrets are 256
// random bits, so salt and stretching would add nothing.
func HashSecret(secret string) []byte {
	hash := sha256.Sum256([]byte(secret))
	return hash[:]
}

// NewKey makes a key that does not expire, and its secret. The caller stores it.
func NewKey(name, org, owner string, role store.Role) (secret string, key *store.Key, err error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", nil, err
	}
	secret, hash := NewSecret()
	return secret, &store.Key{ID: id.String(), Name: name, Org: org, Owner: owner, Role: role, Hash: hash, CreatedAt: time.Now()}, nil
}

// Key tells whose key the secret is. What follows an "@" is no part of it: a
// join token carries the edge's pin there. Errors: Unauthorized, Unavailable.
func (a *Auth) Key(ctx context.Context, secret string) (Caller, error) {
	hash, err := hashOf(secret)
	if err != nil {
		return Caller{}, err
	}
	return a.keyByHash(ctx, hash)
}

// keyFrom is Key for a secret that a client sent, with its guesses limited.
func (a *Auth) keyFrom(r *http.Request, secret string) (Caller, error) {
	hash, err := hashOf(secret)
	if err == nil && a.keys.known(string(hash)) {
		return a.keyByHash(r.Context(), hash)
	}
	from := clientAddress(r)
	if a.failures.blocked(r.Context(), from) {
		return Caller{}, store.Errorf(store.Limit, "too many wrong keys from this address; wait a few seconds")
	}
	var c Caller
	if err == nil {
		c, err = a.keyByHash(r.Context(), hash)
	}
	if store.CodeOf(err) == store.Unauthorized {
		a.failures.count(r.Context(), from)
	}
	return c, err
}

func hashOf(secret string) ([]byte, error) {
	secret, _, _ = strings.Cut(secret, "@")
	if !strings.HasPrefix(secret, secretPrefix) || len(secret) != len(secretPrefix)+base64.RawURLEncoding.EncodedLen(secretBytes) {
		return nil, wrongKey()
	}
	return HashSecret(secret), nil
}

func wrongKey() error {
	return store.Errorf(store.Unauthorized, "the key is not valid: it was mistyped, deleted, or has expired")
}

func (a *Auth) keyByHash(ctx context.Context, hash []byte) (Caller, error) {
	return a.lookUp(string(hash), func() (*store.Key, error) { return a.store.KeyByHash(ctx, hash) })
}

func (a *Auth) keyByID(ctx context.Context, id string) (Caller, error) {
	return a.lookUp(id, func() (*store.Key, error) { return a.store.Key(ctx, id) })
}

// lookUp reads a key through the cache.
func (a *Auth) lookUp(index string, load func() (*store.Key, error)) (Caller, error) {
	key, generation := a.keys.get(index)
	if key == nil {
		var err error
		key, err = load()
		if store.CodeOf(err) == store.NotFound {
			a.keys.drop(index)
			return Caller{}, wrongKey()
		}
		if err != nil {
			return Caller{}, err
		}
		a.keys.put(index, key, generation)
	}
	if !key.ExpiresAt.IsZero() && !a.now().Before(key.ExpiresAt) {
		return Caller{}, wrongKey()
	}
	return callerOf(key), nil
}

// Forget makes a deletion of a key count at once; call it after the store has
// deleted it.
func (a *Auth) Forget(keyID string) { a.keys.forget(keyID) }

// bearer finds the secret in the values of the Authorization header; sent is
// false when there is none.
func bearer(values []string) (secret string, sent bool, err error) {
	if len(values) == 0 {
		return "", false, nil
	}
	scheme, secret, _ := strings.Cut(values[0], " ")
	secret = strings.Trim(secret, " ")
	if len(values) > 1 || !strings.EqualFold(scheme, "Bearer") || secret == "" {
		return "", false, store.Errorf(store.Unauthorized, "the Authorization header is not of the form: Bearer KEY")
	}
	return secret, true, nil
}
