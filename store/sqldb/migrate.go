package sqldb

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

// The steps of both databases have the same numbers and names.
//
//go:embed migrations/*/*.sql
var migrations embed.FS

// Step is one change of the schema.
type Step struct {
	Version int64
	Name    string    // of its file
	Applied time.Time // zero: not yet
}

// schemaOf is what goose needs to know of a database.
func schemaOf(dialect goose.Dialect, folder string, db *sql.DB) (*goose.Provider, error) {
	steps, err := fs.Sub(migrations, "migrations/"+folder)
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(dialect, db, steps, goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
}

// migrate brings the schema to this program's version, each step in one
// transaction. When another process does the same at the same time, a step may
// fail because it is done already. One that gets no lock on a table in the time that
// it allows itself is tried again until ctx ends.
func migrate(ctx context.Context, p *goose.Provider) ([]Step, error) {
	if err := isKnown(ctx, p); err != nil {
		return nil, err
	}
	var steps []Step
	for {
		done, err := p.Up(ctx)
		var partly *goose.PartialError
		if errors.As(err, &partly) {
			done = partly.Applied
		}
		for _, d := range done {
			steps = append(steps, Step{Version: d.Source.Version, Name: d.Source.Path, Applied: time.Now()})
		}
		if err == nil {
			return steps, nil
		}
		if !lockedOut(err) {
			return nil, fault(ctx, err)
		}
		select {
		case <-ctx.Done():
			return nil, fault(context.WithoutCancel(ctx), err)
		case <-time.After(lockPause):
		}
	}
}

// isKnown wants a schema that no newer program has made.
func isKnown(ctx context.Context, p *goose.Provider) error {
	stored, known, err := p.GetVersions(ctx)
	if err != nil {
		return fault(ctx, err)
	}
	if stored > known {
		return fmt.Errorf("its schema has version %d and this program knows versions up to %d; run the newer program that wrote it, or restore a backup from before the upgrade", stored, known)
	}
	return nil
}

func status(ctx context.Context, p *goose.Provider) ([]Step, error) {
	if err := isKnown(ctx, p); err != nil {
		return nil, err
	}
	all, err := p.Status(ctx)
	if err != nil {
		return nil, fault(ctx, err)
	}
	steps := make([]Step, len(all))
	for i, s := range all {
		steps[i] = Step{Version: s.Source.Version, Name: s.Source.Path, Applied: s.AppliedAt}
	}
	return steps, nil
}

const (
	// migrationLock is the number of the advisory lock that keeps migrations
	// apart ("strm" in ASCII).
	migrationLock = 0x7374726d
	// migrationPatience is how long to wait for another's migration, and for
	// our own.
	migrationPatience = 10 * time.Minute
	// lockPause is how long a step that got no lock on a table leaves it to the
	// edges that run: they wait behind it as long as it waits itself, which is
	// less than an attempt of theirs has.
	lockPause = 2 * time.Second
)

// MigratePostgres brings the schema up to date and returns the steps that were
// missing. One process does at a time.
func MigratePostgres(ctx context.Context, o PostgresOptions) (done []Step, err error) {
	err = o.withSchema(ctx, func(ctx context.Context, p *goose.Provider) error {
		done, err = migrate(ctx, p)
		return err
	})
	return done, err
}

// PostgresSchema returns all steps that this program knows, those that are
// applied with their time. A schema that a newer program has made is an error.
func PostgresSchema(ctx context.Context, o PostgresOptions) (steps []Step, err error) {
	err = o.withSchema(ctx, func(ctx context.Context, p *goose.Provider) error {
		steps, err = status(ctx, p)
		return err
	})
	return steps, err
}

// withSchema runs work while no other process is at the schema. The lock belongs
// to a transaction of a connection of its own, because behind PgBouncer nothing
// else stays on one connection of the server; when the process dies, so does the
// lock.
func (o PostgresOptions) withSchema(ctx context.Context, work func(context.Context, *goose.Provider) error) error {
	ctx, cancel := context.WithTimeout(ctx, migrationPatience)
	defer cancel()
	o = o.withDefaults()
	c, err := o.poolConfig(o.Primary)
	if err != nil {
		return err
	}
	connect := c.ConnConfig
	connect.DefaultQueryExecMode = pgx.QueryExecModeExec
	connect.ValidateConnect = o.fence.admit
	if err := o.beforeConnect(ctx, connect); err != nil {
		return err
	}
	o.fence.survey(ctx, connect)
	db := stdlib.OpenDB(*connect, stdlib.OptionBeforeConnect(o.beforeConnect), stdlib.OptionAfterConnect(connected))
	defer db.Close()
	lock, err := lockMigration(ctx, db)
	if err != nil {
		return fault(ctx, err)
	}
	defer func() { _ = lock.Rollback() }() // it wrote nothing
	p, err := schemaOf(goose.DialectPostgres, "postgres", db)
	if err != nil {
		return err
	}
	return work(ctx, p)
}

// lockMigration returns the transaction that has the lock. It asks again and
// again: behind PgBouncer, those who waited in a transaction would have the
// connections that the one they wait for needs.
func lockMigration(ctx context.Context, db *sql.DB) (*sql.Tx, error) {
	for {
		lock, err := db.BeginTx(ctx, nil)
		if err != nil {
			return nil, err
		}
		var locked bool
		_, err = lock.ExecContext(ctx, "SET LOCAL idle_in_transaction_session_timeout = 0")
		if err == nil {
			err = lock.QueryRowContext(ctx, fmt.Sprintf("SELECT pg_try_advisory_xact_lock(%d)", migrationLock)).Scan(&locked)
		}
		if locked {
			return lock, nil
		}
		if err = errors.Join(err, lock.Rollback()); err != nil {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(settlePause):
		}
	}
}

// MigrateSQLite brings the schema of the file at path up to date and returns
// the steps that were missing.
func MigrateSQLite(ctx context.Context, path string) ([]Step, error) {
	db, done, err := openSQLite(ctx, path)
	if err != nil {
		return nil, err
	}
	return done, db.Close()
}

// SQLiteSchema is PostgresSchema for the file at path, which has to exist.
func SQLiteSchema(ctx context.Context, path string) (steps []Step, err error) {
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("there is no database: %w", err)
	}
	e, err := openSQLiteFile(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, e.close()) }()
	p, err := schemaOf(goose.DialectSQLite3, "sqlite", e.writer)
	if err != nil {
		return nil, err
	}
	return status(ctx, p)
}
