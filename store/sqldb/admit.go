package sqldb

import (
	"context"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// Whoever locks several things does so in this order: an idempotency key, an
// owner, a session, an agent.

// lockOwner keeps others from counting the owner's sessions until the
// transaction ends.
const lockOwner = `INSERT INTO owners (org, owner) VALUES (?, ?)
	ON CONFLICT (org, owner) DO UPDATE SET org = excluded.org RETURNING owner`

// purgeOwners deletes the rows that nobody has sessions for. One who is about to
// store a session has locked its row, or makes it anew.
const purgeOwners = `DELETE FROM owners WHERE NOT EXISTS
	(SELECT 1 FROM sessions WHERE sessions.org = owners.org AND sessions.owner = owners.owner)`

// The states are literals as in countActive.
const (
	countOwned  = `SELECT COUNT(*) FROM sessions WHERE org = ? AND owner = ? AND state NOT IN ('terminated', 'failed')`
	listOnAgent = `SELECT id, runtime, labels FROM sessions
		WHERE agent_id = ? AND agent_id <> '' AND state NOT IN ('terminated', 'failed') AND id <> ?`
)

// admit asks whether the new session s may be stored.
func (db *DB) admit(ctx context.Context, tx querier, s *store.Session, a store.Admission) error {
	if a.Quota != nil {
		if _, err := all(ctx, tx, func(owner *string) []any { return []any{owner} }, lockOwner, s.Org, s.Owner); err != nil {
			return err
		}
		owned, err := one(ctx, tx, nil, func(n *int) []any { return []any{n} }, countOwned, s.Org, s.Owner)
		if err != nil {
			return err
		}
		if err := a.Quota(*owned); err != nil {
			return err
		}
	}
	return db.fit(ctx, tx, s, a.Fits)
}

// fit asks whether s may be on its agent.
func (db *DB) fit(ctx context.Context, tx querier, s *store.Session, fits store.Fits) error {
	if fits == nil || s.AgentID == "" {
		return nil
	}
	agent, err := readAgent(ctx, tx, s.AgentID, db.locking())
	if err != nil && store.CodeOf(err) != store.NotFound {
		return err
	}
	there, err := all(ctx, tx, tenantFields, listOnAgent, s.AgentID, s.ID)
	if err != nil {
		return err
	}
	return fits(agent, there)
}

// tenantFields is what Fits is told of a session.
func tenantFields(s *store.Session) []any { return []any{&s.ID, &s.Runtime, document{&s.Labels}} }

// laterThan is now, or just later than before where the clock of who wrote that
// is ahead.
func laterThan(before, now time.Time) time.Time {
	if now = now.Truncate(time.Microsecond); now.After(before) {
		return now
	}
	return before.Add(time.Microsecond)
}
