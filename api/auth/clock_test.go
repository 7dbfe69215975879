package auth

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// ahead is a Store whose clock is ahead of this host's.
type ahead struct {
	store.Store
	by time.Duration
}

func (s ahead) ClockAhead() time.Duration { return s.by }

// TestCredentialsLastByTheStoresClock: what an edge whose own clock is an hour off
// issues is as good as any other's.
func TestCredentialsLastByTheStoresClock(t *testing.T) {
	for _, by := range []time.Duration{-time.Hour, time.Hour} {
		_, db := newAuth(t)
		a, err := New(t.Context(), ahead{db, by}, store.NewLocal())
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now().Add(by)
		token, issued, err := a.IssueTicket(Caller{KeyID: "key"}, &store.Session{ID: uuid.NewString()}, ModeView, 10*time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if left := issued.Expires.Sub(now); (left - 10*time.Minute).Abs() > time.Minute {
			t.Errorf("%v ahead: a ticket is good for %v", by, left)
		}
		if _, err := a.CheckTicket(token); err != nil {
			t.Errorf("%v ahead: its own ticket: %v", by, err)
		}
		secret, _ := addKey(t, db, store.RoleUser, func(k *store.Key) { k.ExpiresAt = now.Add(time.Minute) })
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/", nil)
		r.Header.Set("Origin", "http://"+r.Host)
		if _, err := a.Login(w, r, Site{}, secret); err != nil {
			t.Errorf("%v ahead: a key that is good for a minute: %v", by, err)
		}
		for _, c := range w.Result().Cookies() {
			r.AddCookie(c)
		}
		r.Method = http.MethodGet
		if _, err := a.Request(r, Site{}); err != nil {
			t.Errorf("%v ahead: its own log-in: %v", by, err)
		}
		expired, _ := addKey(t, db, store.RoleUser, func(k *store.Key) { k.ExpiresAt = now.Add(-time.Minute) })
		if _, err := a.Key(t.Context(), expired); store.CodeOf(err) != store.Unauthorized {
			t.Errorf("%v ahead: a key that ended a minute ago: %v", by, err)
		}
	}
}
