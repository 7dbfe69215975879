package sqldb

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/streamspace-dev/streamspace-edge/store"
)

const (
	benchSessions = 10_000
	benchAgents   = 200
)

// openFilled has benchSessions sessions over benchAgents agents; three in four
// have ended, as they have where sessions are kept for a while.
func openFilled(b *testing.B) (db *DB, ids []string) {
	b.Helper()
	ctx := context.Background()
	db = openNew(b)
	if _, err := sqliteOf(db).writer.Exec("PRAGMA synchronous = OFF"); err != nil {
		b.Fatal(err)
	}
	start := time.Now().Add(-benchSessions * time.Second)
	for i := range benchSessions {
		row := newRow(fmt.Sprintf("agent-%d", i%benchAgents))
		row.State = []store.State{store.Running, store.Terminated, store.Terminated, store.Failed}[i/benchAgents%4]
		row.CreatedAt = start.Add(time.Duration(i) * time.Second)
		row.Owner = fmt.Sprintf("user-%d", i%500)
		if _, _, err := db.CreateSession(ctx, row, ""); err != nil {
			b.Fatal(err)
		}
		ids = append(ids, row.ID)
	}
	if _, err := sqliteOf(db).writer.Exec("PRAGMA synchronous = FULL"); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	return db, ids
}

func BenchmarkCreateSession(b *testing.B) {
	db, _ := openFilled(b)
	for b.Loop() {
		if _, _, err := db.CreateSession(context.Background(), newRow("agent-1"), uuid.NewString()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSession(b *testing.B) {
	db, ids := openFilled(b)
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			if _, err := db.Session(context.Background(), ids[i*7919%len(ids)]); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkSessionsPage(b *testing.B) {
	db, _ := openFilled(b)
	first := store.SessionFilter{Limit: 100}
	_, middle, err := db.Sessions(context.Background(), store.SessionFilter{Limit: store.MaxPage})
	if err != nil {
		b.Fatal(err)
	}
	live := []store.State{store.Pending, store.Starting, store.Running, store.Hibernated, store.Unreachable, store.Stopping}
	for _, c := range []struct {
		name   string
		filter store.SessionFilter
		want   int
	}{
		{"100", first, 100},
		{"100 further on", store.SessionFilter{Limit: 100, Cursor: middle}, 100},
		{"of one owner", store.SessionFilter{Limit: 100, Org: "acme", Owner: "user-7"}, 20},
		{"of one agent", store.SessionFilter{Limit: 100, AgentID: "agent-7"}, 50},
		{"1000 that live", store.SessionFilter{Limit: 1000, States: live}, 1000},
		{"pending", store.SessionFilter{Limit: 100, States: []store.State{store.Pending}}, 0},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				page, _, err := db.Sessions(context.Background(), c.filter)
				if err != nil || len(page) != c.want {
					b.Fatalf("%d sessions, %v; want %d", len(page), err, c.want)
				}
			}
		})
	}
}

func BenchmarkUpdateSession(b *testing.B) {
	db, ids := openFilled(b)
	i := 0
	for b.Loop() {
		i++
		if _, err := db.UpdateSession(context.Background(), ids[i*7919%len(ids)], func(s *store.Session) error {
			s.LastActivity = time.Now()
			return nil
		}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkActiveSessions(b *testing.B) {
	db, _ := openFilled(b)
	for b.Loop() {
		active, err := db.ActiveSessions(context.Background())
		if err != nil || len(active) != benchAgents {
			b.Fatalf("%d agents, %v", len(active), err)
		}
	}
}

func BenchmarkPing(b *testing.B) {
	db, _ := openFilled(b)
	for b.Loop() {
		if err := db.Ping(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}
