// Package sqldb is the Store over SQL: one SQL text, on SQLite and on PostgreSQL.
package sqldb

import (
	"context"
	"errors"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// DB is a store.Store in a SQL database.
type DB struct {
	engine
	writer, reader querier  // each statement on its own
	replica        *replica // nil: there is none
	tickets        ledger
	clock          *clock // nil: the database has this host's
}

var _ store.Store = (*DB)(nil)

// engine is what the databases differ in.
type engine interface {
	// transact runs work in a transaction that no other writer of the rows
	// that it locks can interleave with. An error from work is returned as it
	// is and nothing is written. Where the database ended the transaction
	// and has certainly written nothing, work may run again.
	transact(ctx context.Context, work func(querier) error) error
	// locking is what a SELECT needs at its end to lock what it reads for its
	// transaction.
	locking() string
	ping(ctx context.Context) error
	close() error
}

// Ping starts a write and takes it back.
func (db *DB) Ping(ctx context.Context) error { return db.ping(ctx) }

// closeTimeout is for a ledger of maxTickets, which takes a fraction of it.
const closeTimeout = 10 * time.Second

// Close waits for calls that run.
func (db *DB) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	var kept error
	if db.tickets != nil { // it is not there yet when opening failed
		kept = db.tickets.close(ctx, db.engine)
	}
	return errors.Join(kept, db.close())
}
