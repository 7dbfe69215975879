package sqldb

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/streamspace-dev/streamspace-edge/store"
	"github.com/streamspace-dev/streamspace-edge/store/storetest"
	"github.com/streamspace-dev/streamspace-edge/store/storetest/pgserver"
)

func TestReadsMayGoToAReplicaThatIsFreshEnough(t *testing.T) {
	ctx := store.AllowLag(context.Background())
	primary := pgserver.Start(t)
	standby := primary.Standby("replica")
	database := primary.NewDatabase()
	open := func(maxLag time.Duration) (*DB, func() float64) {
		m := NewMetrics(prometheus.NewRegistry())
		db := openPostgres(t, PostgresOptions{Primary: primary.DSN(database), Replica: standby.DSN(database), MaxLag: maxLag, Metrics: m})
		return db, func() float64 { return testutil.ToFloat64(m.reads.WithLabelValues(targetReplica)) }
	}
	// Of a bound that no test reaches, so that only the edge's own writes count.
	db, fromReplica := open(time.Hour)
	other, _ := open(time.Hour)
	row, _, err := db.CreateSession(ctx, newRow("agent-1"), "")
	if err != nil {
		t.Fatal(err)
	}
	list := store.SessionFilter{Org: row.Org, Owner: row.Owner}
	served := func(what string, read func() error) {
		t.Helper()
		eventually(t, func() error {
			before := fromReplica()
			if err := read(); err != nil {
				t.Fatal(err)
			}
			if fromReplica() == before {
				return errors.New("the replica does not serve " + what)
			}
			return nil
		})
	}
	get := func() error { _, err := db.Session(ctx, row.ID); return err }
	served("a session", get)
	served("a list", func() error { _, _, err := db.Sessions(ctx, list); return err })
	served("the whole list", func() error { _, _, err := db.Sessions(ctx, store.SessionFilter{}); return err })

	standby.Exec(database, "SELECT pg_wal_replay_pause()")
	eventually(t, func() error {
		if state := standby.Exec(database, "SELECT pg_get_wal_replay_pause_state()"); state != "paused" {
			return fmt.Errorf("the replay is %q", state)
		}
		return nil
	})
	if _, err := db.UpdateSession(ctx, row.ID, func(s *store.Session) error { s.Width = 77; return nil }); err != nil {
		t.Fatal(err)
	}
	if _, err := db.PurgeSessions(ctx, time.Unix(0, 0)); err != nil {
		t.Fatal(err)
	}
	before := fromReplica()
	for range 20 {
		s, err := db.Session(ctx, row.ID)
		if err != nil || s.Width != 77 {
			t.Fatalf("after its own write: %+v, %v", s, err)
		}
		page, _, err := db.Sessions(ctx, list)
		if err != nil || page[0].Width != 77 {
			t.Fatalf("after its own write: %+v, %v", page[0], err)
		}
		page, _, err = db.Sessions(ctx, store.SessionFilter{})
		if err != nil || page[0].Width != 77 {
			t.Fatalf("after its own write: %+v, %v", page[0], err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	if fromReplica() != before {
		t.Error("the replica served what it does not have")
	}
	// Another edge has written nothing, and is told within the bound.
	if s, err := other.Session(ctx, row.ID); err != nil || s.Width == 77 {
		t.Errorf("an edge that allows an hour: %+v, %v", s, err)
	}
	if s, err := other.Session(context.Background(), row.ID); err != nil || s.Width != 77 {
		t.Errorf("without AllowLag: %+v, %v", s, err)
	}
	// An edge with a bound does not use it any more.
	strict, fromStrict := open(200 * time.Millisecond)
	time.Sleep(300 * time.Millisecond)
	before = fromStrict()
	if s, err := strict.Session(ctx, row.ID); err != nil || s.Width != 77 || fromStrict() != before {
		t.Errorf("beyond the bound: %+v, %v", s, err)
	}

	standby.Exec(database, "SELECT pg_wal_replay_resume()")
	served("the session again", func() error {
		s, err := db.Session(ctx, row.ID)
		if err == nil && s.Width != 77 {
			err = fmt.Errorf("the old width %d", s.Width)
		}
		return err
	})
	served("the list again", func() error { _, _, err := db.Sessions(ctx, list); return err })

	standby.Kill()
	if err := get(); err != nil {
		t.Errorf("without the replica: %v", err)
	}
	standby.Run()
	served("a session after its restart", get)

	// A standby of its own now: what it has is no copy any more.
	standby.Promote()
	eventually(t, func() error {
		if strict.replica.serves(sessionKey(row.ID)) {
			return errors.New("a promoted standby serves as a replica")
		}
		return nil
	})
}

func TestAReplicaOfAnotherTimelineServesNothing(t *testing.T) {
	r := &replica{maxLag: time.Hour, written: map[string]time.Time{}}
	now := time.Now()
	r.samples = []sample{{at: now.Add(-3 * time.Second), timeline: 1, position: 100}, {at: now.Add(-2 * time.Second), timeline: 2, position: 95}}
	r.replayed(sample{timeline: 1, position: 99})
	if r.serves("") || r.lag(now) != unknownLag {
		t.Error("it serves with less than any known position")
	}
	r.replayed(sample{timeline: 1, position: 120})
	if lag := r.lag(now); lag != 3*time.Second {
		t.Errorf("a lag of %v on the old timeline, want 3 s", lag)
	}
	r.replayed(sample{timeline: 2, position: 95})
	if lag := r.lag(now); lag != 2*time.Second {
		t.Errorf("a lag of %v on the new timeline, want 2 s", lag)
	}
}

func TestWritesAreRememberedWithinABound(t *testing.T) {
	r := &replica{maxLag: time.Hour, written: map[string]time.Time{}}
	r.wrote("first")
	r.covered = time.Now()
	if r.serves("first") != r.covered.After(r.written["first"]) || !r.serves("another") {
		t.Error("a write counts for what was not written")
	}
	for i := range 3 * maxWritten {
		r.wrote(fmt.Sprint(i))
	}
	if len(r.written) > maxWritten {
		t.Errorf("%d writes are remembered", len(r.written))
	}
	if r.serves("first") || r.serves("0") || r.serves("") {
		t.Error("a write was forgotten")
	}
}

func TestPostgresWithAReplicaIsAStore(t *testing.T) {
	primary := pgserver.Start(t)
	standby := primary.Standby("replica")
	storetest.TestStore(t, func(t *testing.T) store.Store {
		database := primary.NewDatabase()
		return lagging{openPostgres(t, PostgresOptions{Primary: primary.DSN(database), Replica: standby.DSN(database)})}
	})
}

// lagging is a DB all of whose reads may lag.
type lagging struct{ *DB }

func (l lagging) Session(ctx context.Context, id string) (*store.Session, error) {
	return l.DB.Session(store.AllowLag(ctx), id)
}

func (l lagging) Sessions(ctx context.Context, f store.SessionFilter) ([]*store.Session, string, error) {
	return l.DB.Sessions(store.AllowLag(ctx), f)
}
