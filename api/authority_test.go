package api

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/streamspace-dev/streamspace-edge/api/auth"
	"github.com/streamspace-dev/streamspace-edge/store"
)

// TestSessionVerbsCheckOwnerAndOrganisation tries every session verb as every
// kind of caller on alice's session.
func TestSessionVerbsCheckOwnerAndOrganisation(t *testing.T) {
	verbs := []struct {
		name, method, path, body string
		verb                     auth.Verb
		allowed                  int
	}{
		{"get", "GET", "", "", auth.GetSession, 200},
		{"ticket", "GET", "/vnc", "", auth.ControlSession, 200},
		{"control ticket", "POST", "/vnc", `{"mode":"control"}`, auth.ControlSession, 200},
		{"view ticket", "POST", "/vnc", `{"mode":"view"}`, auth.ViewSession, 200},
		{"stop", "DELETE", "", "", auth.StopSession, 202},
		{"stop again", "DELETE", "", "", auth.StopSession, 202},
	}
	statuses := map[string]int{bob: 404, stranger: 404, joiner: 403, nobody: 401, guesser: 401}
	w := newWorld(t)
	id, absent := w.addSession(), newID()
	for _, v := range verbs {
		for caller, status := range statuses {
			a := w.call(caller, v.method, "/api/v1/sessions/"+id+v.path, v.body)
			if a.status != status {
				t.Errorf("%s by %s: status %d, want %d: %s", v.name, caller, a.status, status, a.body)
			}
			if status != 404 {
				continue
			}
			// What exists and what does not must look the same.
			never := w.call(caller, v.method, "/api/v1/sessions/"+absent+v.path, v.body)
			got, want := a.problem(), never.problem()
			got.RequestID, want.RequestID = "", ""
			got.Detail, want.Detail = strings.ReplaceAll(got.Detail, id, "ID"), strings.ReplaceAll(want.Detail, absent, "ID")
			if got != want {
				t.Errorf("%s by %s tells that the session exists: %+v, an absent one is %+v", v.name, caller, got, want)
			}
		}
	}
	if s, err := w.store.Session(context.Background(), id); err != nil || s.State != store.Pending {
		t.Fatalf("somebody else changed the session: %+v, %v", s, err)
	}
	for _, caller := range []string{admin, alice} {
		id := w.addSession()
		for _, v := range verbs {
			if a := w.call(caller, v.method, "/api/v1/sessions/"+id+v.path, v.body); a.status != v.allowed {
				t.Errorf("%s by %s: status %d, want %d: %s", v.name, caller, a.status, v.allowed, a.body)
			}
		}
	}
}

// TestListsHoldOnlyWhatTheCallerMaySee: the filter can't reach beyond it.
func TestListsHoldOnlyWhatTheCallerMaySee(t *testing.T) {
	w := newWorld(t)
	own := map[string]string{}
	for _, caller := range []string{admin, alice, bob, stranger} {
		var s session
		w.want(202, w.call(caller, "POST", "/api/v1/sessions", `{}`)).json(&s)
		own[caller] = s.ID
	}
	for _, c := range []struct {
		caller, query string
		sees          []string
	}{
		{alice, "", []string{alice}},
		{alice, "?owner=alice", []string{alice}},
		{alice, "?owner=bob", nil},
		{bob, "", []string{bob}},
		{stranger, "?state=pending", []string{stranger}},
		{admin, "", []string{stranger, bob, alice, admin}},
		{admin, "?owner=alice", []string{stranger, alice}},
	} {
		var page struct{ Sessions []session }
		w.want(200, w.call(c.caller, "GET", "/api/v1/sessions"+c.query, "")).json(&page)
		var got, want []string
		for _, s := range page.Sessions {
			got = append(got, s.ID)
		}
		for _, caller := range c.sees {
			want = append(want, own[caller])
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%s%s sees %v, want %v", c.caller, c.query, got, want)
		}
	}
}

// TestFleetIsForAdminsOnly: every request that is about the installation.
func TestFleetIsForAdminsOnly(t *testing.T) {
	w := newWorld(t)
	for _, r := range (&server{}).table() {
		if r.verb != auth.Agents && r.verb != auth.Nodes && r.verb != auth.Keys {
			continue
		}
		path := strings.ReplaceAll(r.path, "{id}", newID())
		for caller, status := range map[string]int{alice: 403, joiner: 403, nobody: 401, guesser: 401} {
			if a := w.call(caller, r.method, path, ""); a.status != status {
				t.Errorf("%s %s by %s: status %d, want %d", r.method, path, caller, a.status, status)
			}
		}
	}
	if a := w.call(alice, "POST", "/api/v1/sessions", `{"endpoint":"127.0.0.1:5900"}`); a.status != 403 || !strings.Contains(a.problem().Detail, "endpoint") {
		t.Errorf("a direct session by a user: %d %s", a.status, a.body)
	}
	w.want(202, w.call(admin, "POST", "/api/v1/sessions", `{"endpoint":"127.0.0.1:5900"}`))
}

// TestEveryRouteNeedsCredentials but those that say so.
func TestEveryRouteNeedsCredentials(t *testing.T) {
	w := newWorld(t)
	open := 0
	for _, r := range (&server{}).table() {
		if r.verb == "" {
			open++
			continue
		}
		a := w.send(r.method, strings.ReplaceAll(r.path, "{id}", newID()), "")
		if a.status != http.StatusUnauthorized || a.header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s %s without credentials: status %d", r.method, r.path, a.status)
		}
	}
	if open != 4 {
		t.Errorf("%d routes are open to all; the test knows of health, openapi.yaml, log-in and log-out", open)
	}
}

func TestTicketsAndJoinTokensGiveNoAccessToTheAPI(t *testing.T) {
	w := newWorld(t)
	var ticket ticketAnswer
	w.want(200, w.call(alice, "GET", "/api/v1/sessions/"+w.addSession()+"/vnc", "")).json(&ticket)
	for _, header := range [][]string{
		{"Authorization", "Bearer " + ticket.Token}, {"Cookie", "streamspace=" + ticket.Token}, {"Cookie", "streamspace=" + w.secrets[alice]},
	} {
		w.want(401, w.send("GET", "/api/v1/me", "", header...))
	}
	w.want(403, w.send("POST", "/api/v1/login", `{"key":"`+w.secrets[joiner]+`"}`, "Origin", w.url))
	cookie := w.logIn(alice)
	_, token, _ := strings.Cut(cookie, "=")
	if _, err := w.auth.CheckTicket(token); err == nil {
		t.Error("a log-in cookie passes for a ticket")
	}
}

// TestAnIdempotencyKeyNeverGivesAnothersSession even when a Create returns one.
func TestAnIdempotencyKeyNeverGivesAnothersSession(t *testing.T) {
	var w *world
	w = newWorld(t, func(o *Options) {
		o.CreateSession = func(ctx context.Context, s *store.Session, key string) (*store.Session, error) {
			s.Owner = "alice"
			return w.createSession(ctx, s, key)
		}
	})
	w.want(202, w.call(alice, "POST", "/api/v1/sessions", `{}`, "Idempotency-Key", "k"))
	w.want(409, w.call(bob, "POST", "/api/v1/sessions", `{}`, "Idempotency-Key", "k"))
}
