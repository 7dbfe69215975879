package api

import (
	"strings"
	"testing"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
)

func TestBadBodiesAreRefusedWithTheFieldNamed(t *testing.T) {
	w := newWorld(t)
	sessions, vnc, keys, login := "/api/v1/sessions", "/api/v1/sessions/"+w.addSession()+"/vnc", "/api/v1/keys", "/api/v1/login"
	for _, c := range []struct{ path, body, says string }{
		{sessions, `{"colour":"blue"}`, "colour"},
		{sessions, `{"Name":"x"}`, "Name"},
		{sessions, `{"name":"a","name":"b"}`, "name"},
		{sessions, `{"name":1}`, "name"},
		{sessions, `{"name":null}`, "name"},
		{sessions, `{"width":"wide"}`, "width"},
		{sessions, `{"width":1.5}`, "width"},
		{sessions, `{"height":1e400}`, "height"},
		{sessions, `{"height":99999999999999999999}`, "height"},
		{sessions, `{"labels":["a"]}`, "labels"},
		{sessions, `{"labels":{"a":1}}`, "labels"},
		{sessions, `{"labels":{"a":null}}`, "labels"},
		{sessions, `{"idle_timeout":"soon"}`, "idle_timeout"},
		{sessions, `{"idle_timeout":"-5m"}`, "idle_timeout"},
		{sessions, `{"max_duration":-1}`, "max_duration"},
		{sessions, `{"max_duration":1.5}`, "max_duration"},
		{sessions, `{"max_duration":true}`, "max_duration"},
		{sessions, `{"max_duration":99999999999}`, "max_duration"},
		{sessions, `{"endpoint":"127.0.0.1:5911"}`, "endpoint"},
		{sessions, `[]`, "object"},
		{sessions, `"x"`, "object"},
		{sessions, `null`, "object"},
		{vnc, ` null `, "object"},
		{sessions, `{`, "JSON"},
		{sessions, `{"name"`, "JSON"},
		{sessions, `{"name":"a"} {}`, "after"},
		{sessions, `{"name":"a"}x`, "after"},
		{sessions, `{"name":"` + strings.Repeat("x", MaxBody-10) + `"}`, "bytes"},
		{vnc, `{"mode":"touch"}`, "mode"},
		{vnc, `{"mode":1}`, "mode"},
		{vnc, `{"model":"view"}`, "model"},
		{keys, `{"role":"user","owner":"x"}`, "name"},
		{keys, `{"name":"k","role":"king"}`, "role"},
		{keys, `{"name":"k"}`, "role"},
		{keys, `{"name":"k","role":"user"}`, "owner"},
		{keys, `{"name":"k","role":"admin","org":""}`, "org"},
		{keys, `{"name":"` + strings.Repeat("x", 101) + `","role":"admin"}`, "name"},
		{keys, `{"name":"a\u0000b","role":"admin"}`, "name"},
		{keys, `{"name":"k","role":"admin","expires_at":"tomorrow"}`, `expires_at is "tomorrow"; it must be a time like "2027-`},
		{keys, `{"name":"k","role":"admin","expires_at":5}`, `expires_at is 5; it must be a time like "2027-`},
		{login, `{}`, "key"},
		{login, `{"key":5}`, "key"},
	} {
		a := w.call(admin, "POST", c.path, c.body, "Origin", w.url)
		if p := a.problem(); a.status != 400 || p.Code != store.Invalid || !strings.Contains(p.Detail, c.says) || p.RequestID == "" {
			t.Errorf("%s %.80s: status %d, %+v; want 400 that names %s", c.path, c.body, a.status, p, c.says)
		}
	}
}

func TestOddButGoodBodies(t *testing.T) {
	w := newWorld(t)
	for _, body := range []string{"", "{}", " {} \n", `{"width":0}`} {
		w.want(202, w.call(alice, "POST", "/api/v1/sessions", body))
	}
	var s session
	full := `{"name":"Büro","runtime":"desktop","labels":{"gpu":"yes"},"width":1280,"height":800,"idle_timeout":"90m","max_duration":7200}`
	a := w.want(202, w.call(alice, "POST", "/api/v1/sessions", full))
	a.json(&s)
	if s.Name != "Büro" || s.Labels["gpu"] != "yes" || s.Width != 1280 || s.Height != 800 || s.Viewers != 2 || s.ExpiresAt == nil ||
		!strings.Contains(string(a.body), `"idle_timeout":"1h30m"`) || !strings.Contains(string(a.body), `"max_duration":"2h"`) ||
		a.header.Get("Location") != "/api/v1/sessions/"+s.ID {
		t.Errorf("the session is %s", a.body)
	}
	w.want(200, w.call(alice, "GET", "/api/v1/sessions/"+strings.ToUpper(s.ID), ""))
}

func TestMalformedIDsAndQueriesAreRefused(t *testing.T) {
	w := newWorld(t)
	for path, says := range map[string]string{
		"/api/v1/sessions/x":                                        "id",
		"/api/v1/sessions/..%2Fkeys":                                "id",
		"/api/v1/sessions/" + strings.Repeat("0", 36):               "id",
		"/api/v1/sessions/{" + newID() + "}":                        "id",
		"/api/v1/agents/x":                                          "id",
		"/api/v1/sessions?state=asleep":                             "state",
		"/api/v1/sessions?state=running,":                           "state",
		"/api/v1/sessions?agent=x":                                  "agent",
		"/api/v1/sessions?limit=0":                                  "limit",
		"/api/v1/sessions?limit=1001":                               "limit",
		"/api/v1/sessions?limit=ten":                                "limit",
		"/api/v1/sessions?limit=1&limit=2":                          "limit",
		"/api/v1/sessions?status=running":                           "status",
		"/api/v1/sessions?owner=%00":                                "owner",
		"/api/v1/sessions?cursor=nonsense":                          "cursor",
		"/api/v1/sessions?cursor=" + strings.Repeat("x", 300):       "cursor",
		"/api/v1/sessions?a=%zz":                                    "query",
		"/api/v1/sessions?" + strings.Repeat("x", 300) + "=running": "parameter",
	} {
		if a := w.call(admin, "GET", path, ""); a.status != 400 || !strings.Contains(a.problem().Detail, says) {
			t.Errorf("%.100s: status %d: %s", path, a.status, a.body)
		}
	}
}

func TestIdempotencyKeyGivesTheSameSession(t *testing.T) {
	w := newWorld(t)
	var first, again, other session
	w.want(202, w.call(alice, "POST", "/api/v1/sessions", `{}`, "Idempotency-Key", "k1")).json(&first)
	w.want(202, w.call(alice, "POST", "/api/v1/sessions", `{}`, "Idempotency-Key", "k1")).json(&again)
	w.want(202, w.call(stranger, "POST", "/api/v1/sessions", `{}`, "Idempotency-Key", "k1")).json(&other)
	if first.ID != again.ID || first.ID == other.ID {
		t.Errorf("first %s, again %s, another organisation's %s", first.ID, again.ID, other.ID)
	}
	for _, header := range [][]string{
		{"Idempotency-Key", ""}, {"Idempotency-Key", "a b"}, {"Idempotency-Key", "ü"}, {"Idempotency-Key", strings.Repeat("x", 256)},
		{"Idempotency-Key", "a", "Idempotency-Key", "b"},
	} {
		if a := w.call(alice, "POST", "/api/v1/sessions", `{}`, header...); a.status != 400 || !strings.Contains(a.problem().Detail, "Idempotency-Key") {
			t.Errorf("%.40v: status %d: %s", header, a.status, a.body)
		}
	}
	w.want(202, w.call(alice, "POST", "/api/v1/sessions", `{}`, "Idempotency-Key", strings.Repeat("x", 255)))
}

func TestDurationsAreWrittenShort(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"0s": 0, "10s": 10 * time.Second, "10m": 10 * time.Minute, "1h": time.Hour, "10h": 10 * time.Hour,
		"1h30m": 90 * time.Minute, "1h0m10s": time.Hour + 10*time.Second, "1h10m": 70 * time.Minute, "1.5s": 1500 * time.Millisecond,
	} {
		if got := duration(d).String(); got != want {
			t.Errorf("%v is written %s, want %s", d, got, want)
		}
	}
}
