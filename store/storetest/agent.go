package storetest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
)

func agentBehaviours() []behaviour {
	return []behaviour{
		{"an agent comes back with every field", agentRoundTrip},
		{"an agent that enrols again keeps what is not its own to say", agentAgain},
		{"an agent id belongs to one host", agentOtherHost},
		{"an agent id claimed at once goes to one host", agentRace},
		{"an agent that breaks the contract is invalid", agentInvalid},
		{"an agent changes as asked or not at all", agentChange},
		{"agents are listed oldest first", agentList},
		{"an agent that was deleted is gone and may come back", agentDelete},
		{"an agent id that is unknown or malformed is not found", agentNotFound},
	}
}

func agentRoundTrip(t *testing.T, s store.Store) {
	ctx := context.Background()
	row := every(t, agent())
	wantEqual(t, "EnrolAgent", mustEnrol(t, s, row), row)
	read, err := s.Agent(ctx, row.ID)
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "Agent", read, row)

	bare := &store.Agent{ID: newID(), KeyHash: randomHash(), Capacity: 1, Weight: 1}
	before := time.Now().Truncate(time.Microsecond)
	stored := mustEnrol(t, s, bare)
	if stored.CreatedAt.Before(before) || stored.CreatedAt.After(time.Now()) {
		t.Errorf("CreatedAt is %v, want now", stored.CreatedAt)
	}
	bare.CreatedAt = stored.CreatedAt
	wantEqual(t, "EnrolAgent of a bare agent", stored, bare)
}

func agentAgain(t *testing.T, s store.Store) {
	first := agent()
	mustEnrol(t, s, first)
	again := agent()
	again.ID, again.KeyHash = first.ID, first.KeyHash
	again.Name, again.Capacity, again.Weight, again.Version = "renamed", 4, 1, "2.0.0"
	again.Labels, again.Runtimes = nil, []store.Runtime{{Name: "static"}}
	again.Draining, again.CreatedAt, again.LastHeartbeat = false, first.CreatedAt.Add(time.Hour), first.LastHeartbeat.Add(time.Hour)
	want := *again
	want.Draining, want.CreatedAt = first.Draining, first.CreatedAt
	wantEqual(t, "EnrolAgent", mustEnrol(t, s, again), &want)
	read, err := s.Agent(context.Background(), first.ID)
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "Agent", read, &want)
}

func agentOtherHost(t *testing.T, s store.Store) {
	first := agent()
	mustEnrol(t, s, first)
	thief := agent()
	thief.ID, thief.Name = first.ID, "thief"
	_, err := s.EnrolAgent(context.Background(), thief)
	wantCode(t, "EnrolAgent with another key", err, store.Forbidden)
	read, err := s.Agent(context.Background(), first.ID)
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "Agent", read, first)
}

func agentRace(t *testing.T, s store.Store) {
	id := newID()
	var all sync.WaitGroup
	codes := make([]store.Code, 20)
	for i := range codes {
		all.Go(func() {
			row := agent()
			row.ID = id
			_, err := s.EnrolAgent(context.Background(), row)
			codes[i] = store.CodeOf(err)
		})
	}
	all.Wait()
	count := map[store.Code]int{}
	for _, code := range codes {
		count[code]++
	}
	wantEqual(t, "answers", count, map[store.Code]int{"": 1, store.Forbidden: len(codes) - 1})
}

func agentInvalid(t *testing.T, s store.Store) {
	for field, spoil := range map[string]func(*store.Agent){
		"id":       func(a *store.Agent) { a.ID = "" },
		"key_hash": func(a *store.Agent) { a.KeyHash = a.KeyHash[:31] },
		"capacity": func(a *store.Agent) { a.Capacity = 0 },
		"weight":   func(a *store.Agent) { a.Weight = -1 },
	} {
		row := agent()
		spoil(row)
		_, err := s.EnrolAgent(context.Background(), row)
		wantCode(t, field, err, store.Invalid)
		if !strings.HasPrefix(err.Error(), field) {
			t.Errorf("%q does not name %s", err, field)
		}
	}
}

func agentChange(t *testing.T, s store.Store) {
	ctx := context.Background()
	row := agent()
	mustEnrol(t, s, row)
	refusal := errors.New("not today")
	for want, answer := range map[error]error{nil: store.ErrUnchanged, refusal: refusal} {
		_, err := s.UpdateAgent(ctx, row.ID, func(a *store.Agent) error {
			a.Name, a.Labels["gpu"] = "traces", "traces"
			return answer
		})
		if err != want {
			t.Fatalf("UpdateAgent: %v, want %v", err, want)
		}
		read, err := s.Agent(ctx, row.ID)
		if err != nil {
			t.Fatal(err)
		}
		wantEqual(t, "Agent", read, row)
	}
	_, err := s.UpdateAgent(ctx, row.ID, func(a *store.Agent) error { a.Capacity = 0; return nil })
	wantCode(t, "UpdateAgent to no capacity", err, store.Invalid)

	updated, err := s.UpdateAgent(ctx, row.ID, func(a *store.Agent) error {
		wantEqual(t, "what change gets", a, row)
		a.ID, a.KeyHash, a.CreatedAt = newID(), randomHash(), time.Now()
		a.Draining, a.Labels, a.LastHeartbeat = false, nil, row.LastHeartbeat.Add(time.Minute)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	row.Draining, row.Labels, row.LastHeartbeat = false, nil, row.LastHeartbeat.Add(time.Minute)
	wantEqual(t, "UpdateAgent", updated, row)
}

func agentList(t *testing.T, s store.Store) {
	ctx := context.Background()
	none, err := s.Agents(ctx)
	if err != nil || len(none) != 0 {
		t.Fatalf("%d agents, %v; want none", len(none), err)
	}
	want := []*store.Agent{agent(), agent(), agent()}
	for i, row := range want {
		row.CreatedAt = row.CreatedAt.Add(time.Duration(i) * time.Second)
	}
	for _, i := range []int{1, 2, 0} {
		mustEnrol(t, s, want[i])
	}
	got, err := s.Agents(ctx)
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "Agents", got, want)
}

func agentDelete(t *testing.T, s store.Store) {
	ctx := context.Background()
	row := agent()
	mustEnrol(t, s, row)
	placed := session()
	placed.AgentID = row.ID
	mustCreate(t, s, placed)
	if err := s.DeleteAgent(ctx, row.ID); err != nil {
		t.Fatal(err)
	}
	_, err := s.Agent(ctx, row.ID)
	wantCode(t, "Agent", err, store.NotFound)
	wantCode(t, "DeleteAgent again", s.DeleteAgent(ctx, row.ID), store.NotFound)
	read, err := s.Session(ctx, placed.ID)
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "its session", read, placed)
	row.KeyHash = randomHash()
	wantEqual(t, "EnrolAgent", mustEnrol(t, s, row), row)
}

func agentNotFound(t *testing.T, s store.Store) {
	ctx := context.Background()
	mustEnrol(t, s, agent())
	for _, id := range append(malformedIDs(), newID()) {
		_, err := s.Agent(ctx, id)
		wantCode(t, "Agent", err, store.NotFound)
		_, err = s.UpdateAgent(ctx, id, func(*store.Agent) error { return nil })
		wantCode(t, "UpdateAgent", err, store.NotFound)
		wantCode(t, "DeleteAgent", s.DeleteAgent(ctx, id), store.NotFound)
	}
}
