package api

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/streamspace-dev/streamspace-edge/api/auth"
	"github.com/streamspace-dev/streamspace-edge/store"
)

// TestRestartKeepsLogins: the cookie and the ticket of before are good after.
func TestRestartKeepsLogins(t *testing.T) {
	w := newWorld(t)
	cookie := w.logIn(alice)
	var ticket ticketAnswer
	w.want(200, w.call(alice, "GET", "/api/v1/sessions/"+w.addSession()+"/vnc", "")).json(&ticket)
	w.stop()
	w.start()
	w.want(200, w.send("GET", "/api/v1/me", "", "Cookie", cookie))
	w.want(200, w.call(alice, "GET", "/api/v1/me", ""))
	if _, err := w.auth.CheckTicket(ticket.Token); err != nil {
		t.Errorf("the ticket: %v", err)
	}
}

func TestLoginCookieAttributes(t *testing.T) {
	for secure, name := range map[bool]string{true: "__Host-streamspace", false: "streamspace"} {
		w := newWorld(t, func(o *Options) { o.SecureCookies = secure })
		origin := "http://" + strings.TrimPrefix(w.url, "http://")
		if secure {
			origin = "https://" + strings.TrimPrefix(w.url, "http://")
		}
		a := w.want(204, w.send("POST", "/api/v1/login", `{"key":"`+w.secrets[alice]+`"}`, "Origin", origin))
		c := a.cookies[0]
		if c.Name != name || c.Secure != secure || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Domain != "" || c.MaxAge != int((12*time.Hour).Seconds()) {
			t.Errorf("secure %v: the cookie is %s; HttpOnly %v, Secure %v", secure, c.Name, c.HttpOnly, c.Secure)
		}
		w.want(200, w.send("GET", "/api/v1/me", "", "Cookie", c.Name+"="+c.Value))
		out := w.want(204, w.send("DELETE", "/api/v1/login", "", "Origin", origin))
		if gone := out.cookies[0]; gone.Name != name || gone.Value != "" || gone.MaxAge != -1 || gone.Secure != secure || gone.Path != "/" {
			t.Errorf("secure %v: log-out sets %+v", secure, gone)
		}
	}
}

// TestInsecureCookieIsNoLoginOnASecureSite: a neighbouring host could plant it.
func TestInsecureCookieIsNoLoginOnASecureSite(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.SecureCookies = true })
	a := w.want(204, w.send("POST", "/api/v1/login", `{"key":"`+w.secrets[alice]+`"}`, "Origin", "https"+strings.TrimPrefix(w.url, "http")))
	w.want(401, w.send("GET", "/api/v1/me", "", "Cookie", "streamspace="+a.cookies[0].Value))
}

func TestRequestsOfOtherSitesAreRefused(t *testing.T) {
	w := newWorld(t, func(o *Options) {
		o.AllowedOrigins = []string{"https://desk.example.org", "https://*.apps.example.org:8443"}
	})
	cookie := w.logIn(alice)
	host := strings.TrimPrefix(w.url, "http://")
	for _, c := range []struct {
		name   string
		header []string
		ok     bool
	}{
		{"no origin", nil, false},
		{"own origin", []string{"Origin", w.url}, true},
		{"own origin by https, behind a terminator", []string{"Origin", "https://" + host}, true},
		{"same-origin by fetch metadata", []string{"Sec-Fetch-Site", "same-origin"}, true},
		{"same-site by fetch metadata", []string{"Sec-Fetch-Site", "same-site"}, false},
		{"another site, with fetch metadata that lies", []string{"Origin", "https://evil.example", "Sec-Fetch-Site", "same-origin"}, false},
		{"null", []string{"Origin", "null"}, false},
		{"empty", []string{"Origin", ""}, false},
		{"another port", []string{"Origin", "http://127.0.0.1:1"}, false},
		{"another scheme", []string{"Origin", "ftp://" + host}, false},
		{"own host as user name", []string{"Origin", "http://" + host + "@evil.example"}, false},
		{"own host as prefix", []string{"Origin", w.url + ".evil.example"}, false},
		{"with a path", []string{"Origin", w.url + "/x"}, false},
		{"two origins", []string{"Origin", w.url, "Origin", "https://evil.example"}, false},
		{"allowed", []string{"Origin", "https://desk.example.org"}, true},
		{"allowed, other case and the port said", []string{"Origin", "https://DESK.example.org:443"}, true},
		{"allowed, but http", []string{"Origin", "http://desk.example.org"}, false},
		{"below the wildcard", []string{"Origin", "https://a.b.apps.example.org:8443"}, true},
		{"the wildcard itself", []string{"Origin", "https://*.apps.example.org:8443"}, false},
		{"the wildcard's parent", []string{"Origin", "https://apps.example.org:8443"}, false},
		{"the wildcard's end in another name", []string{"Origin", "https://evilapps.example.org:8443"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.t = t
			status := map[bool]int{true: 202, false: 403}[c.ok]
			w.want(status, w.send("POST", "/api/v1/sessions", `{}`, append([]string{"Cookie", cookie}, c.header...)...))
			w.want(map[bool]int{true: 204, false: 403}[c.ok], w.send("POST", "/api/v1/login", `{"key":"`+w.secrets[alice]+`"}`, c.header...))
			w.want(map[bool]int{true: 204, false: 403}[c.ok], w.send("DELETE", "/api/v1/login", "", c.header...))
			// Reading needs no origin, a key neither: no page can send one by accident.
			w.want(200, w.send("GET", "/api/v1/sessions", "", append([]string{"Cookie", cookie}, c.header...)...))
			w.want(202, w.call(alice, "POST", "/api/v1/sessions", `{}`, c.header...))
			// A WebSocket can be read by any page, so it is checked although it is a GET.
			upgrade := append([]string{"Cookie", cookie, "Upgrade", "nonsense", "Connection", "Upgrade"}, c.header...)
			w.want(map[bool]int{true: 426, false: 403}[c.ok], w.send("GET", "/api/v1/events", "", upgrade...))
		})
	}
	w.t = t
}

func TestBearerKeyWinsOverTheCookie(t *testing.T) {
	w := newWorld(t)
	cookie := w.logIn(alice)
	var me struct{ Owner string }
	w.want(200, w.call(bob, "GET", "/api/v1/me", "", "Cookie", cookie)).json(&me)
	if me.Owner != "bob" {
		t.Errorf("the caller is %s", me.Owner)
	}
	w.want(401, w.call(guesser, "GET", "/api/v1/me", "", "Cookie", cookie))
	w.want(401, w.send("GET", "/api/v1/me", "", "Cookie", cookie, "Authorization", "Basic YTpi"))
}

func TestADeletedKeyEndsItsLoginAtOnce(t *testing.T) {
	w := newWorld(t)
	cookie := w.logIn(alice)
	w.want(200, w.send("GET", "/api/v1/me", "", "Cookie", cookie))
	w.want(200, w.call(alice, "GET", "/api/v1/me", ""))
	var list struct{ Keys []key }
	w.want(200, w.call(admin, "GET", "/api/v1/keys", "")).json(&list)
	for _, k := range list.Keys {
		if k.Name == alice {
			w.want(204, w.call(admin, "DELETE", "/api/v1/keys/"+k.ID, ""))
			w.want(404, w.call(admin, "DELETE", "/api/v1/keys/"+k.ID, ""))
		}
	}
	w.want(401, w.send("GET", "/api/v1/me", "", "Cookie", cookie))
	w.want(401, w.call(alice, "GET", "/api/v1/me", ""))
}

// TestGuessingIsLimited: wrong keys use up what an address may try; keys that
// were good before, and log-ins, are not in the way of that.
func TestGuessingIsLimited(t *testing.T) {
	w := newWorld(t)
	cookie := w.logIn(alice)
	w.want(200, w.call(bob, "GET", "/api/v1/me", ""))
	limited := false
	for range 100 {
		if a := w.call(guesser, "GET", "/api/v1/me", ""); a.status == http.StatusTooManyRequests {
			limited = a.header.Get("Retry-After") != ""
			break
		}
	}
	if !limited {
		t.Fatal("100 wrong keys were looked up")
	}
	w.want(429, w.send("POST", "/api/v1/login", `{"key":"`+w.secrets[guesser]+`"}`, "Origin", w.url))
	w.want(200, w.call(bob, "GET", "/api/v1/me", ""))
	w.want(200, w.send("GET", "/api/v1/me", "", "Cookie", cookie))
}

func TestExpiredKeysAreNoCredentials(t *testing.T) {
	w := newWorld(t)
	var made struct {
		Secret    string
		ExpiresAt time.Time `json:"expires_at"`
	}
	body := `{"name":"soon","role":"user","org":"a","owner":"alice","expires_at":"` + time.Now().Add(time.Hour).UTC().Format(time.RFC3339) + `"}`
	w.want(201, w.call(admin, "POST", "/api/v1/keys", body)).json(&made)
	w.secrets["soon"] = made.Secret
	w.want(200, w.call("soon", "GET", "/api/v1/me", ""))
	w.want(400, w.call(admin, "POST", "/api/v1/keys", `{"name":"late","role":"user","owner":"x","expires_at":"2001-01-01T00:00:00Z"}`))
}

func TestMeTellsWhoAndWhatToDo(t *testing.T) {
	w := newWorld(t)
	var me struct {
		Name, Org, Owner, Version string
		Role                      store.Role
		Runtimes, Endpoints       []string
		Hints                     []Hint
	}
	w.addAgent()
	w.want(200, w.call(admin, "GET", "/api/v1/me", "")).json(&me)
	if me.Name != admin || me.Role != store.RoleAdmin || me.Version != "test" || len(me.Hints) != 1 || me.Hints[0].Command == "" {
		t.Errorf("an admin is told %+v", me)
	}
	w.want(200, w.call(alice, "GET", "/api/v1/me", "")).json(&me)
	if me.Org != "a" || me.Owner != "alice" || me.Role != store.RoleUser || len(me.Hints) != 0 || !slices.Equal(me.Runtimes, []string{"desktop", "gpu"}) {
		t.Errorf("a user is told %+v", me)
	}
	if me.Endpoints == nil || len(me.Endpoints) > 0 {
		t.Errorf("the endpoints are %#v, want an empty list", me.Endpoints)
	}
	for name, runtimes := range map[string][]store.Runtime{
		"one":   {{Name: "consoles", Type: "static", Endpoints: []string{"vm-3", "vm-1"}}, {Name: "demo"}},
		"other": {{Name: "more", Type: "static", Endpoints: []string{"vm-2", "vm-1"}}, {Name: "broken", Missing: "it is not there", Endpoints: []string{"vm-9"}}},
	} {
		if _, err := w.store.EnrolAgent(t.Context(), &store.Agent{ID: newID(), Name: name, KeyHash: auth.HashSecret(name), Capacity: 1, Weight: 1, Runtimes: runtimes}); err != nil {
			t.Fatal(err)
		}
	}
	w.want(200, w.call(alice, "GET", "/api/v1/me", "")).json(&me)
	if want := []string{"vm-1", "vm-2", "vm-3"}; !slices.Equal(me.Endpoints, want) {
		t.Errorf("the endpoints are %q, want %q", me.Endpoints, want)
	}
}

// TestStoreDownIsNot401: a database that does not answer logs nobody out.
func TestStoreDownIsNot401(t *testing.T) {
	w := newWorld(t)
	cookie := w.logIn(alice)
	w.want(200, w.send("GET", "/api/v1/me", "", "Cookie", cookie))
	_ = w.store.Close()
	for _, a := range []answer{w.call(bob, "GET", "/api/v1/me", ""), w.call(bob, "GET", "/api/v1/sessions", "")} {
		if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
			t.Errorf("status %d: %s", a.status, a.body)
		}
	}
	w.want(200, w.send("GET", "/api/v1/me", "", "Cookie", cookie)) // still known
}
