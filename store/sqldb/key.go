package sqldb

import (
	"context"
	"crypto/rand"
	"crypto/sha256"

	"github.com/streamspace-dev/streamspace-edge/store"
)

const keyColumns = "id, name, org, owner, role, hash, created_at, expires_at"

func keyFields(k *store.Key) []any {
	return []any{&k.ID, &k.Name, &k.Org, &k.Owner, &k.Role, &k.Hash, (*micros)(&k.CreatedAt), (*micros)(&k.ExpiresAt)}
}

func noKey(id string) error { return store.Errorf(store.NotFound, "there is no key %q", shorten(id)) }

func (db *DB) CreateKey(ctx context.Context, k *store.Key) error {
	switch {
	case k.ID == "":
		return store.Errorf(store.Invalid, "id is empty; a key needs a UUIDv7")
	case !k.Role.Valid():
		return store.Errorf(store.Invalid, "role %q is unknown; %s, %s or %s", k.Role, store.RoleAdmin, store.RoleUser, store.RoleAgent)
	case len(k.Hash) != sha256.Size:
		return store.Errorf(store.Invalid, "hash has %d bytes; a SHA-256 has %d", len(k.Hash), sha256.Size)
	}
	row := *k
	row.CreatedAt = orNow(k.CreatedAt, db.now())
	err := execute(ctx, db.writer, "INSERT INTO keys ("+keyColumns+") VALUES "+values(keyColumns), keyFields(&row)...)
	if store.CodeOf(err) == store.Conflict {
		return store.Errorf(store.Conflict, "the key %s, or one with the same secret, exists already", k.ID)
	}
	return err
}

func (db *DB) KeyByHash(ctx context.Context, hash []byte) (*store.Key, error) {
	missing := store.Errorf(store.NotFound, "there is no such key")
	return one(ctx, db.reader, missing, keyFields, "SELECT "+keyColumns+" FROM keys WHERE hash = ?", hash)
}

func (db *DB) Key(ctx context.Context, id string) (*store.Key, error) {
	return lookUp(ctx, db.reader, noKey(id), keyFields, "SELECT "+keyColumns+" FROM keys WHERE id = ?", id)
}

func (db *DB) Keys(ctx context.Context) ([]*store.Key, error) {
	return all(ctx, db.reader, keyFields, "SELECT "+keyColumns+" FROM keys ORDER BY created_at, id")
}

func (db *DB) DeleteKey(ctx context.Context, id string) error {
	return db.remove(ctx, noKey(id), "keys", id)
}

// secretSize suits HMAC-SHA-256, whose key should have the size of its hash
// (RFC 2104 section 3).
const secretSize = 32

func (db *DB) Secret(ctx context.Context, name string) ([]byte, error) {
	if name == "" {
		return nil, store.Errorf(store.Invalid, "name is empty; a secret needs one")
	}
	fresh := make([]byte, secretSize)
	_, _ = rand.Read(fresh) // never fails
	// Whoever comes first stores theirs; all read what was stored.
	err := execute(ctx, db.writer, "INSERT INTO secrets (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING", name, fresh)
	if err != nil {
		return nil, err
	}
	missing := store.Errorf(store.Internal, "the secret %q was deleted while it was read", name)
	stored, err := one(ctx, db.writer, missing, func(value *[]byte) []any { return []any{value} },
		"SELECT value FROM secrets WHERE name = ?", name)
	if err != nil {
		return nil, err
	}
	return *stored, nil
}
