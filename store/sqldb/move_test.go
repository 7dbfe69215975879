package sqldb

import (
	"context"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/streamspace-dev/streamspace-edge/store"
	"github.com/streamspace-dev/streamspace-edge/store/storetest/pgserver"
)

// fillAll puts something into every table.
func fillAll(t *testing.T, db *DB, sessions int) {
	t.Helper()
	ctx := context.Background()
	now := time.Now()
	err := db.transact(ctx, func(tx querier) error {
		for i := range sessions {
			row, err := newSession(newRow(fmt.Sprintf("agent-%d", i%7)), now)
			if err != nil {
				return err
			}
			row.Name, row.Reason = "\u2603 'quoted' \"twice\" \\", "line\nbreak\ttab"
			row.ExpiresAt, row.EndsBecause = now.Add(time.Hour), store.EndsIdle
			row.Refusals = store.Refusals{Count: i, Latest: "no room", By: map[string]bool{"agent-1": true}}
			row.State = store.States()[i%len(store.States())]
			if i%2 == 0 {
				if _, err := claim(ctx, tx, row, uuid.NewString(), now); err != nil {
					return err
				}
			}
			if _, err := all(ctx, tx, func(owner *string) []any { return []any{owner} }, lockOwner, row.Org, row.Owner); err != nil {
				return err
			}
			if err := execute(ctx, tx, "INSERT INTO sessions ("+sessionColumns+") VALUES "+values(sessionColumns), sessionFields(row)...); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		hash := make([]byte, 32)
		hash[0] = byte(i)
		id := fmt.Sprint(i)
		if _, err := db.EnrolAgent(ctx, &store.Agent{ID: id, KeyHash: hash, Capacity: 3, Weight: 1, Draining: i == 1, Labels: map[string]string{"a": "b"}}); err != nil {
			t.Fatal(err)
		}
		if err := db.CreateKey(ctx, &store.Key{ID: id, Role: store.RoleAdmin, Hash: hash}); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Secret(ctx, id); err != nil {
			t.Fatal(err)
		}
		if _, err := db.SetNodeDrained(ctx, "edge-"+id, true); err != nil {
			t.Fatal(err)
		}
	}
}

// everything is all that the Store tells.
func everything(t *testing.T, db *DB) (all []any) {
	t.Helper()
	ctx := context.Background()
	for cursor := ""; ; {
		page, next, err := db.Sessions(ctx, store.SessionFilter{Limit: store.MaxPage, Cursor: cursor})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range page {
			all = append(all, *s)
		}
		if cursor = next; cursor == "" {
			break
		}
	}
	agents, err := db.Agents(ctx)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := db.Keys(ctx)
	if err != nil {
		t.Fatal(err)
	}
	nodes, err := db.DrainedNodes(ctx)
	if err != nil {
		t.Fatal(err)
	}
	all = append(all, nodes)
	for _, a := range agents {
		all = append(all, *a)
	}
	for _, k := range keys {
		all = append(all, *k)
	}
	for i := range 3 {
		secret, err := db.Secret(ctx, fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, secret)
	}
	return all
}

func TestMovingToPostgresLosesNothing(t *testing.T) {
	ctx := context.Background()
	const sessions = 10_000
	server := pgserver.Start(t)
	bouncer := pgserver.StartBouncer(t, server, 5)
	path := filepath.Join(t.TempDir(), "streamspace.db")
	from, err := Open(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	fillAll(t, from, sessions)
	want := everything(t, from)
	if err := from.Close(); err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]PostgresOptions{
		"direct":           {Primary: server.DSN(server.NewDatabase())},
		"behind PgBouncer": {Primary: bouncer.DSN(server.NewDatabase()), PgBouncer: true},
	} {
		t.Run(name, func(t *testing.T) {
			told := map[string]int{}
			moved, err := MoveToPostgres(ctx, path, o, func(table string, rows, of int) {
				if rows <= told[table] || rows > of {
					t.Errorf("%s: %d of %d after %d", table, rows, of, told[table])
				}
				told[table] = rows
			})
			if err != nil {
				t.Fatal(err)
			}
			rows := map[string]int{}
			for _, m := range moved {
				rows[m.Table] = m.Rows
			}
			counts := map[string]int{"sessions": sessions, "idempotency_keys": sessions / 2, "agents": 3, "keys": 3, "owners": 1, "secrets": 3, "drained_nodes": 3}
			if !reflect.DeepEqual(rows, counts) || !reflect.DeepEqual(told, counts) {
				t.Errorf("moved %v, told %v; want %v", rows, told, counts)
			}
			if got := everything(t, openPostgres(t, o)); !reflect.DeepEqual(got, want) {
				t.Error("what came out differs from what went in")
			}
			_, err = MoveToPostgres(ctx, path, o, nil)
			if err == nil || !strings.Contains(err.Error(), "has rows already") {
				t.Errorf("into a database with rows: %v", err)
			}
		})
	}
}

func TestAMoveThatFailsLeavesNothing(t *testing.T) {
	ctx := context.Background()
	server := pgserver.Start(t)
	o := PostgresOptions{Primary: server.DSN(server.NewDatabase())}
	path := filepath.Join(t.TempDir(), "streamspace.db")
	if _, err := MoveToPostgres(ctx, path, o, nil); err == nil || !strings.Contains(err.Error(), "no database to move") {
		t.Errorf("without a file: %v", err)
	}
	from := openAt(t, path)
	fillAll(t, from, 10)
	bad := newRow("")
	bad.Name = "a\x00b"
	if _, _, err := from.CreateSession(ctx, bad, ""); err != nil {
		t.Fatal(err)
	}
	lock, err := Lock(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := MoveToPostgres(ctx, path, o, nil); err == nil || !strings.Contains(err.Error(), "another edge runs with the database") {
		t.Errorf("while an edge runs: %v", err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = MoveToPostgres(ctx, path, o, nil)
	if err == nil || !strings.Contains(err.Error(), bad.ID) || !strings.Contains(err.Error(), "in name that PostgreSQL can't keep") {
		t.Errorf("with a text that can't be kept: %v", err)
	}
	to := openPostgres(t, o)
	if agents, err := to.Agents(ctx); err != nil || len(agents) != 0 {
		t.Errorf("%d agents were moved, %v", len(agents), err)
	}
	if page, _, err := to.Sessions(ctx, store.SessionFilter{}); err != nil || len(page) != 0 {
		t.Errorf("%d sessions were moved, %v", len(page), err)
	}
}
