package api

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// TestBadBodiesAreRefusedWithTheFieldNamed is the strict decoding of every

// request that has a body.

func TestPagesHoldEverySessionOnce(t *testing.T) {
	w := newWorld(t)
	want := map[string]bool{}
	for range 7 {
		want[w.addSession()] = true
	}
	path, pages := "/api/v1/sessions?limit=3", 0
	for {
		var page struct {
			Sessions   []session
			NextCursor string `json:"next_cursor"`
		}
		w.want(200, w.call(alice, "GET", path, "")).json(&page)
		pages++
		for _, s := range page.Sessions {
			if !want[s.ID] {
				t.Errorf("%s comes twice, or is none of them", s.ID)
			}
			delete(want, s.ID)
		}
		if page.NextCursor == "" {
			break
		}
		path = "/api/v1/sessions?limit=3&cursor=" + page.NextCursor
	}
	if len(want) != 0 || pages != 3 {
		t.Errorf("%d sessions are missing after %d pages", len(want), pages)
	}
}

func TestWrongPathsAndMethodsAreProblems(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"GET", "/api/v1/nothing", 404, ""},
		{"GET", "/api/", 404, ""},
		{"POST", "/api/v1/sessions/" + newID() + "/x", 404, ""},
		{"GET", "/nothing", 404, ""}, // no console is mounted here
		{"PUT", "/api/v1/sessions", 405, "GET, HEAD, POST"},
		{"PATCH", "/api/v1/sessions/" + newID(), 405, "DELETE, GET, HEAD"},
		{"POST", "/health", 405, "GET, HEAD"},
		{"GET", "/api/v1/login", 405, "DELETE, POST"},
		{"BREW", "/api/v1/agents", 405, "GET, HEAD"},
	} {
		a := w.call(admin, c.method, c.path, "")
		if p := a.problem(); a.status != c.status || p.Status != c.status || p.Title == "" || p.Detail == "" ||
			a.header.Get("Allow") != c.allow || a.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s: status %d, Allow %q: %s", c.method, c.path, a.status, a.header.Get("Allow"), a.body)
		}
	}
	if a := w.call(admin, "HEAD", "/api/v1/sessions", ""); a.status != 200 || len(a.body) != 0 {
		t.Errorf("HEAD: status %d, %d bytes", a.status, len(a.body))
	}
}

func TestEveryErrorHasItsStatus(t *testing.T) {
	for code, status := range map[store.Code]int{
		store.Invalid: 400, store.Unauthorized: 401, store.Forbidden: 403, store.NotFound: 404, store.Conflict: 409,
		store.Limit: 429, store.NoAgent: 503, store.Unavailable: 503, store.Internal: 500,
	} {
		w := newWorld(t, func(o *Options) {
			o.CreateSession = func(context.Context, *store.Session, string) (*store.Session, error) {
				return nil, &store.Error{Code: code, Text: "words for a person", Cause: errors.New("a cause for the log")}
			}
		})
		a := w.call(alice, "POST", "/api/v1/sessions", "")
		p := a.problem()
		if a.status != status || p.Code != code || p.Detail != "words for a person" || strings.Contains(string(a.body), "cause") {
			t.Errorf("%s: status %d: %s", code, a.status, a.body)
		}
		if later := a.header.Get("Retry-After") != ""; later != (status == 429 || status == 503) {
			t.Errorf("%s: Retry-After %q", code, a.header.Get("Retry-After"))
		}
		if logged := strings.Contains(w.logs.String(), "a cause for the log"); logged != (code == store.Unavailable || code == store.Internal) {
			t.Errorf("%s: the cause is in the log: %v", code, logged)
		}
	}
}

// TestUnknownErrorsAndPanicsStayInside: the client gets an id, the log the rest,

// and the process lives.

func TestUnknownErrorsAndPanicsStayInside(t *testing.T) {
	for name, fault := range map[string]func(){"error": func() {}, "panic": func() { panic("inner workings") }} {
		w := newWorld(t, func(o *Options) {
			o.Nodes = func(context.Context) ([]Node, error) { fault(); return nil, errors.New("inner workings") }
		})
		a := w.want(500, w.call(admin, "GET", "/api/v1/nodes", "", requestIDHeader, "mine-1"))
		if p := a.problem(); p.RequestID != "mine-1" || p.Code != store.Internal || strings.Contains(string(a.body), "inner") {
			t.Errorf("%s: %s", name, a.body)
		}
		if !strings.Contains(w.logs.String(), "inner workings") || !strings.Contains(w.logs.String(), "mine-1") {
			t.Errorf("%s: the log has neither cause nor id", name)
		}
		w.want(200, w.call(admin, "GET", "/api/v1/me", ""))
	}
}

func TestRequestIDs(t *testing.T) {
	w := newWorld(t)
	for sent, kept := range map[string]bool{
		"abc-DEF_1.2": true, strings.Repeat("x", 64): true, strings.Repeat("x", 65): false, "a b": false, "a\"b": false, "ü": false, "": false,
	} {
		a := w.call(alice, "GET", "/api/v1/me", "", requestIDHeader, sent)
		if got := a.header.Values(requestIDHeader); len(got) != 1 || (got[0] == sent) != kept || got[0] == "" {
			t.Errorf("%q became %q", sent, got)
		}
	}
}

func TestEveryAnswerKeepsToItself(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{"/health", "/api/v1/me", "/api/v1/sessions", "/api/v1/nothing", "/api/v1/openapi.yaml"} {
		a := w.call(alice, "GET", path, "")
		for header, want := range map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"} {
			if got := a.header.Values(header); len(got) != 1 || got[0] != want {
				t.Errorf("%s: %s is %q, want %q", path, header, got, want)
			}
		}
	}
}

func TestTicketsPointToTheEdge(t *testing.T) {
	w := newWorld(t, func(o *Options) {
		o.PublicURL = func(r *http.Request) string { return "https://desk.example.org" }
		o.TicketTTL = time.Minute
	})
	id := w.addSession()
	for _, c := range []struct{ method, body, mode, query string }{
		{"GET", "", "control", ""}, {"POST", "", "control", ""}, {"POST", "{}", "control", ""}, {"POST", `{"mode":"view"}`, "view", "?mode=view"},
	} {
		var got ticketAnswer
		w.want(200, w.call(alice, c.method, "/api/v1/sessions/"+id+"/vnc", c.body)).json(&got)
		ticket, err := w.auth.CheckTicket(got.Token)
		if err != nil || ticket.Mode != c.mode || got.Mode != c.mode || ticket.Session != id || ticket.Owner != "alice" || ticket.Org != "a" || ticket.ID != got.ID ||
			!ticket.Expires.Equal(got.ExpiresAt) || time.Until(got.ExpiresAt) > time.Minute {
			t.Errorf("%s %s: %+v, %v", c.method, c.body, ticket, err)
		}
		if got.URL != "wss://desk.example.org/ws/vnc?token="+got.Token || got.ViewerURL != "https://desk.example.org/desktop/"+id+c.query {
			t.Errorf("url %s, viewer_url %s", got.URL, got.ViewerURL)
		}
	}
	w.want(202, w.call(alice, "DELETE", "/api/v1/sessions/"+id, ""))
	if a := w.call(alice, "GET", "/api/v1/sessions/"+id+"/vnc", ""); a.status != 409 || !strings.Contains(a.problem().Detail, "terminated") {
		t.Errorf("a ticket for an ended session: %d %s", a.status, a.body)
	}
}

func TestHealthTellsWhatIsBroken(t *testing.T) {
	var now Health
	w := newWorld(t, func(o *Options) {
		ping := o.Health
		o.Health = func(ctx context.Context) Health {
			h := ping(ctx)
			h.Draining = now.Draining
			if now.Redis != "" {
				h.Redis = now.Redis
			}
			return h
		}
	})
	check := func(when string, status int, word, database string) {
		t.Helper()
		var h struct{ Status, Version, Database, Redis string }
		a := w.send("GET", "/health", "")
		a.json(&h)
		if a.status != status || h.Status != word || h.Database != database || h.Version != "test" {
			t.Errorf("%s: status %d: %s", when, a.status, a.body)
		}
	}
	check("all is well", 200, "healthy", "connected")
	now.Redis = "unavailable"
	check("Redis is down", 200, "degraded", "connected")
	now.Redis = "connected"
	check("Redis is up", 200, "healthy", "connected")
	now.Draining = true
	check("draining", 503, "draining", "connected")
	now.Draining = false
	_ = w.store.Close() // the real database is gone
	check("the database is down", 503, "degraded", "unavailable")
	now.Draining = true
	check("draining with the database down", 503, "draining", "unavailable")
}

func TestAgentsAreDrainedResumedDeleted(t *testing.T) {
	w := newWorld(t)
	id := w.addAgent()
	var a agent
	w.want(200, w.call(admin, "GET", "/api/v1/agents/"+id, "")).json(&a)
	if a.Status != store.AgentOnline || a.ActiveSessions != 3 || a.Capacity != 4 || a.Room != 3 || len(a.Runtimes) != 2 || len(a.Homes) != 1 {
		t.Errorf("the agent is %+v", a)
	}
	if stored, err := w.store.Agent(t.Context(), id); err != nil || a.LastHeartbeat == nil || !a.LastHeartbeat.Equal(stored.LastHeartbeat.Add(40*time.Second).Truncate(time.Millisecond)) {
		t.Errorf("last heard of at %v, not at what AgentHeard says; stored %+v, %v", a.LastHeartbeat, stored, err)
	}
	w.want(202, w.call(admin, "POST", "/api/v1/agents/"+id+"/drain", "")).json(&a)
	if a.Status != store.AgentDraining {
		t.Errorf("after the drain it is %s", a.Status)
	}
	w.want(202, w.call(admin, "POST", "/api/v1/agents/"+id+"/resume", "")).json(&a)
	var list struct{ Agents []agent }
	w.want(200, w.call(admin, "GET", "/api/v1/agents", "")).json(&list)
	if len(list.Agents) != 1 || list.Agents[0].Status != store.AgentOnline {
		t.Errorf("the list is %+v", list)
	}
	w.want(202, w.call(admin, "DELETE", "/api/v1/agents/"+id, ""))
	w.want(404, w.call(admin, "DELETE", "/api/v1/agents/"+id, ""))
	w.want(404, w.call(admin, "POST", "/api/v1/agents/"+id+"/drain", ""))
	w.want(200, w.call(admin, "GET", "/api/v1/nodes", ""))
}

func TestJoinTokensCarryThePin(t *testing.T) {
	pin := "sha256:" + strings.Repeat("ab", 32)
	w := newWorld(t, func(o *Options) { o.JoinPin = pin })
	var made struct{ ID, Secret, Org, Owner string }
	w.want(201, w.call(admin, "POST", "/api/v1/keys", `{"name":"hosts","role":"agent"}`)).json(&made)
	if !strings.HasSuffix(made.Secret, "@"+pin) || made.Org != "default" || made.Owner != "admin" {
		t.Errorf("the join token is of %+v", made)
	}
	if c, err := w.auth.Key(context.Background(), made.Secret); err != nil || c.KeyID != made.ID || c.Role != store.RoleAgent {
		t.Errorf("the join token as it was given: %+v, %v", c, err)
	}
	w.want(201, w.call(admin, "POST", "/api/v1/keys", `{"name":"u","role":"user","owner":"u"}`)).json(&made)
	if strings.Contains(made.Secret, "@") {
		t.Error("a user's key carries the pin")
	}
}

func TestTheLastAdminKeyStays(t *testing.T) {
	w := newWorld(t)
	var list struct{ Keys []key }
	w.want(200, w.call(admin, "GET", "/api/v1/keys", "")).json(&list)
	for _, k := range list.Keys {
		if k.Role == store.RoleAdmin {
			w.want(409, w.call(admin, "DELETE", "/api/v1/keys/"+k.ID, ""))
			w.want(201, w.call(admin, "POST", "/api/v1/keys", `{"name":"second","role":"admin"}`))
			w.want(204, w.call(admin, "DELETE", "/api/v1/keys/"+k.ID, ""))
		}
	}
	w.want(401, w.call(admin, "GET", "/api/v1/me", ""))
}

// TestMetricsNameRoutesNotPaths: what clients write must not become a series.

func TestMetricsNameRoutesNotPaths(t *testing.T) {
	w := newWorld(t)
	w.want(404, w.call(alice, "GET", "/api/v1/sessions/"+newID(), ""))
	w.call(alice, "GET", "/api/v1/"+newID(), "")
	w.call(alice, "BREW", "/api/v1/me", "")
	text := metricsText(w)
	for _, line := range []string{
		`streamspace_api_requests_total{code="404",method="GET",route="/api/v1/sessions/{id}"} 1`,
		`streamspace_api_requests_total{code="404",method="GET",route="unmatched"} 1`,
		`streamspace_api_requests_total{code="405",method="other",route="/api/v1/me"} 1`,
		`streamspace_api_request_duration_seconds_count{route="/api/v1/sessions/{id}"} 1`,
		`streamspace_api_requests_in_flight 0`,
	} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("%s is missing in:\n%s", line, text)
		}
	}
}

// TestStringsOfARequestOutliveIt: under fasthttp they are views into memory

// that serves the next request.

func TestStringsOfARequestOutliveIt(t *testing.T) {
	kept := make(chan string, 100)
	w := newWorld(t, func(o *Options) {
		drain := o.DrainAgent
		o.DrainAgent = func(ctx context.Context, id string) error { kept <- id; return drain(ctx, id) }
	})
	id := w.addAgent()
	client := &http.Client{Timeout: hang}
	defer client.CloseIdleConnections()
	for _, path := range []string{id, newID(), newID(), newID()} { // one kept-alive connection, one buffer
		request, err := http.NewRequest("POST", w.url+"/api/v1/agents/"+path+"/drain", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+w.secrets[admin])
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
	}
	if got := <-kept; got != id {
		t.Errorf("the id became %s, was %s", got, id)
	}
}
