package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

// TestHealthOfAnEdgeThatLostItsDatabase: /health asks the database at every
// call, in the running program.
func TestHealthOfAnEdgeThatLostItsDatabase(t *testing.T) {
	in := startEdgeAndAgent(t, "  - {name: demo, type: demo}", "")
	check := func(wantStatus int, wantDatabase string) error {
		status, answer, err := in.try("GET", "/health", nil, nil)
		if err != nil {
			return err
		}
		var health struct{ Database string }
		if err := json.Unmarshal(answer, &health); err != nil {
			return err
		}
		if status != wantStatus || health.Database != wantDatabase {
			return fmt.Errorf("status %d: %s; want %d with the database %s", status, answer, wantStatus, wantDatabase)
		}
		return nil
	}
	database := filepath.Join(in.data, "edge", "streamspace.db")
	for range 2 {
		if err := check(http.StatusOK, "connected"); err != nil {
			t.Error(err)
		}
		if err := os.Rename(database, database+".lost"); err != nil {
			t.Fatal(err)
		}
		if err := check(http.StatusServiceUnavailable, "unavailable"); err != nil {
			t.Error(err)
		}
		if err := os.Rename(database+".lost", database); err != nil {
			t.Fatal(err)
		}
	}
	if err := check(http.StatusOK, "connected"); err != nil {
		t.Error(err)
	}
}
