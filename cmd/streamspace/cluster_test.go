package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/streamspace-dev/streamspace-edge/api/auth"
	"github.com/streamspace-dev/streamspace-edge/store"
	"github.com/streamspace-dev/streamspace-edge/store/sqldb"
)

// TestEdgesOfOneSecretAgree: on separate stores they take each other's tickets
// and derive the same key for affinity cookies; log-ins stay the store's.
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
	for name, want := range map[string]bool{"ticket": true, "affinity": true, "login": false} {
		if same(a, b, name) != want || same(a, other, name) {
			t.Errorf("%s: with the same secret %v, with another %v", name, same(a, b, name), same(a, other, name))
		}
	}
	if ticket, _ := a.Secret(ctx, "ticket"); bytes.Contains(ticket, a.secret[:8]) {
		t.Error("the key is the secret")
	}
	authOf := func(s store.Store) *auth.Auth {
		found, err := auth.New(ctx, s, store.NewLocal())
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	token, issued, err := authOf(a).IssueTicket(auth.Caller{KeyID: "k", Owner: "o"}, &store.Session{ID: "s", Org: "org", Owner: "o"}, auth.ModeView, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if read, err := authOf(b).CheckTicket(token); err != nil || read.ID != issued.ID || read.Session != "s" {
		t.Errorf("at the other edge: %+v, %v", read, err)
	}
	if _, err := authOf(other).CheckTicket(token); err == nil {
		t.Error("an edge with another secret takes the ticket")
	}
}
