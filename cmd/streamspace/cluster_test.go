package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/streamspace-dev/streamspace-edge/store/sqldb"
)

// TestEdgesOfOneSecretAgree: on separate stores they derive the same key for
// affinity cookies; log-ins and tickets stay the store's.
func TestEdgesOfOneSecretAgree(t *testing.T) {
	ctx, folder := t.Context(), t.TempDir()
	text := strings.Repeat("secret of a cluster ", 3)
	edge := func(name, text string) clusterStore {
		file := filepath.Join(folder, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		secret, err := clusterConfig{SecretFile: file}.secret()
		if err != nil {
			t.Fatal(err)
		}
		db, err := sqldb.Open(ctx, file+".db")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		return clusterStore{db, secret}
	}
	a, b, other := edge("a", text), edge("b", text+"\r\n"), edge("other", text+"!")
	same := func(x, y clusterStore, name string) bool {
		one, errX := x.Secret(ctx, name)
		two, errY := y.Secret(ctx, name)
		if errX != nil || errY != nil || len(one) != 32 || len(two) != 32 {
			t.Fatalf("%s: %d and %d bytes, %v, %v", name, len(one), len(two), errX, errY)
		}
		return bytes.Equal(one, two)
	}
	for name, want := range map[string]bool{"ticket": false, "affinity": true, "cluster": true, "login": false} {
		if same(a, b, name) != want || same(a, other, name) {
			t.Errorf("%s: with the same secret %v, with another %v", name, same(a, b, name), same(a, other, name))
		}
	}
	if affinity, _ := a.Secret(ctx, "affinity"); bytes.Contains(affinity, a.secret[:8]) {
		t.Error("the key is the secret")
	}
}
