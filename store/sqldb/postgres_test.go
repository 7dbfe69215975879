package sqldb

import (
	"context"
	"testing"

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
