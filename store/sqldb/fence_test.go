package sqldb

import (
	"context"
	"strings"
	"testing"

	"github.com/streamspace-dev/streamspace-edge/store"
	"github.com/streamspace-dev/streamspace-edge/store/storetest/pgserver"
)

func TestAPrimaryOfBeforeGetsNoWrites(t *testing.T) {
	ctx := context.Background()
	primary := pgserver.Start(t)
	database := primary.NewDatabase()
	standby := primary.Standby("standby")
	both := pgserver.DSN(database, primary.Host(), standby.Host())
	db := openPostgres(t, PostgresOptions{Primary: both})
	primary.Stop()
	standby.Promote()
	eventually(t, func() error { return db.Ping(ctx) })
	primary.Run() // as if nothing had happened

	writes := func(db *DB) {
		t.Helper()
		row, _, err := db.CreateSession(ctx, newRow(""), "")
		if err != nil {
			t.Fatal(err)
		}
		if n := standby.Exec(database, "SELECT count(*) FROM sessions WHERE id = '"+row.ID+"'"); n != "1" {
			t.Error("a write went to the primary of before")
		}
	}
	db.engine.(*postgres).pool.Reset() // connections come and go
	writes(db)
	writes(openPostgres(t, PostgresOptions{Primary: both})) // by one who was not there

	standby.Stop()
	_, _, err := db.CreateSession(ctx, newRow(""), "")
	if store.CodeOf(err) != store.Unavailable || !strings.Contains(err.Error(), "primary of before") ||
		!strings.Contains(err.Error(), "restart the edges if it was restored") {
		t.Errorf("with the primary of before alone: %v", err)
	}
	if n := primary.Exec(database, "SELECT count(*) FROM sessions"); n != "0" {
		t.Errorf("the primary of before has %s sessions", n)
	}
	if err := openPostgres(t, PostgresOptions{Primary: both}).Ping(ctx); err != nil {
		t.Errorf("an edge that starts with what was restored from a backup: %v", err)
	}
}

// A firewall that forbids new connections to the old primary leaves those that there are.
func TestConnectionsToAPrimaryOfBeforeEndWithTheFirstToTheNewOne(t *testing.T) {
	ctx := context.Background()
	primary := pgserver.Start(t)
	database := primary.NewDatabase()
	standby := primary.Standby("standby")
	seen := &fence{}
	db := openPostgres(t, PostgresOptions{Primary: pgserver.DSN(database, primary.Host(), standby.Host()), fence: seen})
	if err := db.Ping(ctx); err != nil {
		t.Fatal(err)
	}
	standby.Promote() // and the primary goes on
	if err := openPostgres(t, PostgresOptions{Primary: standby.DSN(database), fence: seen}).Ping(ctx); err != nil {
		t.Fatal(err)
	}
	row, _, err := db.CreateSession(ctx, newRow(""), "")
	if err != nil {
		t.Fatal(err)
	}
	if n := standby.Exec(database, "SELECT count(*) FROM sessions WHERE id = '"+row.ID+"'"); n != "1" {
		t.Error("a write went to the primary of before, by a connection of before")
	}
}

func TestWithStandbysAloneTheErrorSaysSo(t *testing.T) {
	primary := pgserver.Start(t)
	_, err := OpenPostgres(context.Background(), PostgresOptions{Primary: primary.Standby("standby").DSN("postgres")})
	wantUnavailable(t, err, "takes writes; promote a standby")
}

func TestAFenceIsOfOneSystem(t *testing.T) {
	f := &fence{}
	for _, c := range []struct {
		system   string
		timeline int64
		passes   bool
	}{
		{"a", 2, true}, {"a", 1, false}, {"a", 2, true}, {"a", 3, true}, {"a", 2, false},
		{"b", 1, true}, // made anew, of a dump or by pg_upgrade
		{"b", 2, true}, {"b", 1, false},
	} {
		if err := f.pass(history{c.system, c.timeline}); (err == nil) != c.passes {
			t.Errorf("%s on timeline %d: %v", c.system, c.timeline, err)
		}
	}
}
