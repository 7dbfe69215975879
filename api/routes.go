package api

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/streamspace-dev/streamspace-edge/api/auth"
	"github.com/streamspace-dev/streamspace-edge/store"
)

// handler answers one kind of request. An error that it returns becomes a
// problem answer; then it must have written nothing.
type handler func(w http.ResponseWriter, r *http.Request, c auth.Caller) error

// route is one row of the table of all that the API answers. Without a verb it
// needs no credentials. A handler of a session checks the verb again, with the
// session.
type route struct {
	method, path string
	verb         auth.Verb
	handle       handler
}

func (s *server) table() []route {
	return []route{
		{"GET", "/health", "", s.health},
		{"GET", "/api/v1/openapi.yaml", "", s.openAPI},
		{"POST", "/api/v1/login", "", s.login},
		{"DELETE", "/api/v1/login", "", s.logout},
		{"GET", "/api/v1/me", auth.Self, s.me},
		{"GET", "/api/v1/events", auth.Self, s.events},

		{"GET", "/api/v1/sessions", auth.ListSessions, s.listSessions},
		{"POST", "/api/v1/sessions", auth.CreateSession, s.createSession},
		{"GET", "/api/v1/sessions/{id}", auth.GetSession, s.getSession},
		{"DELETE", "/api/v1/sessions/{id}", auth.StopSession, s.stopSession},
		{"GET", "/api/v1/sessions/{id}/vnc", auth.ControlSession, s.controlTicket},
		{"POST", "/api/v1/sessions/{id}/vnc", auth.ViewSession, s.ticket},

		{"GET", "/api/v1/agents", auth.Agents, s.listAgents},
		{"GET", "/api/v1/agents/{id}", auth.Agents, s.getAgent},
		{"DELETE", "/api/v1/agents/{id}", auth.Agents, s.changeAgent(s.o.DeleteAgent)},
		{"POST", "/api/v1/agents/{id}/drain", auth.Agents, s.changeAgent(s.o.DrainAgent)},
		{"POST", "/api/v1/agents/{id}/resume", auth.Agents, s.changeAgent(s.o.ResumeAgent)},
		{"GET", "/api/v1/nodes", auth.Nodes, s.listNodes},
		{"POST", "/api/v1/nodes/{id}/drain", auth.Nodes, s.changeNode("draining", s.o.DrainNode)},
		{"POST", "/api/v1/nodes/{id}/resume", auth.Nodes, s.changeNode("online", s.o.ResumeNode)},
		{"GET", "/api/v1/pools", auth.Pools, s.listPools},
		{"GET", "/api/v1/pools/{pool}", auth.Pools, s.getPool},
		{"POST", "/api/v1/pools/{pool}/upstreams/{upstream}/drain", auth.Pools, s.setUpstream("draining")},
		{"POST", "/api/v1/pools/{pool}/upstreams/{upstream}/resume", auth.Pools, s.setUpstream("enabled")},
		{"POST", "/api/v1/pools/{pool}/upstreams/{upstream}/disable", auth.Pools, s.setUpstream("disabled")},
		{"POST", "/api/v1/reload", auth.Pools, s.reload},

		{"GET", "/api/v1/keys", auth.Keys, s.listKeys},
		{"POST", "/api/v1/keys", auth.Keys, s.createKey},
		{"DELETE", "/api/v1/keys/{id}", auth.Keys, s.deleteKey},
	}
}

// ServedElsewhere lists what openapi.yaml describes and other parts of the edge
// answer, as "METHOD /path".
func ServedElsewhere() []string {
	return []string{"GET /", "GET /desktop/{id}", "GET /ws/vnc", "GET /api/v1/agents/connect"}
}

// newRoutes groups the table by path, so that a wrong method is told which
// methods there are.
func (s *server) newRoutes() *http.ServeMux {
	paths := map[string]map[string]route{}
	for _, r := range s.table() {
		if paths[r.path] == nil {
			paths[r.path] = map[string]route{}
		}
		paths[r.path][r.method] = r
	}
	mux := http.NewServeMux()
	for path, methods := range paths {
		if h := s.byMethod(methods); verbatim(path) {
			mux.Handle(path, h)
		} else {
			mux.Handle(path, compress(h))
		}
	}
	mux.Handle("/api/", s.noPage())
	if s.o.Console != nil {
		mux.Handle("/", s.o.Console)
	} else {
		mux.Handle("/", s.noPage())
	}
	return mux
}

func (s *server) byMethod(methods map[string]route) http.Handler {
	if get, ok := methods[http.MethodGet]; ok {
		methods[http.MethodHead] = get
	}
	allow := strings.Join(slices.Sorted(maps.Keys(methods)), ", ")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		route, ok := methods[r.Method]
		if !ok {
			w.Header().Set("Allow", allow)
			s.fail(w, r, store.Errorf(wrongMethod, "%s is not possible here; use %s", clip(r.Method), allow))
			return
		}
		if err := s.answer(w, r, route); err != nil {
			s.fail(w, r, err)
		}
	})
}

func (s *server) noPage() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, store.Errorf(store.NotFound, "there is nothing at %s; GET /api/v1/openapi.yaml lists what there is", clip(r.URL.Path)))
	})
}

func (s *server) answer(w http.ResponseWriter, r *http.Request, route route) error {
	w.Header().Set("Cache-Control", "no-store")
	if route.verb == "" {
		return route.handle(w, r, auth.Caller{})
	}
	c, err := s.o.Auth.Request(r, s.site)
	if err != nil {
		return err
	}
	if err := s.limit(w, r, c); err != nil {
		return err
	}
	if err := auth.May(c, route.verb, nil); err != nil {
		return err
	}
	return route.handle(w, r, c)
}
