package sqldb

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestADatabaseBelongsToOneEdge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new folder", "streamspace.db")
	first, err := Lock(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(path); err == nil || !strings.Contains(err.Error(), "another edge runs with the database "+path) {
		t.Errorf("the second: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Lock(path)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}
