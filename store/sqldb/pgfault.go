package sqldb

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// The SQLSTATEs (PostgreSQL's documentation, appendix A) that are told apart.
const (
	pgUnique         = "23505"
	pgBadText        = "22021" // a NUL, or what is not UTF-8
	pgReadOnly       = "25006"
	pgBadPassword    = "28P01"
	pgBadUser        = "28000"
	pgNoDatabase     = "3D000"
	pgNoTable        = "42P01"
	pgNoRight        = "42501"
	pgNoStatement    = "26000"
	pgStatementTwice = "42P05"
	pgDiskFull       = "53100"
	pgTooMany        = "53300"
	pgCancelled      = "57014"
	pgLocked         = "55P03"
)

// explainPostgres puts an SQLSTATE into words.
func explainPostgres(state string) (store.Code, string) {
	switch state {
	case pgUnique:
		return store.Conflict, "it exists already"
	case pgBadText:
		return store.Invalid, "a text has a NUL or is not UTF-8, which the database can't keep; remove it"
	case pgReadOnly:
		return store.Unavailable, "the database takes no writes now; it is a standby, or default_transaction_read_only is on"
	case pgBadPassword, pgBadUser:
		return store.Unavailable, "the database refuses the user or the password; check store.postgres.primary, password_file and pg_hba.conf"
	case pgNoDatabase:
		return store.Unavailable, "the server has no database of that name; create it, or name another"
	case pgNoTable:
		return store.Unavailable, "the database has no tables of ours; run streamspace migrate, and check the user's search_path"
	case pgNoRight:
		return store.Unavailable, "the database's user lacks a right; make it the owner of the database"
	case pgNoStatement, pgStatementTwice:
		return store.Unavailable, "prepared statements get lost on the way to the database; behind PgBouncer set store.postgres.pgbouncer: true"
	case pgDiskFull:
		return store.Unavailable, "the database's disk is full; free some space on it"
	case pgTooMany:
		return store.Unavailable, "the database has no connection left; raise its max_connections, or lower store.postgres.max_conns"
	case pgCancelled:
		return store.Unavailable, "the database gave up; try again"
	case pgLocked:
		return store.Unavailable, "a transaction of another program keeps a table locked, as pg_dump does while it runs; try again when it has ended (pg_stat_activity shows it)"
	}
	switch {
	case leavingState(state):
		return store.Unavailable, "the database is going away or coming back; try again in a moment"
	case classOf(state) == "40":
		return store.Unavailable, "the database could not bring changes at once in order; try again"
	default:
		return store.Internal, "the database refused a statement"
	}
}

// classOf is the class of an SQLSTATE: its first two characters.
func classOf(state string) string { return state[:min(2, len(state))] }

// leavingState tells whether an SQLSTATE is about the server and not about what
// it was asked: connection exceptions (PgBouncer's errors are among them), too
// few resources, an operator who ends it, a standby, its own I/O.
func leavingState(state string) bool {
	if state == pgCancelled || state == pgDiskFull {
		return false
	}
	switch classOf(state) {
	case "08", "53", "57", "58":
		return true
	default:
		return state == pgReadOnly
	}
}

// lockedOut tells whether err is that of a statement that waited for a lock for as
// long as lock_timeout lets it.
func lockedOut(err error) bool {
	var refusal *pgconn.PgError
	return errors.As(err, &refusal) && refusal.Code == pgLocked
}

// leaving tells whether err means that the database, or the way to it, is gone.
func leaving(err error) bool {
	var refusal *pgconn.PgError
	var connect *pgconn.ConnectError
	var network net.Error
	switch {
	case err == nil:
		return false
	case errors.As(err, &connect):
		return true
	case errors.As(err, &refusal):
		return leavingState(refusal.Code)
	default:
		return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || errors.Is(err, io.EOF) ||
			errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || errors.As(err, &network) || connectionClosed(err)
	}
}

// connectionClosed tells whether err is pgx's about a connection that has ended
// before it was used; pgx has no value for it.
func connectionClosed(err error) bool {
	text := err.Error()
	return strings.Contains(text, "conn closed") || strings.Contains(text, "conn busy")
}

// repeatable tells whether an attempt that failed with err has certainly
// written nothing and may fare better when it is repeated.
func repeatable(err error) bool {
	var uncertain *uncertainError
	if errors.As(err, &uncertain) {
		return false
	}
	var refusal *pgconn.PgError
	return leaving(err) || errors.As(err, &refusal) && classOf(refusal.Code) == "40"
}

// staleConnections tells whether err of one connection condemns all others: a
// server that became a standby, or a host that fell silent.
func staleConnections(err error) bool {
	var refusal *pgconn.PgError
	return errors.As(err, &refusal) && refusal.Code == pgReadOnly || pgconn.Timeout(err)
}
