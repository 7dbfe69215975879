package sqldb

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/sync/errgroup"

	"github.com/streamspace-dev/streamspace-edge/store"
	"github.com/streamspace-dev/streamspace-edge/store/storetest"
	"github.com/streamspace-dev/streamspace-edge/store/storetest/pgserver"
)

func TestReadsMayGoToAReplicaThatIsFreshEnough(t *testing.T) {
	ctx := store.AllowLag(context.Background())
	primary := pgserver.Start(t)
	standby := primary.Standby("replica")
	database := primary.NewDatabase()
	m := NewMetrics(prometheus.NewRegistry())
	// Of a bound that no test reaches, so that only what was written counts.
	o := PostgresOptions{Primary: primary.DSN(database), Replica: standby.DSN(database), MaxLag: time.Hour, Metrics: m}
	db := openPostgres(t, o)
	fromReplica := func() float64 { return testutil.ToFloat64(m.reads.WithLabelValues(targetReplica)) }
	other := openPostgres(t, PostgresOptions{Primary: primary.DSN(database)}) // another edge
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
	for width, writer := range []*DB{db, other} {
		if _, err := writer.UpdateSession(ctx, row.ID, func(s *store.Session) error { s.Width = width; return nil }); err != nil {
			t.Fatal(err)
		}
		before := fromReplica()
		for range 20 {
			if s, err := db.Session(ctx, row.ID); err != nil || s.Width != width {
				t.Fatalf("a session after a write: %+v, %v", s, err)
			}
			for _, filter := range []store.SessionFilter{list, {}} {
				page, _, err := db.Sessions(ctx, filter)
				if err != nil || page[0].Width != width {
					t.Fatalf("a list after a write: %+v, %v", page[0], err)
				}
			}
			time.Sleep(10 * time.Millisecond)
		}
		if fromReplica() != before {
			t.Error("the replica served what it does not have")
		}
	}
	standby.Exec(database, "SELECT pg_wal_replay_resume()")
	served("the session again", func() error {
		s, err := db.Session(ctx, row.ID)
		if err == nil && s.Width != 1 {
			err = fmt.Errorf("the old width %d", s.Width)
		}
		return err
	})

	standby.Kill()
	if err := get(); err != nil {
		t.Errorf("without the replica: %v", err)
	}
	standby.Run()
	served("a session after its restart", get)

	// A standby of its own now: what it has is no copy any more.
	standby.Promote()
	if _, err := other.UpdateSession(ctx, row.ID, func(s *store.Session) error { s.Width = 77; return nil }); err != nil {
		t.Fatal(err)
	}
	if s, err := db.Session(ctx, row.ID); err != nil || s.Width != 77 {
		t.Errorf("a promoted standby serves as a replica: %+v, %v", s, err)
	}
}

func TestAClientReadsItsOwnWritesAtAnyEdge(t *testing.T) {
	ctx := store.AllowLag(context.Background())
	primary := pgserver.Start(t)
	standby := primary.Standby("replica")
	database := primary.NewDatabase()
	var edges []*DB
	for range 2 {
		edges = append(edges, openPostgres(t, PostgresOptions{Primary: primary.DSN(database), Replica: standby.DSN(database)}))
	}
	var clients errgroup.Group
	for client := range 4 {
		clients.Go(func() error {
			for i := range 100 {
				row := newRow("")
				row.Owner = fmt.Sprint("client ", client)
				writer, reader := edges[i%2], edges[(i+1)%2]
				if _, _, err := writer.CreateSession(ctx, row, ""); err != nil {
					return err
				}
				page, _, err := reader.Sessions(ctx, store.SessionFilter{Org: row.Org, Owner: row.Owner})
				if err != nil || page[0].ID != row.ID {
					return fmt.Errorf("session %d is not on the list of the other edge: %v", i, err)
				}
				if _, err := writer.UpdateSession(ctx, row.ID, func(s *store.Session) error { s.State = store.Terminated; return nil }); err != nil {
					return err
				}
				s, err := reader.Session(ctx, row.ID)
				if err != nil || s.State != store.Terminated {
					return fmt.Errorf("session %d has not ended at the other edge: %v", i, err)
				}
			}
			return nil
		})
	}
	if err := clients.Wait(); err != nil {
		t.Error(err)
	}
}

func TestAReplicaOfAnotherTimelineServesNothing(t *testing.T) {
	r := &replica{}
	now := time.Now()
	r.samples = []sample{{at: now.Add(-3 * time.Second), timeline: 1, position: 100}, {at: now.Add(-2 * time.Second), timeline: 2, position: 95}}
	r.replayed(sample{timeline: 1, position: 99})
	if r.lag(now) != unknownLag {
		t.Error("it is told to have less than any known position")
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
