package sqldb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/streamspace-dev/streamspace-edge/store"
	"github.com/streamspace-dev/streamspace-edge/store/storetest"
)

// What this test program does in place of testing when it is started as a
// child; childVariable names the environment variable that says so, childPath
// the one with the database's path.
const (
	childVariable = "SQLDB_TEST_CHILD"
	childPath     = "SQLDB_TEST_PATH"
	childCreates  = "create" // creates sessions until it is killed, prints each id that was acknowledged
	childSecret   = "secret" // prints a secret in hex
)

func TestMain(m *testing.M) {
	if task := os.Getenv(childVariable); task != "" {
		if err := beChild(context.Background(), task, os.Getenv(childPath)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// child is this test program with a task, not yet started; it is killed when
// the test ends.
func child(t *testing.T, task, path string) *exec.Cmd {
	c := exec.CommandContext(t.Context(), os.Args[0])
	c.Env = append(os.Environ(), childVariable+"="+task, childPath+"="+path)
	return c
}

func beChild(ctx context.Context, task, path string) error {
	db, err := Open(ctx, path)
	if err != nil {
		return err
	}
	if task == childSecret {
		secret, err := db.Secret(ctx, "ticket")
		fmt.Printf("%x", secret)
		return errors.Join(err, db.Close())
	}
	for {
		stored, _, err := db.CreateSession(ctx, newRow(""), uuid.NewString())
		if err != nil {
			return err
		}
		fmt.Println(stored.ID)
	}
}

// openAt opens the database at path and closes it when the test ends.
func openAt(t testing.TB, path string) *DB {
	t.Helper()
	db, err := Open(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func sqliteOf(db *DB) *sqliteFile { return db.engine.(*sqliteFile) }

func openNew(t testing.TB) *DB {
	t.Helper()
	return openAt(t, filepath.Join(t.TempDir(), "streamspace.db"))
}

func TestSQLiteIsAStore(t *testing.T) {
	storetest.TestStore(t, func(t *testing.T) store.Store { return openNew(t) })
}
