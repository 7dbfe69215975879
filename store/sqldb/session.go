package sqldb

import (
	"context"
	"errors"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// The columns of a session: what never changes, and the rest.
const (
	sessionIdentity = "id, org, owner, created_at"
	sessionDetails  = "name, state, desired, reason, agent_id, runtime, labels, width, height, endpoint, " +
		"idle_timeout, max_duration, last_activity, updated_at, expires_at, ends_at, ends_because, refusals"
	sessionColumns = sessionIdentity + ", " + sessionDetails
)

func appendIdentity(fields []any, s *store.Session) []any {
	return append(fields, &s.ID, &s.Org, &s.Owner, (*micros)(&s.CreatedAt))
}

func detailsOf(s *store.Session) []any { return appendDetails(nil, s) }

func appendDetails(fields []any, s *store.Session) []any {
	return append(fields,
		&s.Name, (*string)(&s.State), (*string)(&s.Desired), &s.Reason, &s.AgentID, &s.Runtime, document{&s.Labels}, &s.Width, &s.Height, &s.Endpoint,
		(*span)(&s.IdleTimeout), (*span)(&s.MaxDuration),
		(*micros)(&s.LastActivity), (*micros)(&s.UpdatedAt), (*micros)(&s.ExpiresAt),
		(*micros)(&s.EndsAt), (*string)(&s.EndsBecause), document{&s.Refusals},
	)
}

func sessionFields(s *store.Session) []any {
	fields := make([]any, 0, 22) // one piece of memory: a page has a thousand rows
	return appendDetails(appendIdentity(fields, s), s)
}

func noSession(id string) error {
	return store.Errorf(store.NotFound, "there is no session %q", shorten(id))
}

func (db *DB) CreateSession(ctx context.Context, s *store.Session, idempotencyKey string) (*store.Session, bool, error) {
	return db.AdmitSession(ctx, s, idempotencyKey, store.Admission{})
}

func (db *DB) AdmitSession(ctx context.Context, s *store.Session, idempotencyKey string, a store.Admission) (*store.Session, bool, error) {
	now := db.now()
	row, err := newSession(s, now)
	if err != nil {
		return nil, false, err
	}
	var stored *store.Session
	var created bool
	err = db.transact(ctx, func(tx querier) (err error) {
		created = true
		if idempotencyKey != "" {
			if created, err = claim(ctx, tx, row, idempotencyKey, now); err != nil {
				return err
			}
		}
		if !created {
			stored, err = sessionByKey(ctx, tx, s.Org, s.Owner, idempotencyKey, now)
			return err
		}
		if err := db.admit(ctx, tx, row, a); err != nil {
			return err
		}
		stored, err = one(ctx, tx, nil, sessionFields,
			"INSERT INTO sessions ("+sessionColumns+") VALUES "+values(sessionColumns)+" RETURNING "+sessionColumns, sessionFields(row)...)
		return err
	})
	switch {
	case store.CodeOf(err) == store.Conflict:
		return nil, false, store.Errorf(store.Conflict, "the session %s exists already", s.ID)
	case err != nil:
		return nil, false, err
	default:
		return stored, created, nil
	}
}

// newSession is a copy of s that may be stored.
func newSession(s *store.Session, now time.Time) (*store.Session, error) {
	switch {
	case s.ID == "":
		return nil, store.Errorf(store.Invalid, "id is empty; a session needs a UUIDv7")
	case !s.State.Valid():
		return nil, store.Errorf(store.Invalid, "state %q is unknown; one of %v", s.State, store.States())
	case !s.Desired.Valid():
		return nil, store.Errorf(store.Invalid, "desired %q is unknown; one of %v", s.Desired, store.States())
	}
	row := *s
	row.CreatedAt = orNow(s.CreatedAt, now)
	row.UpdatedAt = orNow(s.UpdatedAt, now)
	row.LastActivity = orNow(s.LastActivity, now)
	return &row, nil
}

func orNow(t, now time.Time) time.Time {
	if t.IsZero() {
		return now
	}
	return t
}

// claim gives the idempotency key to the session, unless another has it.
func claim(ctx context.Context, tx querier, s *store.Session, key string, now time.Time) (bool, error) {
	created := micros(now)
	claimed, err := all(ctx, tx, func(id *string) []any { return []any{id} },
		`INSERT INTO idempotency_keys (org, owner, key, session_id, created_at) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (org, owner, key) DO UPDATE SET session_id = excluded.session_id, created_at = excluded.created_at
		WHERE idempotency_keys.created_at <= ?
		RETURNING session_id`,
		s.Org, s.Owner, key, s.ID, created, forgotten(now))
	return len(claimed) > 0, err
}

// forgotten is when the newest idempotency keys that no longer count were used.
func forgotten(now time.Time) micros { return micros(now.Add(-store.IdempotencyTTL)) }

func (db *DB) SessionByKey(ctx context.Context, org, owner, idempotencyKey string) (*store.Session, error) {
	var s *store.Session
	err := db.transact(ctx, func(tx querier) (err error) {
		// The lock makes the commit wait for a synchronous standby, and so for the
		// session's own commit, which may have been given up amid that wait.
		_, err = all(ctx, tx, func(id *string) []any { return []any{id} },
			"SELECT session_id FROM idempotency_keys WHERE org = ? AND owner = ? AND key = ?"+db.locking(), org, owner, idempotencyKey)
		if err == nil {
			s, err = sessionByKey(ctx, tx, org, owner, idempotencyKey, db.now())
		}
		return err
	})
	return s, err
}

func sessionByKey(ctx context.Context, q querier, org, owner, key string, now time.Time) (*store.Session, error) {
	missing := store.Errorf(store.NotFound, "no session was created with the idempotency key %q", shorten(key))
	return lookUp(ctx, q, missing, sessionFields,
		"SELECT "+sessionColumns+` FROM sessions WHERE id =
		(SELECT session_id FROM idempotency_keys WHERE org = ? AND owner = ? AND key = ? AND created_at > ?)`,
		org, owner, key, forgotten(now))
}

func (db *DB) Session(ctx context.Context, id string) (*store.Session, error) {
	return readSession(ctx, db.nearby(ctx), id, "")
}

func readSession(ctx context.Context, q querier, id, locking string) (*store.Session, error) {
	return lookUp(ctx, q, noSession(id), sessionFields, "SELECT "+sessionColumns+" FROM sessions WHERE id = ?"+locking, id)
}

func (db *DB) UpdateSession(ctx context.Context, id string, change func(*store.Session) error) (*store.Session, error) {
	return db.PlaceSession(ctx, id, nil, change)
}

func (db *DB) PlaceSession(ctx context.Context, id string, fits store.Fits, change func(*store.Session) error) (stored *store.Session, err error) {
	err = db.transact(ctx, func(tx querier) error {
		s, err := readSession(ctx, tx, id, db.locking())
		if err != nil {
			return err
		}
		before, agentBefore, updatedBefore := s.State, s.AgentID, s.UpdatedAt
		if err := change(s); errors.Is(err, store.ErrUnchanged) {
			// Read anew: change may have left its traces in s.
			stored, err = readSession(ctx, tx, id, db.locking())
			return err
		} else if err != nil {
			return err
		}
		if !before.MayBecome(s.State) {
			return store.Errorf(store.Conflict, "a session that is %s can't become %s", before, s.State)
		}
		if s.AgentID != agentBefore {
			if err := db.fit(ctx, tx, s, fits); err != nil {
				return err
			}
		}
		s.UpdatedAt = laterThan(updatedBefore, db.now())
		stored, err = one(ctx, tx, noSession(id), sessionFields,
			"UPDATE sessions SET ("+sessionDetails+") = "+values(sessionDetails)+" WHERE id = ? RETURNING "+sessionColumns,
			append(detailsOf(s), id)...)
		return err
	})
	if err != nil {
		return nil, err
	}
	return stored, nil
}

// The states are literals because only then the index of active sessions is
// used.
const countActive = `SELECT agent_id, runtime, COUNT(*) FROM sessions
	WHERE agent_id <> '' AND state NOT IN ('terminated', 'failed') GROUP BY agent_id, runtime`

func (db *DB) ActiveSessions(ctx context.Context) (map[string]map[string]int, error) {
	type count struct {
		agent, runtime string
		sessions       int
	}
	counts, err := all(ctx, db.reader, func(c *count) []any { return []any{&c.agent, &c.runtime, &c.sessions} }, countActive)
	if err != nil {
		return nil, err
	}
	active := map[string]map[string]int{}
	for _, c := range counts {
		if active[c.agent] == nil {
			active[c.agent] = map[string]int{}
		}
		active[c.agent][c.runtime] = c.sessions
	}
	return active, nil
}

// purgeBatch is how many sessions one transaction deletes, so that other
// writers get their turn.
const purgeBatch = 500

const purgeEnded = `DELETE FROM sessions WHERE id IN
	(SELECT id FROM sessions WHERE ended_at <> 0 AND ended_at < ? LIMIT ?) RETURNING id`

func (db *DB) PurgeSessions(ctx context.Context, t time.Time) (deleted int, err error) {
	for {
		batch, err := all(ctx, db.writer, func(id *string) []any { return []any{id} }, purgeEnded, micros(t), purgeBatch)
		deleted += len(batch)
		if err != nil {
			return deleted, err
		}
		if len(batch) < purgeBatch {
			break
		}
	}
	if err := execute(ctx, db.writer, purgeOwners); err != nil {
		return deleted, err
	}
	if err := execute(ctx, db.writer, "DELETE FROM idempotency_keys WHERE created_at <= ?", forgotten(db.now())); err != nil {
		return deleted, err
	}
	return deleted, db.tickets.purge(ctx)
}
