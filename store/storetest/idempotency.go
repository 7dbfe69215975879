package storetest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
)

func idempotencyBehaviours() []behaviour {
	return []behaviour{
		{"an idempotency key gives the first session again", idempotencyRepeat},
		{"an idempotency key belongs to one owner of one organisation", idempotencyScope},
		{"an idempotency key used at once creates one session", idempotencyRace},
		{"an idempotency key of a failed call is free", idempotencyAfterFailure},
		{"an idempotency key is forgotten with its session", idempotencyPurge},
	}
}

func idempotencyRepeat(t *testing.T, s store.Store) {
	ctx := context.Background()
	first := session()
	if _, created, err := s.CreateSession(ctx, first, "again"); err != nil || !created {
		t.Fatalf("first: created %v, %v", created, err)
	}
	now, err := s.UpdateSession(ctx, first.ID, func(s *store.Session) error { s.State = store.Starting; return nil })
	if err != nil {
		t.Fatal(err)
	}
	for _, retry := range []*store.Session{session(), first} {
		stored, created, err := s.CreateSession(ctx, retry, "again")
		if err != nil || created {
			t.Fatalf("again: created %v, %v", created, err)
		}
		wantEqual(t, "again", stored, now)
	}
	if _, created, err := s.CreateSession(ctx, session(), "another"); err != nil || !created {
		t.Fatalf("another key: created %v, %v", created, err)
	}
	page, _, err := s.Sessions(ctx, store.SessionFilter{})
	if err != nil || len(page) != 2 {
		t.Fatalf("%d sessions, %v; want 2", len(page), err)
	}
}

func idempotencyScope(t *testing.T, s store.Store) {
	for _, who := range [][2]string{{"acme", "ann"}, {"acme", "bob"}, {"umbrella", "ann"}, {"", "acmeann"}, {"acmeann", ""}} {
		row := session()
		row.Org, row.Owner = who[0], who[1]
		if _, created, err := s.CreateSession(context.Background(), row, "same"); err != nil || !created {
			t.Fatalf("%s of %s: created %v, %v", who[1], who[0], created, err)
		}
	}
}

func idempotencyRace(t *testing.T, s store.Store) {
	ctx := context.Background()
	const callers = 20
	var all sync.WaitGroup
	var mu sync.Mutex
	seen, made := map[string]bool{}, 0
	for range callers {
		all.Go(func() {
			stored, created, err := s.CreateSession(ctx, session(), "at once")
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			seen[stored.ID] = true
			if created {
				made++
			}
		})
	}
	all.Wait()
	page, _, err := s.Sessions(ctx, store.SessionFilter{})
	if err != nil {
		t.Fatal(err)
	}
	if made != 1 || len(seen) != 1 || len(page) != 1 {
		t.Fatalf("%d created, %d different, %d stored; want 1 each", made, len(seen), len(page))
	}
}

func idempotencyAfterFailure(t *testing.T, s store.Store) {
	ctx := context.Background()
	taken := session()
	mustCreate(t, s, taken)
	_, _, err := s.CreateSession(ctx, taken, "key")
	wantCode(t, "CreateSession with a known id", err, store.Conflict)
	if _, created, err := s.CreateSession(ctx, session(), "key"); err != nil || !created {
		t.Fatalf("the key after a failure: created %v, %v", created, err)
	}
}

func idempotencyPurge(t *testing.T, s store.Store) {
	ctx := context.Background()
	row := session()
	row.State = store.Terminated
	if _, _, err := s.CreateSession(ctx, row, "key"); err != nil {
		t.Fatal(err)
	}
	if n, err := s.PurgeSessions(ctx, row.UpdatedAt.Add(time.Second)); err != nil || n != 1 {
		t.Fatalf("PurgeSessions: %d, %v", n, err)
	}
	if _, created, err := s.CreateSession(ctx, session(), "key"); err != nil || !created {
		t.Fatalf("the key of a purged session: created %v, %v", created, err)
	}
}
