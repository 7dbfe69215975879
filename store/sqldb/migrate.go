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

// migrate brings the schema to this program's version, each step in one
// transaction. When another process does the same at the same time, a step may
// fail because it is done already.
func migrate(ctx context.Context, writer *sql.DB) error {
	steps, err := fs.Sub(migrations, "migrations/sqlite")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, writer, steps,
		goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return err
	}
	stored, known, err := provider.GetVersions(ctx)
	if err != nil {
		return fault(ctx, err)
	}
	if stored > known {
		return fmt.Errorf("its schema has version %d and this program knows versions up to %d; run the newer program that wrote it, or restore a backup from before the upgrade", stored, known)
	}
	_, err = provider.Up(ctx)
	return fault(ctx, err)
}
