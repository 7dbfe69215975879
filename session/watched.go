package session

import (
	"context"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// Each edge tells how many viewers a session has on it: with every event of the
// session, and again while there are some, so that the others are right again
// after what they missed. A number that is told no more counts for a while, or
// until its edge has gone.
const (
	watchedAgain = 30 * time.Second
	watchedFor   = 75 * time.Second
)

// watched is a session's viewers on one other edge.
type watched struct {
	viewers int
	told    time.Time
}

func (m *Manager) noteWatched(e store.Event) {
	if e.Node == "" || e.Node == m.o.Node {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	on := m.watched[e.ID]
	switch {
	case e.Viewers > 0 && on == nil:
		m.watched[e.ID] = map[string]watched{e.Node: {e.Viewers, time.Now()}}
	case e.Viewers > 0:
		on[e.Node] = watched{e.Viewers, time.Now()}
	case on != nil:
		delete(on, e.Node)
		if len(on) == 0 {
			delete(m.watched, e.ID)
		}
	}
}

// ViewersElsewhere is how many viewers a session has on other edges: as those
// told last, at once and every 30 s. What an event that was lost would have told
// is missing for as long; viewers of an edge that died count until the cluster
// knows, 75 s at most.
func (m *Manager) ViewersElsewhere(id string) (viewers int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for node, w := range m.watched[id] {
		if m.counts(node, w) {
			viewers += w.viewers
		}
	}
	return viewers
}

// counts tells whether what that edge told is still to be believed. m.mu is held.
func (m *Manager) counts(node string, w watched) bool {
	return time.Since(w.told) < watchedFor && (m.o.Alive == nil || m.o.Alive(node))
}

// tellWatched tells the others again how many viewers there are here, and
// forgets what they no longer tell.
func (m *Manager) tellWatched() {
	if !m.clustered() {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	for id, r := range m.live {
		if r.viewers > 0 && now.Sub(r.countTold) >= watchedAgain {
			r.countTold = now
			m.o.Coord.Publish(context.Background(), store.Event{Type: "viewers", ID: id, Node: m.o.Node, Viewers: r.viewers})
		}
	}
	for id, on := range m.watched {
		for node, w := range on {
			if !m.counts(node, w) {
				delete(on, node)
			}
		}
		if len(on) == 0 {
			delete(m.watched, id)
		}
	}
}
