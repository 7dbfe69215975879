package storetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
)

func listBehaviours() []behaviour {
	return []behaviour{
		{"pages hold every session once, newest first", pagesComplete},
		{"pages stay put while sessions come and go", pagesStable},
		{"pages have the size asked for", pageSizes},
		{"a limit out of range is invalid", limitOutOfRange},
		{"a cursor that no list returned is invalid", badCursor},
		{"a filter narrows the list", filters},
	}
}

// pages reads all pages and calls between after each.
func pages(t *testing.T, s store.Store, f store.SessionFilter, between func()) (all []*store.Session) {
	t.Helper()
	for last := ""; ; {
		page, next, err := s.Sessions(context.Background(), f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, page...)
		if next == "" {
			return all
		}
		if len(page) == 0 || page[len(page)-1].ID == last {
			t.Fatal("a page leads nowhere")
		}
		last = page[len(page)-1].ID
		f.Cursor = next
		between()
	}
}

// createMany returns n sessions, newest first; some share a time.
func createMany(t *testing.T, s store.Store, n int, spoil func(i int, s *store.Session)) []*store.Session {
	t.Helper()
	start := time.Now().Add(-time.Hour)
	var all []*store.Session
	for i := range n {
		row := session()
		row.CreatedAt = start.Add(time.Duration(i/3) * time.Second)
		spoil(i, row)
		all = append(all, mustCreate(t, s, row))
	}
	slices.SortFunc(all, func(a, b *store.Session) int {
		if byTime := b.CreatedAt.Compare(a.CreatedAt); byTime != 0 {
			return byTime
		}
		return strings.Compare(b.ID, a.ID)
	})
	return all
}

func asTheyAre(int, *store.Session) {}

func pagesComplete(t *testing.T, s store.Store) {
	want := createMany(t, s, 31, asTheyAre)
	for _, limit := range []int{1, 2, 7, 30, 31, 32} {
		got := pages(t, s, store.SessionFilter{Limit: limit}, func() {})
		wantEqual(t, fmt.Sprintf("pages of %d", limit), got, want)
	}
}

func pagesStable(t *testing.T, s store.Store) {
	want := createMany(t, s, 30, asTheyAre)
	seen := pages(t, s, store.SessionFilter{Limit: 7}, func() {
		mustCreate(t, s, session())
		// The last session of the first page goes while its cursor is in use.
		gone := want[6].ID
		if _, err := s.UpdateSession(context.Background(), gone, func(s *store.Session) error {
			s.State = store.Terminated
			return nil
		}); store.CodeOf(err) != "" && store.CodeOf(err) != store.NotFound {
			t.Fatal(err)
		}
		if _, err := s.PurgeSessions(context.Background(), time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
	})
	wantEqual(t, "the sessions that were there from the start", ids(seen), ids(want))
}

func pageSizes(t *testing.T, s store.Store) {
	createMany(t, s, store.DefaultPage+1, asTheyAre)
	for limit, want := range map[int]int{0: store.DefaultPage, 1: 1, store.MaxPage: store.DefaultPage + 1} {
		page, next, err := s.Sessions(context.Background(), store.SessionFilter{Limit: limit})
		if err != nil || len(page) != want {
			t.Errorf("limit %d: %d sessions, %v; want %d", limit, len(page), err, want)
		}
		if more := next != ""; more != (want <= store.DefaultPage) {
			t.Errorf("limit %d: next is %q", limit, next)
		}
	}
}

func limitOutOfRange(t *testing.T, s store.Store) {
	for _, limit := range []int{-1, store.MaxPage + 1} {
		_, _, err := s.Sessions(context.Background(), store.SessionFilter{Limit: limit})
		wantCode(t, "limit", err, store.Invalid)
		if !strings.Contains(err.Error(), fmt.Sprintf("limit %d", limit)) {
			t.Errorf("%q does not name the limit", err)
		}
	}
}

func badCursor(t *testing.T, s store.Store) {
	createMany(t, s, 2, asTheyAre)
	_, good, err := s.Sessions(context.Background(), store.SessionFilter{Limit: 1})
	if err != nil || good == "" {
		t.Fatalf("cursor %q, %v", good, err)
	}
	for _, cursor := range []string{"x", "!", good + "=", good[1:], good + good, "0", newID(), "' OR 1=1", strings.Repeat("A", 1<<16)} {
		_, _, err := s.Sessions(context.Background(), store.SessionFilter{Cursor: cursor})
		wantCode(t, "cursor "+cursor[:min(len(cursor), 20)], err, store.Invalid)
		if !strings.Contains(err.Error(), "cursor") || len(err.Error()) > 300 {
			t.Errorf("%q does not name the cursor in short", err)
		}
	}
}

func filters(t *testing.T, s store.Store) {
	states, agents := store.States(), []string{"agent-1", "agent-2", ""}
	all := createMany(t, s, 60, func(i int, s *store.Session) {
		s.Org, s.Owner = []string{"acme", "umbrella"}[i%2], []string{"ann", "bob", "eve"}[i%3]
		s.AgentID, s.State = agents[i/2%3], states[i%len(states)]
	})
	for name, f := range map[string]store.SessionFilter{
		"all":                 {},
		"organisation":        {Org: "acme"},
		"owner":               {Owner: "ann"},
		"owner, organisation": {Org: "acme", Owner: "bob"},
		"agent":               {AgentID: "agent-1"},
		"state":               {States: []store.State{store.Running}},
		"states":              {States: []store.State{store.Running, store.Failed, store.Pending}},
		"everything":          {Org: "umbrella", Owner: "bob", AgentID: "agent-2", States: states},
		"nobody":              {Owner: "nobody"},
		"unknown state":       {States: []store.State{"asleep"}},
	} {
		want := slices.DeleteFunc(slices.Clone(all), func(s *store.Session) bool {
			return f.Org != "" && s.Org != f.Org || f.Owner != "" && s.Owner != f.Owner || f.AgentID != "" && s.AgentID != f.AgentID ||
				len(f.States) > 0 && !slices.Contains(f.States, s.State)
		})
		f.Limit = 4
		wantEqual(t, name, ids(pages(t, s, f, func() {})), ids(want))
	}
}
