package storetest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
)

func changeBehaviours() []behaviour {
	return []behaviour{
		{"a session takes only the steps of the state table", transitions},
		{"a change that leaves a session unchanged writes nothing", changeUnchanged},
		{"an error from a change comes back as it is", changeRefused},
		{"a change that panics leaves the store usable", changePanics},
		{"a change can't move a session to another owner", changeIdentity},
		{"a change stamps the session", changeStamps},
		{"no update is lost", lostUpdate},
		{"a writer that waits gives up with its context", waitingWriter},
	}
}

func transitions(t *testing.T, s store.Store) {
	ctx := context.Background()
	for _, from := range store.States() {
		for _, to := range append(store.States(), "asleep") {
			row := session()
			row.State = from
			mustCreate(t, s, row)
			updated, err := s.UpdateSession(ctx, row.ID, func(s *store.Session) error {
				s.State, s.Name = to, "changed"
				return nil
			})
			want := row
			if from.MayBecome(to) {
				wantCode(t, string(from+" to "+to), err, "")
				want = updated
				if updated.State != to {
					t.Fatalf("%s to %s: it is %s", from, to, updated.State)
				}
			} else {
				wantCode(t, string(from+" to "+to), err, store.Conflict)
			}
			read, err := s.Session(ctx, row.ID)
			if err != nil {
				t.Fatal(err)
			}
			wantEqual(t, string(from+" to "+to), read, want)
		}
	}
}

func changeUnchanged(t *testing.T, s store.Store) {
	row := session()
	mustCreate(t, s, row)
	got, err := s.UpdateSession(context.Background(), row.ID, func(s *store.Session) error {
		s.Name, s.Labels["gpu"], s.State = "traces", "traces", store.Failed
		return store.ErrUnchanged
	})
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "UpdateSession", got, row)
	read, err := s.Session(context.Background(), row.ID)
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "Session", read, row)
}

func changeRefused(t *testing.T, s store.Store) {
	row := session()
	mustCreate(t, s, row)
	refusal := errors.New("not today")
	got, err := s.UpdateSession(context.Background(), row.ID, func(s *store.Session) error {
		s.Name = "traces"
		return refusal
	})
	if err != refusal || got != nil {
		t.Fatalf("UpdateSession: %v, %v; want nil, %v", got, err, refusal)
	}
	read, err := s.Session(context.Background(), row.ID)
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "Session", read, row)
}

func changePanics(t *testing.T, s store.Store) {
	row := session()
	mustCreate(t, s, row)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_, _ = s.UpdateSession(context.Background(), row.ID, func(s *store.Session) error {
			s.Name = "traces"
			panic("a fault in the caller")
		})
	}()
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	defer cancel()
	updated, err := s.UpdateSession(ctx, row.ID, func(s *store.Session) error { s.Width = 640; return nil })
	if err != nil || updated.Name != row.Name || updated.Width != 640 {
		t.Fatalf("UpdateSession afterwards: %+v, %v", updated, err)
	}
}

func changeIdentity(t *testing.T, s store.Store) {
	row := session()
	mustCreate(t, s, row)
	updated, err := s.UpdateSession(context.Background(), row.ID, func(s *store.Session) error {
		s.ID, s.Org, s.Owner, s.CreatedAt = newID(), "umbrella", "eve", s.CreatedAt.Add(-time.Hour)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	row.UpdatedAt = updated.UpdatedAt
	wantEqual(t, "UpdateSession", updated, row)
}

func changeStamps(t *testing.T, s store.Store) {
	row := session()
	row.UpdatedAt = row.CreatedAt.Add(-time.Hour)
	mustCreate(t, s, row)
	before := time.Now().Truncate(time.Microsecond)
	updated, err := s.UpdateSession(context.Background(), row.ID, func(*store.Session) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if updated.UpdatedAt.Before(before) || updated.UpdatedAt.After(time.Now()) {
		t.Errorf("UpdatedAt is %v, want now", updated.UpdatedAt)
	}

	ahead := session() // written by an edge whose clock is ahead
	ahead.UpdatedAt = time.Now().UTC().Add(time.Hour).Truncate(time.Microsecond)
	latest := mustCreate(t, s, ahead).UpdatedAt
	for range 3 {
		updated, err := s.UpdateSession(context.Background(), ahead.ID, func(*store.Session) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		if !updated.UpdatedAt.After(latest) || updated.UpdatedAt.After(ahead.UpdatedAt.Add(time.Second)) {
			t.Errorf("UpdatedAt is %v after %v, want just later", updated.UpdatedAt, latest)
		}
		latest = updated.UpdatedAt
	}
}

func lostUpdate(t *testing.T, s store.Store) {
	ctx := context.Background()
	row := session()
	row.Width = 0
	mustCreate(t, s, row)
	a := agent()
	a.Weight = 1
	mustEnrol(t, s, a)
	const writers, rounds = 10, 10
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for range rounds {
				if _, err := s.UpdateSession(ctx, row.ID, func(s *store.Session) error { s.Width++; return nil }); err != nil {
					t.Error(err)
				}
				if _, err := s.UpdateAgent(ctx, a.ID, func(a *store.Agent) error { a.Weight++; return nil }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	read, err := s.Session(ctx, row.ID)
	if err != nil || read.Width != writers*rounds {
		t.Errorf("%d updates of the session were kept, %v; want %d", read.Width, err, writers*rounds)
	}
	agent, err := s.Agent(ctx, a.ID)
	if err != nil || agent.Weight != 1+writers*rounds {
		t.Errorf("%d updates of the agent were kept, %v; want %d", agent.Weight-1, err, writers*rounds)
	}
}

func waitingWriter(t *testing.T, s store.Store) {
	row := session()
	mustCreate(t, s, row)
	ctx, cancel := context.WithCancel(context.Background())
	_, err := s.UpdateSession(context.Background(), row.ID, func(first *store.Session) error {
		second := make(chan error)
		go func() {
			_, err := s.UpdateSession(ctx, row.ID, func(s *store.Session) error { s.Name = "second"; return nil })
			second <- err
		}()
		cancel()
		select {
		case err := <-second:
			wantCode(t, "a writer that waited", err, store.Unavailable)
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%v does not wrap context.Canceled", err)
			}
		case <-time.After(hang):
			t.Error("the writer still waits")
		}
		first.Name = "first"
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if read, err := s.Session(context.Background(), row.ID); err != nil || read.Name != "first" {
		t.Fatalf("the session is %q, %v; want first", read.Name, err)
	}
}
