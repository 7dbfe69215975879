package sqldb

import (
	"testing"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
	"github.com/streamspace-dev/streamspace-edge/store/storetest/pgserver"
)

// TestAChangeOfASessionThatRunsWritesNoIndex of PostgreSQL's: all its updates are
// HOT (src/backend/access/heap/README.HOT). The few rows of it fit into one page.
func TestAChangeOfASessionThatRunsWritesNoIndex(t *testing.T) {
	server := pgserver.Start(t)
	database := server.NewDatabase()
	db, err := OpenPostgres(t.Context(), PostgresOptions{Primary: server.DSN(database)})
	if err != nil {
		t.Fatal(err)
	}
	row := newRow("agent-1")
	if _, _, err := db.CreateSession(t.Context(), row, ""); err != nil {
		t.Fatal(err)
	}
	const changes = "5"
	for range 5 {
		_, err := db.UpdateSession(t.Context(), row.ID, func(s *store.Session) error {
			s.LastActivity, s.ExpiresAt, s.Reason = time.Now(), time.Now().Add(time.Hour), "busy"
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	if err := db.Close(); err != nil { // a connection that ends has told its statistics
		t.Fatal(err)
	}
	const counted = "FROM pg_stat_user_tables WHERE relname = 'sessions'"
	for deadline := time.Now().Add(time.Minute); server.Exec(database, "SELECT n_tup_upd "+counted) != changes; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("PostgreSQL has counted %s updates, not %s", server.Exec(database, "SELECT n_tup_upd "+counted), changes)
		}
	}
	if hot := server.Exec(database, "SELECT n_tup_hot_upd "+counted); hot != changes {
		t.Errorf("%s of %s updates are HOT", hot, changes)
	}
}
