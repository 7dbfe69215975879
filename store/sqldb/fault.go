package sqldb

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// fault gives an error of the driver its code and words; nil stays nil.
func fault(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return &store.Error{Code: store.Unavailable, Text: "the request ended before the database answered", Cause: ctx.Err()}
	}
	var told *store.Error
	if errors.As(err, &told) {
		return err
	}
	code, text := store.Unavailable, "the database does not answer"
	var failure *sqlite.Error
	var refusal *pgconn.PgError
	var uncertain *uncertainError
	switch {
	case errors.As(err, &uncertain):
		text = "the connection to the database was lost amid the change, which may have happened or not; look before you try again"
	case errors.As(err, &failure):
		code, text = explain(failure.Code())
	case errors.As(err, &refusal):
		code, text = explainPostgres(refusal.Code)
	case errors.Is(err, pgconn.ErrReadOnlyConnection):
		text = "no host of store.postgres.primary that answers takes writes; promote a standby, or name the primary as well"
	}
	return &store.Error{Code: code, Text: text, Cause: err}
}

// explain puts an SQLite result code (https://www.sqlite.org/rescode.html)
// into words. Its low 8 bits are the primary code.
func explain(result int) (store.Code, string) {
	switch result {
	case sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_UNIQUE:
		return store.Conflict, "it exists already"
	}
	switch result & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return store.Unavailable, "another process keeps the database locked; one SQLite file serves one edge"
	case sqlite3.SQLITE_FULL:
		return store.Unavailable, "the database's disk is full; free some space on it"
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH:
		return store.Unavailable, "the database can't be written; make the file and its folder writable for this user"
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN:
		return store.Unavailable, "the database's disk fails; check the disk, and the permissions of the file and its folder"
	case sqlite3.SQLITE_CORRUPT:
		return store.Unavailable, "the database file is damaged; restore it from a backup"
	case sqlite3.SQLITE_NOTADB:
		return store.Unavailable, "the file is not a SQLite database; move it away, or name another file"
	case sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_INTERRUPT:
		return store.Unavailable, "the database gave up; try again"
	default:
		return store.Internal, "the database refused a statement"
	}
}

// contended tells whether err may be the doing of another process that opens
// the same database: a lock, or a step of a migration that is done already.
func contended(err error) bool {
	var failure *sqlite.Error
	if !errors.As(err, &failure) {
		return false
	}
	switch failure.Code() & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_ERROR:
		return true
	default:
		return false
	}
}

// shorten keeps a long text of a caller out of an error.
func shorten(text string) string {
	const most = 64
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "..."
}
