package storetest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/streamspace-dev/streamspace-edge/store"
)

func admissionBehaviours() []behaviour {
	return []behaviour{
		{"a quota is asked with the owner's sessions that have not ended", quotaCounts},
		{"no owner gets more than the quota however many ask at once", quotaRace},
		{"fits is asked with the agent and what else takes room there", fitsGets},
		{"no agent gets more than fits allows however many ask at once", fitsRace},
		{"what is not admitted leaves no trace", admissionRefused},
		{"what a key created before is returned without asking", admissionRepeated},
		{"fits is asked only about another agent", fitsOnlyAnother},
	}
}

var errNoRoom = errors.New("no room")

// atMost is a Fits for so many sessions.
func atMost(n int) store.Fits {
	return func(_ *store.Agent, there []*store.Session) error {
		if len(there) >= n {
			return errNoRoom
		}
		return nil
	}
}

func quotaCounts(t *testing.T, s store.Store) {
	add := func(org, owner string, state store.State) {
		row := session()
		row.Org, row.Owner, row.State = org, owner, state
		mustCreate(t, s, row)
	}
	for _, state := range store.States() { // two of them have ended
		add("acme", "ann", state)
	}
	add("acme", "bob", store.Running)
	add("other", "ann", store.Running)
	for _, c := range []struct {
		org, owner string
		want       int
	}{{"acme", "ann", len(store.States()) - 2}, {"acme", "bob", 1}, {"other", "ann", 1}, {"other", "bob", 0}} {
		row := session()
		row.Org, row.Owner = c.org, c.owner
		got := -1
		_, _, err := s.AdmitSession(context.Background(), row, "", store.Admission{Quota: func(sessions int) error {
			got = sessions
			return errNoRoom
		}})
		if !errors.Is(err, errNoRoom) || got != c.want {
			t.Errorf("%s/%s: asked with %d, want %d; %v", c.org, c.owner, got, c.want, err)
		}
	}
}

// race runs ask as many times at once and returns how often it returned nil and
// errNoRoom.
func race(t *testing.T, times int, ask func() error) (taken, refused int) {
	t.Helper()
	var asking sync.WaitGroup
	answers := make(chan error, times)
	for range times {
		asking.Go(func() { answers <- ask() })
	}
	asking.Wait()
	close(answers)
	for err := range answers {
		switch {
		case err == nil:
			taken++
		case errors.Is(err, errNoRoom):
			refused++
		default:
			t.Error(err)
		}
	}
	return taken, refused
}

func quotaRace(t *testing.T, s store.Store) {
	const most, asked = 5, 24
	taken, refused := race(t, asked, func() error {
		_, _, err := s.AdmitSession(context.Background(), session(), "", store.Admission{Quota: func(sessions int) error {
			if sessions >= most {
				return errNoRoom
			}
			return nil
		}})
		return err
	})
	if taken != most || refused != asked-most {
		t.Errorf("%d taken, %d refused; want %d and %d", taken, refused, most, asked-most)
	}
}

func fitsGets(t *testing.T, s store.Store) {
	ctx := context.Background()
	a := mustEnrol(t, s, agent())
	var want []string
	for _, state := range store.States() {
		row := session()
		row.AgentID, row.State = a.ID, state
		mustCreate(t, s, row)
		if !row.Ended() {
			want = append(want, row.ID)
		}
	}
	mustCreate(t, s, session()) // on another agent
	asked := func(wantAgent *store.Agent, wantThere []string) store.Fits {
		return func(got *store.Agent, there []*store.Session) error {
			wantEqual(t, "the agent", got, wantAgent)
			found := ids(there)
			slices.Sort(found)
			slices.Sort(wantThere)
			wantEqual(t, "what is there", found, wantThere)
			for _, other := range there {
				if other.Runtime == "" || len(other.Labels) == 0 {
					t.Errorf("what is there lacks its fields: %+v", other)
				}
			}
			return errNoRoom
		}
	}
	row := session()
	row.AgentID = a.ID
	if _, _, err := s.AdmitSession(ctx, row, "", store.Admission{Fits: asked(a, want)}); !errors.Is(err, errNoRoom) {
		t.Errorf("AdmitSession: %v", err)
	}
	row.AgentID = newID()
	if _, _, err := s.AdmitSession(ctx, row, "", store.Admission{Fits: asked(nil, []string{})}); !errors.Is(err, errNoRoom) {
		t.Errorf("without such an agent: %v", err)
	}
	row = mustCreate(t, s, session())
	_, err := s.PlaceSession(ctx, row.ID, asked(a, want), func(s *store.Session) error { s.AgentID = a.ID; return nil })
	if !errors.Is(err, errNoRoom) {
		t.Errorf("PlaceSession: %v", err)
	}
}

func fitsRace(t *testing.T, s store.Store) {
	const most, each = 6, 12
	ctx := context.Background()
	a := mustEnrol(t, s, agent())
	var waiting []string
	for range each {
		row := session()
		row.AgentID = ""
		waiting = append(waiting, mustCreate(t, s, row).ID)
	}
	var mu sync.Mutex
	taken, refused := race(t, 2*each, func() error {
		mu.Lock()
		id := ""
		if len(waiting) > 0 {
			id, waiting = waiting[0], waiting[1:]
		}
		mu.Unlock()
		if id != "" {
			_, err := s.PlaceSession(ctx, id, atMost(most), func(s *store.Session) error { s.AgentID = a.ID; return nil })
			return err
		}
		row := session()
		row.AgentID = a.ID
		_, _, err := s.AdmitSession(ctx, row, "", store.Admission{Fits: atMost(most)})
		return err
	})
	if taken != most || refused != 2*each-most {
		t.Errorf("%d taken, %d refused; want %d and %d", taken, refused, most, 2*each-most)
	}
}

func admissionRefused(t *testing.T, s store.Store) {
	ctx := context.Background()
	row := session()
	no := store.Admission{Fits: atMost(0)}
	if stored, created, err := s.AdmitSession(ctx, row, "key", no); !errors.Is(err, errNoRoom) || created || stored != nil {
		t.Errorf("%+v, %v, %v", stored, created, err)
	}
	_, err := s.Session(ctx, row.ID)
	wantCode(t, "the session", err, store.NotFound)
	_, err = s.SessionByKey(ctx, row.Org, row.Owner, "key")
	wantCode(t, "its key", err, store.NotFound)

	mustCreate(t, s, row)
	if _, err := s.PlaceSession(ctx, row.ID, atMost(0), func(s *store.Session) error { s.AgentID = newID(); return nil }); !errors.Is(err, errNoRoom) {
		t.Errorf("PlaceSession: %v", err)
	}
	read, err := s.Session(ctx, row.ID)
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "a session that was not placed", read, row)
}

func admissionRepeated(t *testing.T, s store.Store) {
	first, _, err := s.AdmitSession(context.Background(), session(), "key", store.Admission{})
	if err != nil {
		t.Fatal(err)
	}
	again, created, err := s.AdmitSession(context.Background(), session(), "key",
		store.Admission{Fits: atMost(0), Quota: func(int) error { return errNoRoom }})
	if err != nil || created {
		t.Fatalf("created %v, %v", created, err)
	}
	wantEqual(t, "the session of the first call", again, first)
}

func fitsOnlyAnother(t *testing.T, s store.Store) {
	row := mustCreate(t, s, session())
	for name, change := range map[string]func(*store.Session) error{
		"the same":  func(s *store.Session) error { s.Name = "another"; return nil },
		"none":      func(s *store.Session) error { s.AgentID = ""; return nil },
		"unchanged": func(s *store.Session) error { s.AgentID = newID(); return store.ErrUnchanged },
	} {
		if _, err := s.PlaceSession(context.Background(), row.ID, atMost(0), change); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
