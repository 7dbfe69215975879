package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/streamspace-dev/streamspace-edge/session"
	"github.com/streamspace-dev/streamspace-edge/store"
	"github.com/streamspace-dev/streamspace-edge/store/sqldb"
)

// TestEdgesOnOneDatabasePlaceExactly: whatever they ask for at once, agents and
// users get what they may have, and no more. Edges that run choose by what they
// have in memory, which is wrong: they do not hear of each other.
func TestEdgesOnOneDatabasePlaceExactly(t *testing.T) {
	for name, running := range map[string]bool{"asking the database": false, "by memory": true} {
		t.Run(name, func(t *testing.T) { placeExactly(t, running) })
	}
}

func placeExactly(t *testing.T, running bool) {
	t.Helper()
	const edges, users, perUser, room = 3, 4, 6, 9
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	db, err := sqldb.Open(ctx, filepath.Join(t.TempDir(), "streamspace.db"))
	if err != nil {
		t.Fatal(err)
	}
	coord := store.NewLocal()
	agents := make([]*store.Agent, 2)
	for i := range agents {
		agents[i], err = db.EnrolAgent(ctx, &store.Agent{
			ID: uuid.Must(uuid.NewV7()).String(), KeyHash: make([]byte, 32), Capacity: room, Weight: 1, Runtimes: []store.Runtime{{Name: "desktop"}},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	var managers []*session.Manager
	var edgesRun sync.WaitGroup
	background, end := context.WithCancel(ctx)
	defer end()
	for i := range edges {
		m := session.New(session.Options{
			Store: db, Coord: coord, Node: fmt.Sprint(i), PerUser: perUser,
			Drives: func(*store.Session) bool { return false }, Reachable: func(string) bool { return true }, Alive: func(string) bool { return true },
		})
		managers = append(managers, m)
		if running {
			edgesRun.Go(func() {
				if err := m.Run(background); err != nil {
					t.Error(err)
				}
			})
		}
	}
	var mu sync.Mutex
	var asking sync.WaitGroup
	answers := map[store.Code]int{}
	for i := range 12 * users {
		asking.Go(func() {
			_, err := managers[i%edges].Create(ctx, &store.Session{Org: "acme", Owner: fmt.Sprint(i % users)}, "")
			mu.Lock()
			defer mu.Unlock()
			answers[store.CodeOf(err)]++
		})
	}
	asking.Wait()
	if answers[""] != room*len(agents) || answers[""]+answers[store.NoAgent]+answers[store.Limit] != 12*users {
		t.Errorf("the answers are %v, want %d sessions and refusals", answers, room*len(agents))
	}
	active, err := db.ActiveSessions(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range agents {
		if got := active[a.ID][""]; got != room {
			t.Errorf("an agent has %d sessions, want %d", got, room)
		}
	}
	for i := range users {
		page, _, err := db.Sessions(ctx, store.SessionFilter{Org: "acme", Owner: fmt.Sprint(i)})
		if err != nil || len(page) > perUser {
			t.Errorf("a user has %d sessions, %v; at most %d", len(page), err, perUser)
		}
	}
	end()
	edgesRun.Wait()
	if err := errors.Join(coord.Close(), db.Close()); err != nil {
		t.Error(err)
	}
}
