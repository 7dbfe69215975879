package api

import (
	"context"
	"net/http"
	"slices"

	"github.com/streamspace-dev/streamspace-edge/api/auth"
	"github.com/streamspace-dev/streamspace-edge/store"
)

// Hint is what an operator should know when looking at the console: that only
// the demo runtime is there and what to install for a real desktop, say.
type Hint struct {
	Code    string `json:"code"`              // a stable word
	Text    string `json:"text"`              // for a person
	Command string `json:"command,omitempty"` // what to run, to be copied; may be empty
}

func (s *server) login(w http.ResponseWriter, r *http.Request, _ auth.Caller) error {
	var key string
	if err := decodeBody(r, fields{"key": &key}); err != nil {
		return err
	}
	if key == "" {
		return store.Errorf(store.Invalid, "key is missing")
	}
	if _, err := s.o.Auth.Login(w, r, s.site, key); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *server) logout(w http.ResponseWriter, r *http.Request, _ auth.Caller) error {
	if err := s.o.Auth.Logout(w, r, s.site); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *server) me(w http.ResponseWriter, r *http.Request, c auth.Caller) error {
	hints := []Hint{}
	if s.o.Hints != nil && c.Role == store.RoleAdmin {
		hints = append(hints, s.o.Hints(r.Context())...)
	}
	runtimes, endpoints := s.offers(r.Context())
	return s.writeJSON(w, http.StatusOK, struct {
		Name      string     `json:"name"`
		Org       string     `json:"org"`
		Owner     string     `json:"owner"`
		Role      store.Role `json:"role"`
		Version   string     `json:"version"`
		Runtimes  []string   `json:"runtimes"`
		Endpoints []string   `json:"endpoints"`
		Hints     []Hint     `json:"hints"`
	}{c.Name, c.Org, c.Owner, c.Role, s.o.Version, runtimes, endpoints, hints})
}

// offers names the runtimes and, in order, the endpoints that a new session may
// ask for now; none while the database can't tell, which is told elsewhere.
func (s *server) offers(ctx context.Context) (runtimes, endpoints []string) {
	runtimes, endpoints = []string{}, []string{}
	agents, _ := s.o.Store.Agents(ctx)
	for _, a := range agents {
		if s.o.AgentStatus(a) != store.AgentOnline {
			continue
		}
		for _, r := range a.Runtimes {
			if r.Missing != "" {
				continue
			}
			if !slices.Contains(runtimes, r.Name) {
				runtimes = append(runtimes, r.Name)
			}
			endpoints = append(endpoints, r.Endpoints...)
		}
	}
	slices.Sort(endpoints)
	return runtimes, slices.Compact(endpoints)
}
