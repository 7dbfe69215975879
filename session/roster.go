package session

import (
	"context"
	"slices"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// So that a placement need not read every agent and count every session, an edge
// keeps both in memory: the counts by the rows that it sees anyway, and the
// agents by what it hears of them, read again at least every rosterEvery. Nothing
// depends on that being true: the transaction that stores a placement is asked
// whether it fits, and a choice that does not is made again by the Store.
const (
	rosterEvery = 5 * time.Second
	rosterLife  = 3 * rosterEvery        // without a read for so long, memory is not chosen by
	rosterPause = 100 * time.Millisecond // between reads: agents may come by the thousand
)

// load is what an agent carries.
type load struct {
	active int            // sessions that take room there
	used   map[string]int // the same by the runtime they asked for
	chosen int            // sessions that are being placed there now
}

func (l *load) count(runtime string, delta int) {
	if l.used == nil {
		l.used = map[string]int{}
	}
	l.active += delta
	if l.used[runtime] += delta; l.used[runtime] == 0 {
		delete(l.used, runtime)
	}
}

// member is an agent as placing sees it. Guarded by Manager.mu.
type member struct {
	load
	row     *store.Agent // never changed; nil: the store has none, or it was not read yet
	version uint64       // Manager.rosterVersion when row became known otherwise than by reading all
	link    *link        // that of Manager.links; nil: there is none
	reached bool         // an edge had a tunnel of it at the latest Rethink
}

// member returns that of the agent, made when there is none. m.mu is held.
func (m *Manager) member(agentID string) *member {
	a := m.members[agentID]
	if a == nil {
		a = &member{}
		m.members[agentID] = a
	}
	return a
}

// dropUnused forgets a member of which there is nothing to be known. m.mu is held.
func (m *Manager) dropUnused(agentID string) {
	a := m.members[agentID]
	if a != nil && a.row == nil && a.link == nil && a.active == 0 && a.chosen == 0 {
		delete(m.members, agentID)
		delete(m.reached, agentID)
	}
}

// link makes the agent's link. m.mu is held.
func (m *Manager) link(agentID string) *link {
	l := &link{}
	m.links[agentID], m.member(agentID).link = l, l
	return l
}

// unlink forgets the agent's link. m.mu is held.
func (m *Manager) unlink(agentID string) {
	delete(m.links, agentID)
	if a := m.members[agentID]; a != nil {
		a.link = nil
		m.dropUnused(agentID)
	}
}

// rowOf is the agent's row as it is in memory; nil when it is not.
func (m *Manager) rowOf(agentID string) *store.Agent {
	m.mu.Lock()
	defer m.mu.Unlock()
	if a := m.members[agentID]; a != nil {
		return a.row
	}
	return nil
}

// know takes in an agent's row as it was just read or written. m.mu is held.
func (m *Manager) know(row *store.Agent) {
	a := m.member(row.ID)
	m.rosterVersion++
	a.version = m.rosterVersion
	if a.row == nil {
		m.enrol(a, row.ID)
	}
	a.row = row
}

// enrol puts a member on the roster. m.mu is held.
func (m *Manager) enrol(a *member, id string) {
	m.roster = append(m.roster, a)
	if m.clustered() {
		a.reached = m.o.Reachable(id)
	}
}

// unknow takes an agent that was deleted off the roster. m.mu is held.
func (m *Manager) unknow(agentID string) {
	a := m.members[agentID]
	if a == nil {
		return
	}
	m.roster = slices.DeleteFunc(m.roster, func(other *member) bool { return other == a })
	a.row = nil
	m.dropUnused(agentID)
}

// memberReachable is reachable by what was last told. m.mu is held.
func (m *Manager) memberReachable(a *member) bool {
	return a.link != nil && a.link.up || a.reached
}

// rosterUsable tells whether memory may be chosen by. m.mu is held.
func (m *Manager) rosterUsable() bool {
	return m.counted && !m.rosterRead.IsZero() && time.Since(m.rosterRead) < rosterLife
}

// rosterOutdated asks for all agents to be read again soon.
func (m *Manager) rosterOutdated() {
	select {
	case m.stale <- struct{}{}:
	default:
	}
}

// keepRoster reads all agents again and again until ctx ends.
func (m *Manager) keepRoster(ctx context.Context) {
	tick := time.NewTicker(rosterEvery)
	defer tick.Stop()
	reading := outage{log: m.o.Log, failed: "the agents could not be read; sessions are placed by asking the database each time until they can", over: "the agents are read again"}
	for {
		reading.tell(ctx, m.readRoster(ctx))
		if !sleep(ctx, rosterPause) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-m.stale:
		case <-tick.C:
		}
	}
}

func (m *Manager) readRoster(ctx context.Context) error {
	m.mu.Lock()
	began, version := time.Now(), m.rosterVersion
	m.mu.Unlock()
	rows, err := m.o.Store.Agents(ctx)
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.rosterRead = began
	gone := m.setRoster(rows, version)
	m.mu.Unlock()
	for _, id := range gone {
		m.dismiss(id)
	}
	return nil
}

// setRoster takes in all agents as they were read when rosterVersion was version:
// what became known since is newer. It returns those with a tunnel here that
// another edge has removed, whose event was lost. m.mu is held.
func (m *Manager) setRoster(rows []*store.Agent, version uint64) (gone []string) {
	before := m.roster
	m.roster = make([]*member, 0, len(rows))
	listed := make(map[*member]bool, len(rows))
	for _, row := range rows {
		a := m.member(row.ID)
		listed[a] = true
		if a.row == nil {
			m.enrol(a, row.ID)
		} else {
			m.roster = append(m.roster, a)
		}
		if a.row == nil || a.version <= version {
			a.row = row
		}
	}
	for _, a := range before {
		switch {
		case listed[a]:
		case a.version > version:
			m.roster = append(m.roster, a)
		default:
			id := a.row.ID
			a.row = nil
			if a.link != nil && a.link.up {
				gone = append(gone, id)
			}
			m.dropUnused(id)
		}
	}
	return gone
}
