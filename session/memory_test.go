package session

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
)

func openStore(*testing.T) store.Store { return newMemory() }

func containsFold(text, words string) bool {
	return strings.Contains(strings.ToLower(text), strings.ToLower(words))
}

// memory is a Store without a disk.
type memory struct {
	store.Store // the methods that sessions do not need

	mu       sync.Mutex
	sessions map[string]store.Session
	keys     map[string]string
	agents   map[string]store.Agent
	writes   int // by UpdateSession
	read     int // by Session and Sessions
}

func newMemory() *memory {
	return &memory{sessions: map[string]store.Session{}, keys: map[string]string{}, agents: map[string]store.Agent{}}
}

func (m *memory) Close() error { return nil }

func (m *memory) ClockAhead() time.Duration { return 0 }

func (m *memory) AdmitSession(_ context.Context, s *store.Session, key string, a store.Admission) (*store.Session, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if key != "" {
		if id, ok := m.keys[s.Org+"\x00"+s.Owner+"\x00"+key]; ok {
			first := m.sessions[id]
			return &first, false, nil
		}
	}
	owned := 0
	for _, other := range m.sessions {
		if !other.Ended() && other.Org == s.Org && other.Owner == s.Owner {
			owned++
		}
	}
	if a.Quota != nil {
		if err := a.Quota(owned); err != nil {
			return nil, false, err
		}
	}
	if err := m.fit(s, a.Fits); err != nil {
		return nil, false, err
	}
	if key != "" {
		m.keys[s.Org+"\x00"+s.Owner+"\x00"+key] = s.ID
	}
	m.sessions[s.ID] = *s
	stored := *s
	return &stored, true, nil
}

func (m *memory) fit(s *store.Session, fits store.Fits) error {
	if fits == nil || s.AgentID == "" {
		return nil
	}
	var there []*store.Session
	for id, other := range m.sessions {
		if id != s.ID && !other.Ended() && other.AgentID == s.AgentID {
			there = append(there, &other)
		}
	}
	a, ok := m.agents[s.AgentID]
	if !ok {
		return fits(nil, there)
	}
	return fits(&a, there)
}

func (m *memory) SessionByKey(_ context.Context, org, owner, key string) (*store.Session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	id, ok := m.keys[org+"\x00"+owner+"\x00"+key]
	if !ok {
		return nil, store.Errorf(store.NotFound, "no such key")
	}
	first := m.sessions[id]
	return &first, nil
}

func (m *memory) Session(_ context.Context, id string) (*store.Session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.read++
	s, ok := m.sessions[id]
	if !ok {
		return nil, store.Errorf(store.NotFound, "no session %s", id)
	}
	return &s, nil
}

func (m *memory) written() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.writes
}

func (m *memory) reads() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.read
}

func (m *memory) Sessions(_ context.Context, f store.SessionFilter) (page []*store.Session, next string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.read++
	for _, id := range slices.Backward(slices.Sorted(maps.Keys(m.sessions))) {
		s := m.sessions[id]
		switch {
		case f.Cursor != "" && id >= f.Cursor,
			f.AgentID != "" && s.AgentID != f.AgentID,
			len(f.States) > 0 && !slices.Contains(f.States, s.State):
			continue
		case len(page) == f.Limit:
			return page, page[len(page)-1].ID, nil
		}
		page = append(page, &s)
	}
	return page, "", nil
}

func (m *memory) UpdateSession(ctx context.Context, id string, change func(*store.Session) error) (*store.Session, error) {
	return m.PlaceSession(ctx, id, nil, change)
}

func (m *memory) PlaceSession(_ context.Context, id string, fits store.Fits, change func(*store.Session) error) (*store.Session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before, ok := m.sessions[id]
	if !ok {
		return nil, store.Errorf(store.NotFound, "no session %s", id)
	}
	s := before
	if err := change(&s); errors.Is(err, store.ErrUnchanged) {
		return &before, nil
	} else if err != nil {
		return nil, err
	}
	if !before.State.MayBecome(s.State) {
		return nil, store.Errorf(store.Conflict, "a session that is %s can't become %s", before.State, s.State)
	}
	if s.AgentID != before.AgentID {
		if err := m.fit(&s, fits); err != nil {
			return nil, err
		}
	}
	s.UpdatedAt = time.Now().Truncate(time.Microsecond)
	if !s.UpdatedAt.After(before.UpdatedAt) {
		s.UpdatedAt = before.UpdatedAt.Add(time.Microsecond)
	}
	for _, t := range []*time.Time{&s.LastActivity, &s.ExpiresAt, &s.EndsAt} {
		*t = t.UTC().Truncate(time.Microsecond) // as every Store keeps them
	}
	m.sessions[id] = s
	m.writes++
	return &s, nil
}

func (m *memory) ActiveSessions(context.Context) (map[string]map[string]int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	active := map[string]map[string]int{}
	for _, s := range m.sessions {
		if s.AgentID == "" || s.Ended() {
			continue
		}
		if active[s.AgentID] == nil {
			active[s.AgentID] = map[string]int{}
		}
		active[s.AgentID][s.Runtime]++
	}
	return active, nil
}

func (m *memory) PurgeSessions(_ context.Context, t time.Time) (deleted int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, s := range m.sessions {
		if s.Ended() && s.UpdatedAt.Before(t) {
			delete(m.sessions, id)
			deleted++
		}
	}
	return deleted, nil
}

func (m *memory) EnrolAgent(_ context.Context, a *store.Agent) (*store.Agent, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	enrolled := *a
	if known, ok := m.agents[a.ID]; ok {
		enrolled.Draining, enrolled.CreatedAt = known.Draining, known.CreatedAt
	}
	m.agents[a.ID] = enrolled
	return &enrolled, nil
}

func (m *memory) Agent(_ context.Context, id string) (*store.Agent, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a, ok := m.agents[id]
	if !ok {
		return nil, store.Errorf(store.NotFound, "no agent %s", id)
	}
	return &a, nil
}

func (m *memory) Agents(context.Context) (all []*store.Agent, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(m.agents)) {
		a := m.agents[id]
		all = append(all, &a)
	}
	return all, nil
}

func (m *memory) UpdateAgent(_ context.Context, id string, change func(*store.Agent) error) (*store.Agent, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a, ok := m.agents[id]
	if !ok {
		return nil, store.Errorf(store.NotFound, "no agent %s", id)
	}
	if err := change(&a); err != nil && !errors.Is(err, store.ErrUnchanged) {
		return nil, err
	}
	m.agents[id] = a
	return &a, nil
}

func (m *memory) DeleteAgent(_ context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.agents, id)
	return nil
}
