package sqldb

import (
	"bufio"
	"bytes"
	"context"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/streamspace-dev/streamspace-edge/store"
)

func newRow(agentID string) *store.Session {
	return &store.Session{
		ID: uuid.Must(uuid.NewV7()).String(), Org: "acme", Owner: "ann", State: store.Pending, Desired: store.Running,
		AgentID: agentID, Runtime: "process", Labels: map[string]string{"gpu": "yes"},
	}
}

func TestWhatWasAcknowledgedSurvivesKill9(t *testing.T) {
	path := filepath.Join(t.TempDir(), "streamspace.db")
	var acknowledged []string
	for round := range 3 {
		child := child(t, childCreates, path)
		var stderr bytes.Buffer
		child.Stderr = &stderr
		stdout, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		hung := time.AfterFunc(time.Minute, func() { _ = child.Process.Kill() })
		lines := bufio.NewScanner(stdout)
		for enough := len(acknowledged) + 10*round + 1; lines.Scan(); {
			acknowledged = append(acknowledged, lines.Text())
			if len(acknowledged) == enough {
				if err := child.Process.Kill(); err != nil { // SIGKILL
					t.Fatal(err)
				}
			}
		}
		err = child.Wait()
		hung.Stop()
		if child.ProcessState.Exited() {
			t.Fatalf("the child ended by itself: %v, %s", err, stderr.Bytes())
		}
	}
	db := openAt(t, path)
	for _, id := range acknowledged {
		s, err := db.Session(context.Background(), id)
		if err != nil {
			t.Fatalf("session %s was acknowledged, then lost: %v", id, err)
		}
		if s.State != store.Pending || s.Labels["gpu"] != "yes" {
			t.Errorf("session %s came back as %+v", id, s)
		}
	}
	if err := db.Ping(context.Background()); err != nil {
		t.Error(err)
	}
}

// What a test can't show without cutting the power: that a commit waits for
// the disk. The settings that make it wait can be read back.
func TestACommitWaitsForTheDisk(t *testing.T) {
	db := openNew(t)
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "query_only": "0"} {
		var got string
		if err := sqliteOf(db).writer.QueryRow("PRAGMA " + pragma).Scan(&got); err != nil || got != want {
			t.Errorf("writer: %s is %s, %v; want %s", pragma, got, err, want)
		}
	}
	var readOnly string
	if err := sqliteOf(db).reader.QueryRow("PRAGMA query_only").Scan(&readOnly); err != nil || readOnly != "1" {
		t.Errorf("reader: query_only is %s, %v; want 1", readOnly, err)
	}
}

func TestEverythingIsThereAfterReopening(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "streamspace.db")
	first := openAt(t, path)
	s, _, err := first.CreateSession(ctx, newRow("agent-1"), "key")
	if err != nil {
		t.Fatal(err)
	}
	a, err := first.EnrolAgent(ctx, &store.Agent{ID: "agent-1", KeyHash: make([]byte, 32), Capacity: 3, Weight: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := first.CreateKey(ctx, &store.Key{ID: "key-1", Role: store.RoleAdmin, Hash: make([]byte, 32)}); err != nil {
		t.Fatal(err)
	}
	secret, err := first.Secret(ctx, "ticket")
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if leftover, _ := filepath.Glob(path + "-*"); len(leftover) != 0 {
		t.Errorf("a clean end left %v", leftover)
	}

	second := openAt(t, path)
	if again, created, err := second.CreateSession(ctx, newRow(""), "key"); err != nil || created || again.ID != s.ID {
		t.Errorf("the idempotency key gave %+v, %v, %v", again, created, err)
	}
	if again, err := second.EnrolAgent(ctx, a); err != nil || !again.CreatedAt.Equal(a.CreatedAt) {
		t.Errorf("the agent is %+v, %v", again, err)
	}
	if again, err := second.KeyByHash(ctx, make([]byte, 32)); err != nil || again.ID != "key-1" {
		t.Errorf("the key is %+v, %v", again, err)
	}
	if again, err := second.Secret(ctx, "ticket"); err != nil || !bytes.Equal(again, secret) {
		t.Errorf("the secret changed, %v", err)
	}
}

func TestIdempotencyKeysAreKeptForADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		db := openNew(t)
		first, _, err := db.CreateSession(ctx, newRow(""), "key")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(store.IdempotencyTTL - time.Microsecond)
		if _, err := db.PurgeSessions(ctx, time.Now()); err != nil {
			t.Fatal(err)
		}
		if s, err := db.SessionByKey(ctx, "acme", "ann", "key"); err != nil || s.ID != first.ID {
			t.Fatalf("just before a day: SessionByKey gave %+v, %v", s, err)
		}
		if s, created, err := db.CreateSession(ctx, newRow(""), "key"); err != nil || created || s.ID != first.ID {
			t.Fatalf("just before a day: %+v, created %v, %v", s, created, err)
		}

		time.Sleep(time.Microsecond)
		if s, err := db.SessionByKey(ctx, "acme", "ann", "key"); store.CodeOf(err) != store.NotFound {
			t.Fatalf("after a day: SessionByKey gave %+v, %v", s, err)
		}
		second, created, err := db.CreateSession(ctx, newRow(""), "key")
		if err != nil || !created {
			t.Fatalf("after a day: created %v, %v", created, err)
		}
		if s, created, err := db.CreateSession(ctx, newRow(""), "key"); err != nil || created || s.ID != second.ID {
			t.Fatalf("the key's second life: %+v, created %v, %v", s, created, err)
		}

		time.Sleep(store.IdempotencyTTL)
		if _, err := db.PurgeSessions(ctx, time.Now()); err != nil {
			t.Fatal(err)
		}
		var kept int
		if err := sqliteOf(db).reader.QueryRow("SELECT COUNT(*) FROM idempotency_keys").Scan(&kept); err != nil || kept != 0 {
			t.Errorf("%d keys were kept beyond a day, %v", kept, err)
		}
	})
}

// TestOwnersWithoutSessionsAreForgotten: what is locked to count an owner's
// sessions does not stay for ever.
func TestOwnersWithoutSessionsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		db := openNew(t)
		counted := store.Admission{Quota: func(int) error { return nil }}
		row := newRow("")
		gone, _, err := db.AdmitSession(ctx, row, "", counted)
		if err != nil {
			t.Fatal(err)
		}
		stays := newRow("")
		stays.Owner = "who has one"
		if _, _, err := db.AdmitSession(ctx, stays, "", counted); err != nil {
			t.Fatal(err)
		}
		if _, err := db.UpdateSession(ctx, gone.ID, func(s *store.Session) error { s.State = store.Failed; return nil }); err != nil {
			t.Fatal(err)
		}
		owners := func() (names string) {
			t.Helper()
			if err := sqliteOf(db).reader.QueryRow("SELECT group_concat(owner) FROM (SELECT owner FROM owners ORDER BY owner)").Scan(&names); err != nil {
				t.Fatal(err)
			}
			return names
		}
		if got := owners(); got != row.Owner+",who has one" {
			t.Fatalf("owners %q", got)
		}
		time.Sleep(time.Hour)
		if _, err := db.PurgeSessions(ctx, time.Now()); err != nil {
			t.Fatal(err)
		}
		if got := owners(); got != "who has one" {
			t.Errorf("owners %q after a purge", got)
		}
		if _, _, err := db.AdmitSession(ctx, newRow(""), "", counted); err != nil {
			t.Errorf("an owner that was forgotten: %v", err)
		}
	})
}

func TestAKeyFindsItsSessionForItsOwnerOnly(t *testing.T) {
	ctx := context.Background()
	db := openNew(t)
	s, _, err := db.CreateSession(ctx, newRow(""), "key")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		org, owner, key string
		want            store.Code
	}{
		{"acme", "ann", "key", ""},
		{"umbrella", "ann", "key", store.NotFound},
		{"acme", "bob", "key", store.NotFound},
		{"acme", "ann", "another", store.NotFound},
		{"acme", "ann", "", store.NotFound},
	} {
		got, err := db.SessionByKey(ctx, c.org, c.owner, c.key)
		if store.CodeOf(err) != c.want || (err == nil && got.ID != s.ID) {
			t.Errorf("%+v: %+v, %v", c, got, err)
		}
	}
}

func TestNoUpdateIsLostBetweenTwoProcesses(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "streamspace.db")
	handles := []*DB{openAt(t, path), openAt(t, path)}
	s, _, err := handles[0].CreateSession(ctx, newRow(""), "")
	if err != nil {
		t.Fatal(err)
	}
	const rounds = 50
	var all sync.WaitGroup
	for _, db := range handles {
		all.Go(func() {
			for range rounds {
				if _, err := db.UpdateSession(ctx, s.ID, func(s *store.Session) error { s.Width++; return nil }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if s, err = handles[0].Session(ctx, s.ID); err != nil || s.Width != 2*rounds {
		t.Errorf("%d updates were kept, %v; want %d", s.Width, err, 2*rounds)
	}
}
