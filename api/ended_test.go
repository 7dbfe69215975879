package api

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/streamspace-dev/streamspace-edge/api/auth"
	"github.com/streamspace-dev/streamspace-edge/store"
)

// ends are the requests that ended, as they are told.
type ends struct {
	mu  sync.Mutex
	all []Ended
}

func (e *ends) note(_ *http.Request, end Ended) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, end)
}

// last waits for the n-th.
func (e *ends) last(t *testing.T, n int) Ended {
	t.Helper()
	for end := time.Now().Add(hang); ; time.Sleep(time.Millisecond) {
		e.mu.Lock()
		all := e.all
		e.mu.Unlock()
		if len(all) >= n {
			if len(all) > n {
				t.Fatalf("%d ends, want %d: %+v", len(all), n, all)
			}
			return all[n-1]
		}
		if time.Now().After(end) {
			t.Fatalf("%d ends, want %d", len(all), n)
		}
	}
}

func TestEachRequestsEndIsToldOnce(t *testing.T) {
	seen := &ends{}
	w := newWorld(t, func(o *Options) { o.Ended = seen.note })
	got := w.want(200, w.call(alice, "GET", "/api/v1/me", ""))
	if end := seen.last(t, 1); end.Status != 200 || end.Code != "" || end.Route != "/api/v1/me" || end.Bytes != int64(len(got.body)) ||
		end.RequestID != got.header.Get("X-Request-Id") || end.Came.IsZero() {
		t.Errorf("%+v", end)
	}
	w.want(401, w.send("GET", "/api/v1/sessions", "", "Accept-Encoding", "gzip"))
	if end := seen.last(t, 2); end.Status != 401 || end.Code != store.Unauthorized {
		t.Errorf("%+v", end)
	}
	cookie := w.logIn(alice)
	seen.last(t, 3)
	l := dialEvents(t, nil, w.url, http.Header{"Cookie": {cookie}, "Origin": {w.url}})
	seen.last(t, 3) // it goes on
	_ = l.ws.Close(websocket.StatusNormalClosure, "")
	if end := seen.last(t, 4); end.Status != 101 || end.Route != "/api/v1/events" {
		t.Errorf("%+v", end)
	}
}

func TestALimitRefusesBeforeAndAfterTheCallerIsKnown(t *testing.T) {
	w := newWorld(t, func(o *Options) {
		o.Limit = func(r *http.Request, c auth.Caller, answer http.Header) error {
			answer.Add("RateLimit-Policy", `"test";q=1;w=1`)
			switch {
			case c.KeyID == "" && r.Header.Get("X-Stranger") != "", c.Owner == "bob":
				answer.Set("Retry-After", "7")
				return store.Errorf(store.RateLimited, "the rate limit is used up")
			default:
				return nil
			}
		}
	})
	for _, refused := range []answer{
		w.send("GET", "/api/v1/me", "", "X-Stranger", "1"), w.send("GET", "/", "", "X-Stranger", "1"), w.call(bob, "GET", "/api/v1/me", ""),
	} {
		w.want(429, refused)
		if refused.header.Get("Retry-After") != "7" || !strings.Contains(string(refused.body), `"code":"rate_limited"`) || refused.header.Get("RateLimit-Policy") == "" {
			t.Errorf("%v %s", refused.header, refused.body)
		}
	}
	if got := w.want(200, w.call(alice, "GET", "/api/v1/me", "")); len(got.header.Values("RateLimit-Policy")) != 2 {
		t.Errorf("%v", got.header)
	}
}

// TestGuessesBehindAProxyAreTheGuessersAlone: not those of everybody behind it.
func TestGuessesBehindAProxyAreTheGuessersAlone(t *testing.T) {
	w := newWorld(t, func(o *Options) {
		o.Client = func(r *http.Request) string { return r.Header.Get("X-Test-Client") + ":0" }
	})
	for range 40 {
		w.send("GET", "/api/v1/me", "", "X-Test-Client", "192.0.2.1", "Authorization", "Bearer "+w.secrets[guesser])
	}
	w.want(429, w.send("GET", "/api/v1/me", "", "X-Test-Client", "192.0.2.1", "Authorization", "Bearer "+w.secrets[guesser]))
	w.want(401, w.send("GET", "/api/v1/me", "", "X-Test-Client", "192.0.2.2", "Authorization", "Bearer "+w.secrets[guesser]))
}

func TestAnswersCarryWhatKeepsBrowsersSafe(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.HSTS = "max-age=15552000" })
	for _, path := range []string{"/api/v1/me", "/health", "/api/v1/none", "/api/v1/openapi.yaml"} {
		got := w.call(alice, "GET", path, "")
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cross-Origin-Resource-Policy": "same-origin",
			"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'", "Strict-Transport-Security": "max-age=15552000",
		} {
			if got.header.Get(name) != want {
				t.Errorf("%s: %s is %q", path, name, got.header.Get(name))
			}
		}
	}
	if got := newWorld(t).call(alice, "GET", "/api/v1/me", ""); got.header.Get("Strict-Transport-Security") != "" {
		t.Error("HSTS is sent unasked")
	}
}
