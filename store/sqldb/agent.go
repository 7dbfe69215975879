package sqldb

import (
	"context"
	"crypto/sha256"
	"errors"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// The columns of an agent: what never changes, and the rest.
const (
	agentIdentity = "id, key_hash, created_at"
	agentDetails  = "name, capacity, weight, labels, runtimes, version, draining, last_heartbeat"
	agentColumns  = agentIdentity + ", " + agentDetails
)

func agentDetailsOf(a *store.Agent) []any {
	return []any{
		&a.Name, &a.Capacity, &a.Weight, document{&a.Labels}, document{&a.Runtimes}, &a.Version, &a.Draining,
		(*micros)(&a.LastHeartbeat),
	}
}

func agentFields(a *store.Agent) []any {
	return append([]any{&a.ID, &a.KeyHash, (*micros)(&a.CreatedAt)}, agentDetailsOf(a)...)
}

func noAgent(id string) error {
	return store.Errorf(store.NotFound, "there is no agent %q", shorten(id))
}

func validAgent(a *store.Agent) error {
	switch {
	case a.ID == "":
		return store.Errorf(store.Invalid, "id is empty; an agent needs a UUIDv7")
	case len(a.KeyHash) != sha256.Size:
		return store.Errorf(store.Invalid, "key_hash has %d bytes; a SHA-256 has %d", len(a.KeyHash), sha256.Size)
	case a.Capacity < 1:
		return store.Errorf(store.Invalid, "capacity %d is too small; at least 1", a.Capacity)
	case a.Weight < 1:
		return store.Errorf(store.Invalid, "weight %d is too small; at least 1", a.Weight)
	default:
		return nil
	}
}

func (db *DB) EnrolAgent(ctx context.Context, a *store.Agent) (*store.Agent, error) {
	if err := validAgent(a); err != nil {
		return nil, err
	}
	row := *a
	row.CreatedAt = orNow(a.CreatedAt, db.now())
	otherHost := store.Errorf(store.Forbidden, "the agent id %s belongs to another host", a.ID)
	return one(ctx, db.writer, otherHost, agentFields,
		"INSERT INTO agents ("+agentColumns+") VALUES "+values(agentColumns)+`
		ON CONFLICT (id) DO UPDATE SET
			name = excluded.name, capacity = excluded.capacity, weight = excluded.weight, labels = excluded.labels,
			runtimes = excluded.runtimes, version = excluded.version, last_heartbeat = excluded.last_heartbeat
		WHERE agents.key_hash = excluded.key_hash
		RETURNING `+agentColumns, agentFields(&row)...)
}

func (db *DB) Agent(ctx context.Context, id string) (*store.Agent, error) {
	return readAgent(ctx, db.reader, id, "")
}

func readAgent(ctx context.Context, q querier, id, locking string) (*store.Agent, error) {
	return lookUp(ctx, q, noAgent(id), agentFields, "SELECT "+agentColumns+" FROM agents WHERE id = ?"+locking, id)
}

func (db *DB) Agents(ctx context.Context) ([]*store.Agent, error) {
	return all(ctx, db.reader, agentFields, "SELECT "+agentColumns+" FROM agents ORDER BY created_at, id")
}

func (db *DB) UpdateAgent(ctx context.Context, id string, change func(*store.Agent) error) (stored *store.Agent, err error) {
	err = db.transact(ctx, func(tx querier) error {
		a, err := readAgent(ctx, tx, id, db.locking())
		if err != nil {
			return err
		}
		identity := *a
		if err := change(a); errors.Is(err, store.ErrUnchanged) {
			// Read anew: change may have left its traces in a.
			stored, err = readAgent(ctx, tx, id, db.locking())
			return err
		} else if err != nil {
			return err
		}
		a.ID, a.KeyHash = identity.ID, identity.KeyHash
		if err := validAgent(a); err != nil {
			return err
		}
		stored, err = one(ctx, tx, noAgent(id), agentFields,
			"UPDATE agents SET ("+agentDetails+") = "+values(agentDetails)+" WHERE id = ? RETURNING "+agentColumns,
			append(agentDetailsOf(a), id)...)
		return err
	})
	if err != nil {
		return nil, err
	}
	return stored, nil
}

func (db *DB) DeleteAgent(ctx context.Context, id string) error {
	return db.remove(ctx, noAgent(id), "agents", id)
}
