package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/api/auth"
	"github.com/streamspace-dev/streamspace-edge/store"
	"github.com/streamspace-dev/streamspace-edge/store/sqldb"
)

// killed is the store of a process that is killed at its nth new key, before or
// after that is durable.
type killed struct {
	store.Store
	at    int
	after bool
}

var errKilled = errors.New("killed")

func (k *killed) CreateKey(ctx context.Context, key *store.Key) error {
	if k.at--; k.at != 0 {
		return k.Store.CreateKey(ctx, key)
	}
	if k.after {
		return errors.Join(k.Store.CreateKey(ctx, key), errKilled)
	}
	return errKilled
}

// firstStarts are the ways in which the first keys are made.
func firstStarts() map[string]func(ctx context.Context, e *edge) error {
	return map[string]func(ctx context.Context, e *edge) error{
		"edge": func(ctx context.Context, e *edge) error { return e.writeFirstKeys(ctx) },
		"dev": func(ctx context.Context, e *edge) error {
			_, _, err := e.devCredentials(ctx, e.config.dataDir())
			return err
		},
	}
}

// newcomer is an edge, opened as far as its keys need it, on an empty folder.
func newcomer(t *testing.T) (e *edge, folder string) {
	t.Helper()
	folder = t.TempDir()
	config := defaultEdgeConfig()
	config.Store.SQLite.Path = filepath.Join(folder, "streamspace.db")
	db, err := sqldb.Open(t.Context(), config.Store.SQLite.Path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	keys, err := auth.New(t.Context(), db, store.NewLocal())
	if err != nil {
		t.Fatal(err)
	}
	here, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = here.Close() })
	return &edge{config: config, log: zap.NewNop(), auth: keys, store: db, public: []net.Listener{here}, admin: here}, folder
}

func TestFirstKeysAreForTheirOwnerOnly(t *testing.T) {
	for name, start := range firstStarts() {
		t.Run(name, func(t *testing.T) {
			e, folder := newcomer(t)
			if err := start(t.Context(), e); err != nil {
				t.Fatal(err)
			}
			for _, file := range []string{adminKeyFile, joinTokenFile} {
				if info, err := os.Stat(filepath.Join(folder, file)); err != nil {
					t.Error(err)
				} else if info.Mode() != 0o600 {
					t.Errorf("%s has mode %v, want 0600", file, info.Mode())
				}
			}
		})
	}
}

// TestOfEdgesThatStartAtOnceOneMakesTheFirstKeys: they all look before one writes.
func TestOfEdgesThatStartAtOnceOneMakesTheFirstKeys(t *testing.T) {
	shared, _ := newcomer(t)
	const edges = 8
	looked := &sync.WaitGroup{}
	looked.Add(edges)
	var starting sync.WaitGroup
	folders := make([]string, edges)
	for i := range edges {
		folder := t.TempDir()
		folders[i] = folder
		config := *shared.config
		config.Node.ID, config.Node.DataDir = fmt.Sprintf("edge-%d", i), folder
		e := &edge{config: &config, log: zap.NewNop(), auth: shared.auth, store: &patient{shared.store, looked}, public: shared.public, admin: shared.admin}
		starting.Go(func() {
			if err := e.writeFirstKeys(t.Context()); err != nil {
				t.Errorf("%s: %v", e.config.Node.ID, err)
			}
		})
	}
	starting.Wait()
	for _, name := range []string{adminKeyFile, joinTokenFile} {
		var files int
		for _, folder := range folders {
			if _, err := os.Stat(filepath.Join(folder, name)); err != nil {
				continue
			}
			files++
			token, err := readToken(filepath.Join(folder, name))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := shared.auth.Key(t.Context(), token.secret); err != nil {
				t.Errorf("%s in %s is no key: %v", name, folder, err)
			}
		}
		if files != 1 {
			t.Errorf("%d edges have a %s, want one", files, name)
		}
	}
	if all, err := shared.store.Keys(t.Context()); err != nil || len(all) != 2 {
		t.Errorf("%d keys, %v; want 2", len(all), err)
	}
}

// patient is the store of an edge that has looked for keys when all have.
type patient struct {
	store.Store
	looked *sync.WaitGroup
}

func (p *patient) Keys(ctx context.Context) ([]*store.Key, error) {
	keys, err := p.Store.Keys(ctx)
	p.looked.Done()
	p.looked.Wait()
	return keys, err
}

func TestNoKeyIsLostWhereverTheFirstStartIsKilled(t *testing.T) {
	for name, start := range firstStarts() {
		for at := 1; at <= 2; at++ {
			for _, after := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, key %d, durable %v", name, at, after), func(t *testing.T) { surviveKill(t, start, at, after) })
			}
		}
	}
}

func surviveKill(t *testing.T, start func(context.Context, *edge) error, at int, after bool) {
	e, folder := newcomer(t)
	db := e.store
	e.store = &killed{db, at, after}
	if err := start(t.Context(), e); !errors.Is(err, errKilled) {
		t.Fatalf("the first start: %v", err)
	}
	e.store = db
	for range 2 {
		if err := start(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	for file, role := range map[string]store.Role{adminKeyFile: store.RoleAdmin, joinTokenFile: store.RoleAgent} {
		token, err := readToken(filepath.Join(folder, file))
		if err != nil {
			t.Fatal(err)
		}
		if caller, err := e.auth.Key(t.Context(), token.secret); err != nil || caller.Role != role {
			t.Errorf("%s is no key: %+v, %v", file, caller, err)
		}
	}
	if all, err := db.Keys(t.Context()); err != nil || len(all) != 2 {
		t.Errorf("%d keys, %v; want 2", len(all), err)
	}
}
