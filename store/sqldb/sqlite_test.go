package sqldb

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/streamspace-dev/streamspace-edge/store"
)

func TestFilesAndFoldersAreMadeForTheirOwnerOnly(t *testing.T) {
	root := t.TempDir()
	path := filepath.Join(root, "new", "newer", "streamspace.db")
	db := openAt(t, path)
	if _, _, err := db.CreateSession(context.Background(), newRow(""), ""); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]os.FileMode{
		filepath.Join(root, "new"):          os.ModeDir | 0o700,
		filepath.Join(root, "new", "newer"): os.ModeDir | 0o700,
		path:                                0o600,
		path + "-wal":                       0o600,
		path + "-shm":                       0o600,
	} {
		info, err := os.Stat(file)
		if err != nil {
			t.Error(err)
		} else if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", file, info.Mode(), want)
		}
	}
}

func TestAPathMayHaveAnyCharacter(t *testing.T) {
	for _, name := range []string{"a b", "a?mode=memory", "a#b", "a%20b", "\u2603.db", ":memory:", "file:x", "a;b'c\"d"} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), name)
			db := openAt(t, path)
			if _, _, err := db.CreateSession(context.Background(), newRow(""), ""); err != nil {
				t.Fatal(err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			files, err := os.ReadDir(filepath.Dir(path))
			if err != nil || len(files) != 1 || files[0].Name() != name {
				t.Errorf("the folder has %v, %v; want %q alone", files, err, name)
			}
		})
	}
}

func TestARelativePathStaysWhereItWasOpened(t *testing.T) {
	t.Chdir(t.TempDir())
	db := openAt(t, "streamspace.db")
	t.Chdir(t.TempDir())
	if err := db.Ping(context.Background()); err != nil {
		t.Error(err)
	}
	if _, _, err := db.Sessions(context.Background(), store.SessionFilter{}); err != nil {
		t.Error(err)
	}
}

func TestAPathThatCanNotBeADatabaseIsRefusedInWords(t *testing.T) {
	write := func(content []byte) func(*testing.T, string) string {
		return func(t *testing.T, folder string) string {
			path := filepath.Join(folder, "other")
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			return path
		}
	}
	for name, c := range map[string]struct {
		prepare func(t *testing.T, folder string) (path string)
		words   string
	}{
		"a folder":           {func(_ *testing.T, folder string) string { return folder }, "is a folder; name a file in it"},
		"a file as folder":   {func(t *testing.T, f string) string { return write(nil)(t, f) + "/db" }, "not a directory"},
		"a device":           {func(*testing.T, string) string { return os.DevNull }, "is not a regular file"},
		"some other content": {write(bytes.Repeat([]byte("no database "), 1000)), "is not a SQLite database; move it away, or name another file"},
		"a damaged database": {damaged, "is damaged; restore it from a backup"},
	} {
		t.Run(name, func(t *testing.T) {
			path := c.prepare(t, t.TempDir())
			db, err := Open(context.Background(), path)
			if err == nil {
				t.Fatal(db.Close(), "it was opened")
			}
			if !strings.Contains(err.Error(), c.words) || !strings.Contains(err.Error(), path) {
				t.Errorf("%q does not say %q of %s", err, c.words, path)
			}
		})
	}
}

// damaged is a database whose schema is overwritten after its header.
func damaged(t *testing.T, folder string) string {
	path := filepath.Join(folder, "damaged.db")
	db, err := Open(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range content[100:] {
		content[100+i] = 0xa5
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestADatabaseOfBeforeAnnouncedEndsKeepsItsSessions(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "streamspace.db")
	db := openAt(t, path)
	row, _, err := db.CreateSession(ctx, newRow(""), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, undo := range []string{
		"ALTER TABLE sessions DROP COLUMN ends_at", "ALTER TABLE sessions DROP COLUMN ends_because",
		"ALTER TABLE sessions DROP COLUMN refusals", "DROP INDEX sessions_owned", "DROP INDEX sessions_moving", "DROP TABLE owners", "DROP TABLE drained_nodes",
		"DROP TABLE ticket_ledger", "DROP TABLE used_tickets",
		"DROP INDEX sessions_ended", "ALTER TABLE sessions DROP COLUMN ended_at",
		"CREATE INDEX sessions_ended ON sessions (updated_at) WHERE state IN ('terminated', 'failed')",
		"DELETE FROM goose_db_version WHERE version_id >= 2",
	} {
		if _, err := sqliteOf(db).writer.Exec(undo); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	kept, err := openAt(t, path).Session(ctx, row.ID)
	if err != nil || kept.Name != row.Name || !kept.EndsAt.IsZero() || kept.EndsBecause != "" || kept.Refusals.Count != 0 {
		t.Errorf("after the upgrade it is %+v, %v", kept, err)
	}
}

func TestADatabaseOfANewerProgramIsRefused(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "streamspace.db")
	db := openAt(t, path)
	if _, err := sqliteOf(db).writer.Exec("INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Open(ctx, path)
	if err == nil {
		t.Fatal("it was opened")
	}
	for _, words := range []string{path, "version 9999", "run the newer program", "restore a backup"} {
		if !strings.Contains(err.Error(), words) {
			t.Errorf("%q does not say %q", err, words)
		}
	}
	after, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the refused database was changed, %v", err)
	}
}

func TestANewDatabaseOpenedByProcessesAtOnceIsMadeOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "streamspace.db")
	var all sync.WaitGroup
	secrets := make([]string, 4)
	for i := range secrets {
		all.Go(func() {
			output, err := child(t, childSecret, path).Output()
			if err != nil {
				t.Errorf("a process failed: %v, %s", err, err.(*exec.ExitError).Stderr)
			}
			secrets[i] = string(output)
		})
	}
	all.Wait()
	for _, secret := range secrets {
		if len(secret) != 64 || secret != secrets[0] {
			t.Fatalf("two processes on one database have different secrets: %q, %q", secret, secrets[0])
		}
	}
}

func TestOpenEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if db, err := Open(ctx, filepath.Join(t.TempDir(), "streamspace.db")); err == nil {
		t.Fatal(db.Close(), "it was opened")
	}
}
