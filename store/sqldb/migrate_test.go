package sqldb

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/streamspace-dev/streamspace-edge/store/storetest/pgserver"
)

func TestBothDatabasesHaveTheSameSteps(t *testing.T) {
	names := func(folder string) (all []string) {
		files, err := fs.ReadDir(migrations, "migrations/"+folder)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			all = append(all, f.Name())
		}
		return all
	}
	if s, p := names("sqlite"), names("postgres"); !reflect.DeepEqual(s, p) {
		t.Errorf("SQLite has %v, PostgreSQL %v", s, p)
	}
}

func TestEdgesThatStartAtOnceMigrateOnce(t *testing.T) {
	server := pgserver.Start(t)
	bouncer := pgserver.StartBouncer(t, server, 2) // fewer connections than edges
	for name, o := range map[string]PostgresOptions{
		"direct":           {Primary: server.DSN(server.NewDatabase())},
		"behind PgBouncer": {Primary: bouncer.DSN(server.NewDatabase()), PgBouncer: true},
	} {
		t.Run(name, func(t *testing.T) {
			steps, err := PostgresSchema(t.Context(), o)
			if err != nil || len(steps) < 2 {
				t.Fatalf("%v, %v", steps, err)
			}
			for _, s := range steps {
				if !s.Applied.IsZero() {
					t.Errorf("%+v is applied to an empty database", s)
				}
			}
			var all sync.WaitGroup
			var mu sync.Mutex
			done := map[int64]int{}
			for range 4 {
				all.Go(func() {
					ran, err := MigratePostgres(context.Background(), o)
					if err != nil {
						t.Error(err)
					}
					mu.Lock()
					defer mu.Unlock()
					for _, s := range ran {
						done[s.Version]++
					}
				})
			}
			all.Wait()
			after, err := PostgresSchema(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range after {
				if s.Applied.IsZero() || done[s.Version] != 1 {
					t.Errorf("step %d was made %d times, at %v", s.Version, done[s.Version], s.Applied)
				}
			}
		})
	}
}

func TestAPostgresOfANewerProgramIsRefused(t *testing.T) {
	server := pgserver.Start(t)
	database := server.NewDatabase()
	o := PostgresOptions{Primary: server.DSN(database)}
	if _, err := MigratePostgres(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	server.Exec(database, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, true)")
	_, opened := OpenPostgres(t.Context(), o)
	_, told := PostgresSchema(t.Context(), o)
	for _, err := range []error{opened, told} {
		if err == nil || !strings.Contains(err.Error(), "version 9999") || !strings.Contains(err.Error(), "run the newer program") {
			t.Errorf("got %v", err)
		}
	}
}

func TestSQLiteTellsItsStepsWithoutMakingThem(t *testing.T) {
	path := filepath.Join(t.TempDir(), "streamspace.db")
	if _, err := SQLiteSchema(t.Context(), path); err == nil {
		t.Error("a file that is not there has steps")
	}
	made, err := MigrateSQLite(t.Context(), path)
	if err != nil || len(made) < 2 {
		t.Fatalf("%v, %v", made, err)
	}
	if again, err := MigrateSQLite(t.Context(), path); err != nil || len(again) != 0 {
		t.Errorf("again: %v, %v", again, err)
	}
	steps, err := SQLiteSchema(t.Context(), path)
	if err != nil || len(steps) != len(made) {
		t.Fatalf("%v, %v", steps, err)
	}
	for _, s := range steps {
		if s.Applied.IsZero() {
			t.Errorf("%+v is not applied", s)
		}
	}
}

// A dump of a large database takes minutes, and who waits for an exclusive lock has
// all others wait as well.
func TestAStepThatWaitsForADumpDoesNotStopEdges(t *testing.T) {
	ctx := t.Context()
	server := pgserver.Start(t)
	database := server.NewDatabase()
	o := PostgresOptions{Primary: server.DSN(database)}
	db := openPostgres(t, o)
	row, _, err := db.CreateSession(ctx, newRow(""), "")
	if err != nil {
		t.Fatal(err)
	}
	server.Exec(database, "ALTER TABLE sessions DROP COLUMN ended_at") // and its index
	server.Exec(database, "CREATE INDEX sessions_ended ON sessions (updated_at) WHERE state IN ('terminated', 'failed')")
	server.Exec(database, "DELETE FROM goose_db_version WHERE version_id >= 7")

	dump, err := pgx.Connect(ctx, o.Primary)
	if err != nil {
		t.Fatal(err)
	}
	defer dump.Close(ctx)
	reading, err := dump.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reading.Exec(ctx, "SELECT count(*) FROM sessions"); err != nil {
		t.Fatal(err)
	}
	var migrating errgroup.Group
	var steps []Step
	migrating.Go(func() (err error) { steps, err = MigratePostgres(ctx, o); return err })
	eventually(t, func() error {
		if n := server.Exec(database, "SELECT count(*) FROM pg_locks WHERE relation = 'sessions'::regclass AND NOT granted"); n == "0" {
			return errors.New("the step does not wait")
		}
		return nil
	})
	for range 3 {
		if _, err := db.Session(ctx, row.ID); err != nil {
			t.Errorf("a read while the step waits: %v", err)
		}
	}
	if err := reading.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	if err := migrating.Wait(); err != nil || len(steps) != 1 {
		t.Errorf("after the dump: %v, %v", steps, err)
	}
}
