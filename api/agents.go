package api

import (
	"context"
	"net/http"
	"time"

	"github.com/streamspace-dev/streamspace-edge/api/auth"
	"github.com/streamspace-dev/streamspace-edge/store"
)

// agent is a store.Agent as clients see it.
type agent struct {
	ID             string            `json:"id"`
	Name           string            `json:"name"`
	Status         store.AgentStatus `json:"status"`
	ActiveSessions int               `json:"active_sessions"`
	Capacity       int               `json:"capacity"`
	Room           int               `json:"room"`
	Weight         int               `json:"weight"`
	Labels         labels            `json:"labels"`
	Runtimes       []store.Runtime   `json:"runtimes"`
	Version        string            `json:"version"`
	Homes          []string          `json:"homes"`
	LastHeartbeat  *time.Time        `json:"last_heartbeat"`
}

func (s *server) agentView(stored *store.Agent) agent {
	v := agent{
		ID: stored.ID, Name: stored.Name, Status: s.o.AgentStatus(stored), ActiveSessions: s.o.AgentActive(stored.ID),
		Capacity: stored.Capacity, Room: s.o.AgentRoom(stored), Weight: stored.Weight, Labels: stored.Labels, Runtimes: stored.Runtimes,
		Version: stored.Version, LastHeartbeat: moment(stored.LastHeartbeat),
	}
	if s.o.AgentHeard != nil {
		v.LastHeartbeat = moment(s.o.AgentHeard(stored))
	}
	if s.o.AgentHomes != nil {
		v.Homes = s.o.AgentHomes(stored.ID)
	}
	if v.Labels == nil {
		v.Labels = labels{}
	}
	if v.Runtimes == nil {
		v.Runtimes = []store.Runtime{}
	}
	if v.Homes == nil {
		v.Homes = []string{}
	}
	return v
}

func (s *server) listAgents(w http.ResponseWriter, r *http.Request, _ auth.Caller) error {
	stored, err := s.o.Store.Agents(r.Context())
	if err != nil {
		return err
	}
	answer := struct {
		Agents []agent `json:"agents"`
	}{[]agent{}}
	for _, a := range stored {
		answer.Agents = append(answer.Agents, s.agentView(a))
	}
	return s.writeJSON(w, http.StatusOK, answer)
}

func (s *server) getAgent(w http.ResponseWriter, r *http.Request, _ auth.Caller) error {
	stored, err := s.agentOf(r)
	if err != nil {
		return err
	}
	return s.writeJSON(w, http.StatusOK, s.agentView(stored))
}

func (s *server) agentOf(r *http.Request) (*store.Agent, error) {
	id, err := pathID(r)
	if err != nil {
		return nil, err
	}
	stored, err := s.o.Store.Agent(r.Context(), id)
	if store.CodeOf(err) == store.NotFound {
		return nil, store.Errorf(store.NotFound, "there is no agent %s", id)
	}
	return stored, err
}

// changeAgent drains, resumes or deletes; the answer is the agent after it, or
// as it last was.
func (s *server) changeAgent(change func(ctx context.Context, id string) error) handler {
	return func(w http.ResponseWriter, r *http.Request, _ auth.Caller) error {
		stored, err := s.agentOf(r)
		if err != nil {
			return err
		}
		if err := change(r.Context(), stored.ID); err != nil {
			return err
		}
		after, err := s.o.Store.Agent(r.Context(), stored.ID)
		switch store.CodeOf(err) {
		case "":
			stored = after
		case store.NotFound:
		default:
			return err
		}
		return s.writeJSON(w, http.StatusAccepted, s.agentView(stored))
	}
}
