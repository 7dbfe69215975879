package sqldb

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"modernc.org/sqlite"

	"github.com/streamspace-dev/streamspace-edge/store"
)

func wantUnavailable(t *testing.T, err error, words string) {
	t.Helper()
	var e *store.Error
	if !errors.As(err, &e) || e.Code != store.Unavailable || !strings.Contains(e.Text, words) {
		t.Errorf("got %v; want unavailable with %q", err, words)
	}
}

func TestADatabaseThatIsFullSaysSoAndKeepsWhatItHas(t *testing.T) {
	ctx := context.Background()
	db := openNew(t)
	kept, _, err := db.CreateSession(ctx, newRow(""), "")
	if err != nil {
		t.Fatal(err)
	}
	var pages int
	if err := sqliteOf(db).writer.QueryRow("PRAGMA max_page_count = 1").Scan(&pages); err != nil { // SQLite takes what it has now
		t.Fatal(err)
	}
	large := newRow("")
	large.Reason = strings.Repeat("x", 1<<16)
	_, _, err = db.CreateSession(ctx, large, "")
	wantUnavailable(t, err, "disk is full; free some space")
	if s, err := db.Session(ctx, kept.ID); err != nil || s.ID != kept.ID {
		t.Errorf("what was there before: %+v, %v", s, err)
	}

	if err := sqliteOf(db).writer.QueryRow("PRAGMA max_page_count = 1000000").Scan(&pages); err != nil {
		t.Fatal(err)
	}
	if _, _, err := db.CreateSession(ctx, large, ""); err != nil {
		t.Errorf("with space again: %v", err)
	}
}

func TestALockedDatabaseSaysSoAndStillReads(t *testing.T) {
	ctx := context.Background()
	db := openNew(t)
	s, _, err := db.CreateSession(ctx, newRow(""), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sqliteOf(db).writer.Exec("PRAGMA busy_timeout = 1"); err != nil { // milliseconds
		t.Fatal(err)
	}
	other := openAt(t, sqliteOf(db).path)
	if err := other.transact(ctx, func(querier) error {
		wantUnavailable(t, db.Ping(ctx), "another process keeps the database locked")
		_, _, err := db.CreateSession(ctx, newRow(""), "")
		wantUnavailable(t, err, "another process keeps the database locked")
		_, err = db.Session(ctx, s.ID)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := db.Ping(ctx); err != nil {
		t.Errorf("unlocked: %v", err)
	}
}

func TestPingFailsWhenTheFileIsGoneOrAnother(t *testing.T) {
	db := openNew(t)
	moved := sqliteOf(db).path + ".moved"
	if err := os.Rename(sqliteOf(db).path, moved); err != nil {
		t.Fatal(err)
	}
	wantUnavailable(t, db.Ping(context.Background()), "removed or replaced")
	if err := os.WriteFile(sqliteOf(db).path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wantUnavailable(t, db.Ping(context.Background()), "removed or replaced")
	if err := os.Rename(moved, sqliteOf(db).path); err != nil {
		t.Fatal(err)
	}
	if err := db.Ping(context.Background()); err != nil {
		t.Errorf("put back: %v", err)
	}
}

func TestDamageFoundLaterSaysSo(t *testing.T) {
	ctx := context.Background()
	db := openNew(t)
	for range 50 {
		if _, _, err := db.CreateSession(ctx, newRow(""), ""); err != nil {
			t.Fatal(err)
		}
	}
	root, err := one(ctx, db.writer, nil, func(n *int) []any { return []any{n} }, "SELECT rootpage FROM sqlite_schema WHERE name = 'sessions'")
	if err = errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(sqliteOf(db).path)
	if err != nil {
		t.Fatal(err)
	}
	// One page of the sessions, so that what is read at the start stays readable.
	const page = 4096
	for i := (*root - 1) * page; i < *root*page; i++ {
		content[i] = 0xa5
	}
	if err := os.WriteFile(sqliteOf(db).path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	again := openAt(t, sqliteOf(db).path)
	_, _, err = again.Sessions(ctx, store.SessionFilter{})
	wantUnavailable(t, err, "damaged; restore it from a backup")
}

func TestEverySQLiteResultHasACodeAndWords(t *testing.T) {
	for result, name := range sqlite.ErrorCodeString {
		code, text := explain(result)
		if code != store.Unavailable && code != store.Internal || text == "" {
			t.Errorf("%s: %s %q", name, code, text)
		}
	}
}

func FuzzCursor(f *testing.F) {
	for _, seed := range []string{"", "x", "=", cursor{created: 1, id: "a b"}.String(), cursor{created: -1 << 63}.String()} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseCursor(text)
		if err != nil {
			if store.CodeOf(err) != store.Invalid || len(err.Error()) > 500 {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		if c.String() != text {
			t.Errorf("%q was read as %+v, which is %q", text, c, c.String())
		}
	})
}
