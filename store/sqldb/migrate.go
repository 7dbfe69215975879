package sqldb

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
)

//go:embed migrations/sqlite/*.sql
var migrations embed.FS

// migrateTries is more than one because SQLite has no lock that spans
// migrations: when two processes start on a new file, the later one finds a
// step already done, fails, and has nothing left to do on its next try.
const migrateTries = 3

// migrate brings the schema to this program's version, each step in one
// transaction.
func migrate(ctx context.Context, writer *sql.DB) (err error) {
	steps, err := fs.Sub(migrations, "migrations/sqlite")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, writer, steps,
		goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return err
	}
	for range migrateTries {
		if err = migrateOnce(ctx, provider); err == nil || ctx.Err() != nil {
			break
		}
	}
	return err
}

func migrateOnce(ctx context.Context, provider *goose.Provider) error {
	stored, known, err := provider.GetVersions(ctx)
	if err != nil {
		return fault(ctx, err)
	}
	if stored > known {
		return fmt.Errorf("its schema has version %d and this program knows versions up to %d; run the newer program that wrote it, or restore a backup from before the upgrade", stored, known)
	}
	if _, err := provider.Up(ctx); err != nil {
		return fault(ctx, err)
	}
	return nil
}
