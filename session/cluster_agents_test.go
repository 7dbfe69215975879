package session

import (
	"context"
	"fmt"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// hostInCluster is an agent that has a tunnel to each of its homes.
type hostInCluster struct {
	agent *store.Agent

	// Guarded by cluster.mu.
	homes    map[*edge]uint64         // generations
	running  map[string]ObservedState // starting or running
	most     int                      // ran at once
	next     uint64
	refusing *store.Error
	slow     time.Duration
	answers  map[string]*store.Error // to each start, as an agent keeps them; nil: taken
	// atStart is called as a start has come, and, with began, as it is taken and not
	// acked. Its error is the command's.
	atStart func(e *edge, began bool) error
}

func (c *cluster) join(name string, homes []*edge, change ...func(*store.Agent)) *hostInCluster {
	c.t.Helper()
	a := &store.Agent{ID: "agent-" + name, Name: name, KeyHash: []byte(name), Capacity: 10, Weight: 1,
		Runtimes: []store.Runtime{{Name: "desktop"}}, CreatedAt: time.Now(), LastHeartbeat: time.Now()}
	for _, f := range change {
		f(a)
	}
	h := &hostInCluster{agent: a, homes: map[*edge]uint64{}, running: map[string]ObservedState{}, answers: map[string]*store.Error{}}
	c.mu.Lock()
	c.hosts[a.ID] = h
	c.mu.Unlock()
	for _, e := range homes {
		c.connect(h, e)
	}
	return h
}

func (c *cluster) connect(h *hostInCluster, e *edge) {
	c.t.Helper()
	a, err := c.store.EnrolAgent(c.t.Context(), h.agent)
	if err != nil {
		c.t.Fatal(err)
	}
	c.mu.Lock()
	h.next++
	generation := h.next
	h.homes[e] = generation
	var running []Observed
	for id, state := range h.running {
		running = append(running, Observed{Session: id, State: state})
	}
	c.mu.Unlock()
	e.m.AgentUp(a, generation, running)
	c.rethink()
}

func (c *cluster) drop(h *hostInCluster, e *edge, final bool) {
	c.mu.Lock()
	generation := h.homes[e]
	delete(h.homes, e)
	c.mu.Unlock()
	e.m.AgentDown(h.agent.ID, generation, "the connection broke", final)
	c.rethink()
}

func (c *cluster) dropAll(h *hostInCluster) {
	c.mu.Lock()
	var homes []*edge
	for e := range h.homes {
		homes = append(homes, e)
	}
	c.mu.Unlock()
	for _, e := range homes {
		c.drop(h, e, false)
	}
}

// say tells every home, as agents do.
func (c *cluster) say(h *hostInCluster, id string, state ObservedState, reason string) {
	c.mu.Lock()
	switch state {
	case ObservedStarting, ObservedRunning:
		h.running[id] = state
		for _, other := range c.hosts {
			if _, there := other.running[id]; there && other != h {
				c.twice = append(c.twice, id)
			}
		}
		h.most = max(h.most, len(h.running))
	case ObservedEnded, ObservedFailed:
		delete(h.running, id)
	}
	type home struct {
		m          *Manager
		generation uint64
	}
	var homes []home
	for e, generation := range h.homes {
		homes = append(homes, home{e.m, generation})
	}
	c.mu.Unlock()
	for _, to := range homes {
		to.m.AgentState(h.agent.ID, to.generation, Observed{Session: id, State: state, Reason: reason})
	}
}

func (e *edge) start(_ context.Context, s *store.Session, generation uint64) error {
	c := e.c
	c.mu.Lock()
	h := c.hosts[s.AgentID]
	e.starts[s.ID]++
	atStart := h.atStart
	c.mu.Unlock()
	if atStart == nil {
		atStart = func(*edge, bool) error { return nil }
	}
	if err := atStart(e, false); err != nil {
		return err
	}
	if err := e.started(h, s, generation); err != nil {
		return err
	}
	return atStart(e, true)
}

// started is the agent's part.
func (e *edge) started(h *hostInCluster, s *store.Session, generation uint64) error {
	c := e.c
	c.mu.Lock()
	if h.homes[e] != generation || e.dead {
		c.mu.Unlock()
		return store.Errorf(store.Unavailable, "agent %s has no tunnel %d to %s", s.AgentID, generation, e.id)
	}
	slow := h.slow
	start := fmt.Sprint(s.ID, s.UpdatedAt.UnixMicro())
	refusal, known := h.answers[start]
	if !known {
		refusal = h.refusing
		if _, known = h.running[s.ID]; refusal == nil && !known && len(h.running) >= h.agent.Capacity {
			refusal = store.Errorf(store.NoAgent, "agent %s is full", s.AgentID)
		}
		h.answers[start] = refusal
	}
	c.mu.Unlock()
	switch {
	case refusal != nil:
		return &Refused{refusal}
	case known:
		return nil
	}
	c.say(h, s.ID, ObservedStarting, "")
	time.AfterFunc(slow, func() {
		c.mu.Lock()
		_, still := h.running[s.ID]
		c.mu.Unlock()
		if still {
			c.say(h, s.ID, ObservedRunning, "")
		}
	})
	return nil
}

func (e *edge) stopSession(_ context.Context, s *store.Session) error {
	c := e.c
	c.mu.Lock()
	h := c.hosts[s.AgentID]
	gone := h == nil || h.homes[e] == 0 || e.dead
	e.stops++
	c.mu.Unlock()
	if gone {
		return store.Errorf(store.Unavailable, "agent %s has no tunnel to %s", s.AgentID, e.id)
	}
	c.say(h, s.ID, ObservedStopping, "")
	time.Sleep(100 * time.Millisecond)
	c.say(h, s.ID, ObservedEnded, "")
	return nil
}
