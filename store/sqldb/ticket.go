package sqldb

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// ledger is where the use of tickets is noted.
type ledger interface {
	current() string
	use(ctx context.Context, ledger, id string, expires time.Time) (first bool, err error)
	purge(ctx context.Context) error
	close(ctx context.Context, file engine) error
}

func (db *DB) TicketLedger() string { return db.tickets.current() }

func (db *DB) UseTicket(ctx context.Context, ledger, id string, expires time.Time) (first bool, err error) {
	return db.tickets.use(ctx, ledger, id, expires)
}

// tableLedger is the ledger in a PostgreSQL, for all edges on it.
type tableLedger struct {
	id   string
	pool *pgPool
}

// openTableLedger reads the id that the schema's step has made.
func openTableLedger(ctx context.Context, pool *pgPool) (*tableLedger, error) {
	missing := store.Errorf(store.Internal, "the table ticket_ledger is empty; it must have the row that the migration has made")
	id, err := one(ctx, pool, missing, func(id *string) []any { return []any{id} }, "SELECT id FROM ticket_ledger")
	if err != nil {
		return nil, err
	}
	return &tableLedger{*id, pool}, nil
}

func (l *tableLedger) current() string { return l.id }

// databaseClock is the time in PostgreSQL, as micros keeps it. What is purged and
// what is too old to be used are judged by the one clock, or an edge whose own is
// behind could use again what another has purged.
const databaseClock = "CAST(extract(epoch FROM now()) * 1000000 AS BIGINT)"

// useTicket has a row as its answer for the first use, and for that alone however
// often it is repeated: who asks has a name for this use.
const useTicket = `INSERT INTO used_tickets (id, used_by, expires_at)
	SELECT CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS BIGINT) FROM ticket_ledger
		WHERE id = CAST(? AS TEXT) AND CAST(? AS BIGINT) > ` + databaseClock + ` - CAST(? AS BIGINT)
	ON CONFLICT (id) DO UPDATE SET used_by = excluded.used_by WHERE used_tickets.used_by = excluded.used_by
	RETURNING id`

// use is one statement in one round trip. It is repeated even when nobody knows
// whether it happened, unlike other writes.
func (l *tableLedger) use(ctx context.Context, ledger, id string, expires time.Time) (first bool, err error) {
	rows, err := all(ctx, l.pool, func(id *string) []any { return []any{id} }, useTicket,
		id, rand.Text(), micros(expires), ledger, micros(expires), span(store.TicketPatience))
	return len(rows) > 0, err
}

// purgeTickets leaves rows alone that another edge is deleting, and those that
// could still be asked for if the database's clock were set back a little.
const purgeTickets = `DELETE FROM used_tickets WHERE id IN
	(SELECT id FROM used_tickets WHERE expires_at < ` + databaseClock + ` - CAST(? AS BIGINT) ORDER BY expires_at LIMIT ? FOR UPDATE SKIP LOCKED) RETURNING id`

func (l *tableLedger) purge(ctx context.Context) error {
	for {
		batch, err := all(ctx, pgWrites{l.pool}, func(id *string) []any { return []any{id} }, purgeTickets, span(2*store.TicketPatience), purgeBatch)
		if err != nil || len(batch) < purgeBatch {
			return err
		}
	}
}

// close has nothing to do: each use is in the table.
func (l *tableLedger) close(context.Context, engine) error { return nil }
