package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/store"
	"github.com/streamspace-dev/streamspace-edge/store/sqldb"
	"github.com/streamspace-dev/streamspace-edge/store/storetest/pgserver"
)

// TestAnEdgeMovesToPostgres from its file to a server, and goes on there with
// the keys it had.
func TestAnEdgeMovesToPostgres(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "streamspace.db")
	from, err := sqldb.Open(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	key := &store.Key{ID: "key-1", Role: store.RoleAdmin, Hash: make([]byte, 32)}
	if err := from.CreateKey(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if err := from.Close(); err != nil {
		t.Fatal(err)
	}
	server := pgserver.Start(t)
	dsn := server.DSN(server.NewDatabase())
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	onPostgres := write("postgres.yml", "tls: {off: true}\nlisten: {http: \"127.0.0.1:0\", admin: \"\"}\nnode: {data_dir: "+folder+"}\nstore: {postgres: {primary: \""+dsn+"\"}}\n")
	onFile := write("file.yml", "tls: {off: true}\nlisten: {http: \"127.0.0.1:0\", admin: \"\"}\nstore: {sqlite: {path: "+file+"}}\n")

	for _, c := range []struct {
		args   []string
		status int
		says   string
	}{
		{[]string{"--config", onFile}, exitDone, "the schema is up to date"},
		{[]string{"--config", onFile, "--status"}, exitDone, "made 2"},
		{[]string{"--config", onPostgres, "--status"}, exitDone, "missing                    0001_"},
		{[]string{"--config", onPostgres, "--status", "--from", "sqlite:x"}, exitFailed, "exclude each other"},
		{[]string{"--config", onPostgres, "--from", file}, exitFailed, "is not a source; write it like sqlite:/"},
		{[]string{"--config", onFile, "--from", "sqlite:" + file}, exitFailed, "names no PostgreSQL to move to"},
		{[]string{"--config", onPostgres}, exitDone, "made 0001_sessions_agents_keys.sql\n"},
		{[]string{"--config", onPostgres}, exitDone, "the schema is up to date"},
		{[]string{"--config", onPostgres, "--from", "sqlite:" + file + "x"}, exitFailed, "no database to move"},
		{[]string{"--config", onPostgres, "--from", "sqlite:" + file}, exitDone, "moved keys                    1 rows, SHA-256 "},
		{[]string{"--config", onPostgres, "--from", "sqlite:" + file}, exitFailed, "has rows already"},
	} {
		var out bytes.Buffer
		status := run(append([]string{"migrate"}, c.args...), &out, &out)
		if status != c.status || !strings.Contains(out.String(), c.says) || strings.Contains(out.String(), pgserver.Password) {
			t.Errorf("streamspace migrate %s: status %d, %q; want %d and %q", strings.Join(c.args, " "), status, out.String(), c.status, c.says)
		}
	}

	config := defaultEdgeConfig()
	if err := loadConfig(onPostgres, config); err != nil {
		t.Fatal(err)
	}
	e, err := openEdge(t.Context(), config, zap.NewNop(), newProcessors())
	if err != nil {
		t.Fatal(err)
	}
	if err := e.writeFirstKeys(t.Context()); err != nil {
		t.Error(err)
	}
	if kept, err := e.store.Keys(t.Context()); err != nil || len(kept) != 1 || kept[0].ID != key.ID {
		t.Errorf("the keys are %v, %v", kept, err)
	}
	if h := e.health(t.Context()); h.Database != "connected" {
		t.Errorf("health: %+v", h)
	}
	if err := e.close(); err != nil {
		t.Error(err)
	}
}
