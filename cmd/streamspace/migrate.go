package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store/sqldb"
)

type migrateCommand struct {
	Config string `required:"" placeholder:"FILE" help:"The edge's config file, see docs/config.md."`
	Status bool   `help:"Only tell which steps of the schema are made and which are missing."`
	From   string `placeholder:"sqlite:PATH" help:"Move everything from that file to the PostgreSQL of the config, which must be empty."`
}

// Run brings the schema of the config's database up to date, as an edge does
// at its start, and tells what it did.
func (c *migrateCommand) Run(s *surroundings) error {
	config := defaultEdgeConfig()
	if err := loadConfig(c.Config, config); err != nil {
		return err
	}
	ctx, stop := untilSignalOrHangup()
	defer stop()
	switch {
	case c.Status && c.From != "":
		return errors.New("--status and --from exclude each other; --status changes nothing")
	case c.Status:
		return tellSchema(ctx, s, config.Store)
	case c.From != "":
		return c.move(ctx, s, config.Store)
	default:
		return migrate(ctx, s, config.Store)
	}
}

func tellSchema(ctx context.Context, s *surroundings, c storeConfig) error {
	var steps []sqldb.Step
	var err error
	if c.Postgres != nil {
		steps, err = sqldb.PostgresSchema(ctx, c.Postgres.options())
	} else {
		steps, err = sqldb.SQLiteSchema(ctx, c.SQLite.Path)
	}
	if err != nil {
		return err
	}
	for _, step := range steps {
		state := "missing"
		if !step.Applied.IsZero() {
			state = "made " + step.Applied.UTC().Format(time.RFC3339)
		}
		if _, err := fmt.Fprintf(s.stdout, "%-26s %s\n", state, step.Name); err != nil {
			return err
		}
	}
	return nil
}

func migrate(ctx context.Context, s *surroundings, c storeConfig) error {
	var steps []sqldb.Step
	var err error
	if c.Postgres != nil {
		steps, err = sqldb.MigratePostgres(ctx, c.Postgres.options())
	} else {
		steps, err = sqldb.MigrateSQLite(ctx, c.SQLite.Path)
	}
	if err != nil {
		return err
	}
	for _, step := range steps {
		if _, err := fmt.Fprintln(s.stdout, "made", step.Name); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintln(s.stdout, "the schema is up to date")
	return err
}

// progressEvery is how often a long move tells how far it is.
const progressEvery = time.Second

func (c *migrateCommand) move(ctx context.Context, s *surroundings, to storeConfig) error {
	path, found := strings.CutPrefix(c.From, "sqlite:")
	if !found || path == "" {
		return fmt.Errorf("--from %q is not a source; write it like sqlite:/var/lib/streamspace/streamspace.db", c.From)
	}
	if to.Postgres == nil {
		return fmt.Errorf("%s names no PostgreSQL to move to; set store.postgres.primary", c.Config)
	}
	told := time.Now()
	moved, err := sqldb.MoveToPostgres(ctx, path, to.Postgres.options(), func(table string, rows, of int) {
		if time.Since(told) >= progressEvery {
			told = time.Now()
			fmt.Fprintf(s.stderr, "%s: %d of %d rows\n", table, rows, of)
		}
	})
	if err != nil {
		return err
	}
	for _, m := range moved {
		if _, err := fmt.Fprintf(s.stdout, "moved %-17s %7d rows, SHA-256 %x\n", m.Table, m.Rows, m.Sum); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(s.stdout, "all of it was read back and is the same; keep %s as a backup, and let no edge use it any more\n", path)
	return err
}
