package storetest

import (
	"context"
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
)

func sessionBehaviours() []behaviour {
	return []behaviour{
		{"a session comes back with every field", sessionRoundTrip},
		{"an empty session comes back with times of now", sessionDefaults},
		{"a session handed out is the caller's own copy", sessionCopies},
		{"a session id exists once", sessionTwice},
		{"a session with an unknown state is invalid", sessionUnknownState},
		{"a session id that is unknown or malformed is not found", sessionNotFound},
		{"only sessions that ended before are purged", purge},
		{"active sessions are counted by agent and runtime", activeSessions},
		{"a call whose context has ended does nothing", contextEnded},
		{"a closed store is unavailable", closed},
		{"a store that works answers a ping", ping},
	}
}

func sessionRoundTrip(t *testing.T, s store.Store) {
	ctx := context.Background()
	row := every(t, session())
	wantEqual(t, "CreateSession", mustCreate(t, s, row), row)
	read, err := s.Session(ctx, row.ID)
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "Session", read, row)
	page, _, err := s.Sessions(ctx, store.SessionFilter{})
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "Sessions", page, []*store.Session{row})

	changed := every(t, session())
	changed.ID, changed.Org, changed.Owner, changed.CreatedAt = row.ID, row.Org, row.Owner, row.CreatedAt
	changed.Name, changed.State, changed.Labels = "another", store.Starting, map[string]string{"cpu": "arm"}
	updated, err := s.UpdateSession(ctx, row.ID, func(s *store.Session) error {
		wantEqual(t, "what change gets", s, row)
		*s = *changed
		s.Labels = maps.Clone(changed.Labels)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	changed.UpdatedAt = updated.UpdatedAt
	wantEqual(t, "UpdateSession", updated, changed)
	read, err = s.Session(ctx, row.ID)
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "Session after UpdateSession", read, changed)
}

func sessionDefaults(t *testing.T, s store.Store) {
	before := time.Now().Truncate(time.Microsecond)
	row := &store.Session{ID: newID(), State: store.Pending, Desired: store.Running}
	stored := mustCreate(t, s, row)
	if stored.CreatedAt.Before(before) || stored.CreatedAt.After(time.Now()) {
		t.Errorf("CreatedAt is %v, want now", stored.CreatedAt)
	}
	want := *row
	want.CreatedAt, want.UpdatedAt, want.LastActivity = stored.CreatedAt, stored.CreatedAt, stored.CreatedAt
	wantEqual(t, "CreateSession", stored, &want)
	if !row.CreatedAt.IsZero() {
		t.Error("CreateSession changed its argument")
	}

	labels := &store.Session{ID: newID(), State: store.Pending, Desired: store.Running, Labels: map[string]string{}}
	if stored := mustCreate(t, s, labels); stored.Labels == nil {
		t.Error("labels that are empty came back as nil")
	}
}

func sessionCopies(t *testing.T, s store.Store) {
	ctx := context.Background()
	row := session()
	stored := mustCreate(t, s, row)
	want := *stored
	want.Labels = maps.Clone(stored.Labels)

	spoil := func(s *store.Session) {
		s.Labels["gpu"], s.Name, s.State = "spoilt", "spoilt", store.Failed
	}
	spoil(row)
	spoil(stored)
	read, err := s.Session(ctx, row.ID)
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "Session after CreateSession's was changed", read, &want)

	spoil(read)
	page, _, err := s.Sessions(ctx, store.SessionFilter{})
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "Sessions after Session's was changed", page[0], &want)

	spoil(page[0])
	var kept *store.Session
	updated, err := s.UpdateSession(ctx, row.ID, func(s *store.Session) error {
		kept = s
		s.Width = 640
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want.Width, want.UpdatedAt = 640, updated.UpdatedAt
	spoil(kept)
	wantEqual(t, "UpdateSession's after change's was changed", updated, &want)
}

func sessionTwice(t *testing.T, s store.Store) {
	row := session()
	mustCreate(t, s, row)
	_, _, err := s.CreateSession(context.Background(), row, "")
	wantCode(t, "CreateSession with a known id", err, store.Conflict)
}

func sessionUnknownState(t *testing.T, s store.Store) {
	for name, spoil := range map[string]func(*store.Session){
		"state":   func(s *store.Session) { s.State = "asleep" },
		"desired": func(s *store.Session) { s.Desired = "" },
		"id":      func(s *store.Session) { s.ID = "" },
	} {
		row := session()
		spoil(row)
		_, _, err := s.CreateSession(context.Background(), row, "")
		wantCode(t, "CreateSession with a bad "+name, err, store.Invalid)
	}
}

func sessionNotFound(t *testing.T, s store.Store) {
	ctx := context.Background()
	mustCreate(t, s, session())
	for _, id := range append(malformedIDs(), newID()) {
		_, err := s.Session(ctx, id)
		wantCode(t, "Session", err, store.NotFound)
		_, err = s.UpdateSession(ctx, id, func(*store.Session) error {
			t.Error("change was called for a session that does not exist")
			return nil
		})
		wantCode(t, "UpdateSession", err, store.NotFound)
	}
}

func purge(t *testing.T, s store.Store) {
	ctx := context.Background()
	limit := time.Now()
	const ended = 1200 // more than a store may want to delete at once
	for i := range ended {
		row := session()
		row.State = []store.State{store.Terminated, store.Failed}[i%2]
		row.UpdatedAt = limit.Add(-time.Hour)
		mustCreate(t, s, row)
	}
	keep := map[string]bool{}
	for _, state := range store.States() {
		row := session()
		row.State = state
		row.UpdatedAt = limit.Add(-time.Hour)
		if row.Ended() {
			row.UpdatedAt = limit.Add(time.Hour)
		}
		keep[mustCreate(t, s, row).ID] = true
	}
	if n, err := s.PurgeSessions(ctx, limit); err != nil || n != ended {
		t.Fatalf("PurgeSessions: %d, %v; want %d", n, err, ended)
	}
	page, _, err := s.Sessions(ctx, store.SessionFilter{Limit: store.MaxPage})
	if err != nil {
		t.Fatal(err)
	}
	left := map[string]bool{}
	for _, s := range page {
		left[s.ID] = true
	}
	wantEqual(t, "what is left", left, keep)
	if n, err := s.PurgeSessions(ctx, limit); err != nil || n != 0 {
		t.Fatalf("PurgeSessions again: %d, %v", n, err)
	}
}

func activeSessions(t *testing.T, s store.Store) {
	ctx := context.Background()
	for _, agent := range []string{"agent-1", "agent-2", ""} {
		for _, runtime := range []string{"process", "demo", ""} {
			for _, state := range store.States() {
				row := session()
				row.AgentID, row.Runtime, row.State = agent, runtime, state
				mustCreate(t, s, row)
			}
		}
	}
	live := len(store.States()) - 2 // all but terminated and failed
	want := map[string]map[string]int{
		"agent-1": {"process": live, "demo": live, "": live},
		"agent-2": {"process": live, "demo": live, "": live},
	}
	got, err := s.ActiveSessions(ctx)
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "ActiveSessions", got, want)

	page, _, err := s.Sessions(ctx, store.SessionFilter{AgentID: "agent-2", States: []store.State{store.Running}})
	if err != nil {
		t.Fatal(err)
	}
	for i, row := range page {
		if _, err := s.UpdateSession(ctx, row.ID, func(s *store.Session) error {
			if i == 0 {
				s.AgentID = "agent-3"
			} else {
				s.State = store.Failed
			}
			want["agent-2"][s.Runtime]--
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	want["agent-3"] = map[string]int{page[0].Runtime: 1}
	if got, err = s.ActiveSessions(ctx); err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "ActiveSessions after changes", got, want)
}

func contextEnded(t *testing.T, s store.Store) {
	row, a, k := session(), agent(), key()
	mustCreate(t, s, row)
	mustEnrol(t, s, a)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for name, err := range calls(ctx, s, row, a, k) {
		wantCode(t, name, err, store.Unavailable)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v does not wrap context.Canceled", name, err)
		}
	}
	read, err := s.Session(context.Background(), row.ID)
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "the session afterwards", read, row)
	if page, _, err := s.Sessions(context.Background(), store.SessionFilter{}); err != nil || len(page) != 1 {
		t.Fatalf("%d sessions, %v; want 1", len(page), err)
	}
	if keys, err := s.Keys(context.Background()); err != nil || len(keys) != 0 {
		t.Fatalf("%d keys, %v; want 0", len(keys), err)
	}
}

func closed(t *testing.T, s store.Store) {
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for name, err := range calls(context.Background(), s, session(), agent(), key()) {
		wantCode(t, name, err, store.Unavailable)
	}
	if err := s.Close(); err != nil {
		t.Errorf("Close again: %v", err)
	}
}

func ping(t *testing.T, s store.Store) {
	if err := s.Ping(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// calls makes every call that can fail for a reason of the store's own.
func calls(ctx context.Context, s store.Store, row *store.Session, a *store.Agent, k *store.Key) map[string]error {
	errs := map[string]error{"Ping": s.Ping(ctx)}
	_, _, errs["CreateSession"] = s.CreateSession(ctx, session(), "key")
	_, errs["Session"] = s.Session(ctx, row.ID)
	_, _, errs["Sessions"] = s.Sessions(ctx, store.SessionFilter{})
	_, errs["UpdateSession"] = s.UpdateSession(ctx, row.ID, func(s *store.Session) error { s.Width++; return nil })
	_, errs["ActiveSessions"] = s.ActiveSessions(ctx)
	_, errs["PurgeSessions"] = s.PurgeSessions(ctx, time.Now().Add(time.Hour))
	_, errs["EnrolAgent"] = s.EnrolAgent(ctx, a)
	_, errs["Agent"] = s.Agent(ctx, a.ID)
	_, errs["Agents"] = s.Agents(ctx)
	_, errs["UpdateAgent"] = s.UpdateAgent(ctx, a.ID, func(a *store.Agent) error { a.Weight++; return nil })
	errs["DeleteAgent"] = s.DeleteAgent(ctx, a.ID)
	errs["CreateKey"] = s.CreateKey(ctx, k)
	_, errs["KeyByHash"] = s.KeyByHash(ctx, k.Hash)
	_, errs["Key"] = s.Key(ctx, k.ID)
	_, errs["Keys"] = s.Keys(ctx)
	errs["DeleteKey"] = s.DeleteKey(ctx, k.ID)
	_, errs["Secret"] = s.Secret(ctx, "cookie")
	return errs
}
