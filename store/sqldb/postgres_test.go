package sqldb

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/streamspace-dev/streamspace-edge/store"
	"github.com/streamspace-dev/streamspace-edge/store/storetest"
	"github.com/streamspace-dev/streamspace-edge/store/storetest/pgserver"
)

// openPostgres opens a DB and closes it when the test ends.
func openPostgres(t testing.TB, o PostgresOptions) *DB {
	t.Helper()
	db, err := OpenPostgres(context.Background(), o)
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

func TestNoQueryNeedsToReadTheWholeTableOrToSortItOnPostgres(t *testing.T) {
	ctx := t.Context()
	server := pgserver.Start(t)
	db := openPostgres(t, PostgresOptions{Primary: server.DSN(server.NewDatabase())})
	after := cursor{created: 1, id: uuid.NewString()}.String()
	live := store.States()[:6]
	type query struct {
		text  string
		args  []any
		index string
	}
	list := func(f store.SessionFilter, index string) query {
		text, args, err := listQuery(f)
		if err != nil {
			t.Fatal(err)
		}
		return query{text, append(args, 100), index}
	}
	for name, c := range map[string]query{
		"all":                  list(store.SessionFilter{}, "sessions_created"),
		"all, further on":      list(store.SessionFilter{Cursor: after}, "sessions_created"),
		"by owner":             list(store.SessionFilter{Org: "acme", Owner: "ann"}, "sessions_owner"),
		"by owner, live":       list(store.SessionFilter{Org: "acme", Owner: "ann", States: live, Cursor: after}, "sessions_owner"),
		"by agent":             list(store.SessionFilter{AgentID: "agent-1"}, "sessions_agent"),
		"by agent, live":       list(store.SessionFilter{AgentID: "agent-1", States: live, Cursor: after}, "sessions_agent"),
		"moving":               list(store.SessionFilter{States: []store.State{store.Unreachable, store.Pending, store.Stopping, store.Starting}}, "sessions_moving"),
		"active by agent":      {countActive, nil, "sessions_active"},
		"ended to be purged":   {purgeEnded, []any{int64(1), purgeBatch}, "sessions_ended"},
		"tickets to be purged": {purgeTickets, []any{int64(1), purgeBatch}, "used_tickets_expires"},
	} {
		var plan []string
		err := db.transact(ctx, func(tx querier) error {
			// An empty table is read as a whole unless that is forbidden.
			for _, method := range []string{"seqscan", "sort", "bitmapscan"} {
				if err := execute(ctx, tx, "SET LOCAL enable_"+method+" = off"); err != nil {
					return err
				}
			}
			steps, err := all(ctx, tx, func(s *string) []any { return []any{s} }, "EXPLAIN (COSTS OFF) "+c.text, c.args...)
			for _, s := range steps {
				plan = append(plan, *s)
			}
			return err
		})
		text := strings.Join(plan, "\n")
		if err != nil || !strings.Contains(text, "using "+c.index+" ") || strings.Contains(text, "Sort") || strings.Contains(text, "Seq Scan") {
			t.Errorf("%s: the plan is %v\n%s\nwant the index %s", name, err, text, c.index)
		}
	}
}

// BenchmarkPostgres does what an API request asks of the database, with 10,000
// sessions over 200 agents, directly and behind PgBouncer.
func BenchmarkPostgres(b *testing.B) {
	ctx := context.Background()
	server := pgserver.Start(b)
	bouncer := pgserver.StartBouncer(b, server, 25)
	database := server.NewDatabase()
	for name, o := range map[string]PostgresOptions{
		"direct":    {Primary: server.DSN(database)},
		"PgBouncer": {Primary: bouncer.DSN(database), PgBouncer: true},
	} {
		db := openPostgres(b, o)
		var ids []string
		for len(ids) < benchSessions {
			row := newRow(fmt.Sprintf("agent-%d", len(ids)%benchAgents))
			row.Owner = fmt.Sprintf("user-%d", len(ids)%500)
			if err := execute(ctx, db.writer, "INSERT INTO sessions ("+sessionColumns+") VALUES "+values(sessionColumns), sessionFields(row)...); err != nil {
				b.Fatal(err)
			}
			ids = append(ids, row.ID)
		}
		for call, do := range map[string]func(i int) error{
			"get": func(i int) error { _, err := db.Session(ctx, ids[i*7919%len(ids)]); return err },
			"list of one owner": func(i int) error {
				_, _, err := db.Sessions(ctx, store.SessionFilter{Org: "acme", Owner: fmt.Sprintf("user-%d", i%500)})
				return err
			},
			"create": func(int) error { _, _, err := db.CreateSession(ctx, newRow("agent-1"), uuid.NewString()); return err },
			"update": func(i int) error {
				_, err := db.UpdateSession(ctx, ids[i*7919%len(ids)], func(s *store.Session) error { s.Width++; return nil })
				return err
			},
			"active": func(int) error { _, err := db.ActiveSessions(ctx); return err },
		} {
			b.Run(name+"/"+call, func(b *testing.B) {
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					for i := 0; pb.Next(); i++ {
						if err := do(i); err != nil {
							b.Error(err)
						}
					}
				})
			})
		}
	}
}

func TestPostgresIsAStore(t *testing.T) {
	server := pgserver.Start(t)
	bouncer := pgserver.StartBouncer(t, server, 5)
	t.Run("direct", func(t *testing.T) {
		storetest.TestStore(t, func(t *testing.T) store.Store {
			return openPostgres(t, PostgresOptions{Primary: server.DSN(server.NewDatabase()), Reserve: DefaultReserve})
		})
	})
	t.Run("behind PgBouncer", func(t *testing.T) {
		storetest.TestStore(t, func(t *testing.T) store.Store {
			return openPostgres(t, PostgresOptions{Primary: bouncer.DSN(server.NewDatabase()), PgBouncer: true})
		})
	})
}
