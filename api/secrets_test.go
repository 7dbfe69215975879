package api

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/streamspace-dev/streamspace-edge/api/auth"
)

// TestSecretsAreNeverLogged sends every kind of credential by every way there
// is, good and bad, and looks for them in everything that was logged at debug
// level and in the metrics.
func TestSecretsAreNeverLogged(t *testing.T) {
	w := newWorld(t, func(o *Options) {
		o.JoinPin = "sha256:" + strings.Repeat("ab", 32)
		o.Nodes = func(context.Context) ([]Node, error) { panic("for the log's sake") }
	})
	secrets := map[string]string{}
	for caller, secret := range w.secrets {
		secrets["the key of "+caller] = secret
	}
	cookie := w.logIn(alice)
	_, secrets["a log-in cookie"], _ = strings.Cut(cookie, "=")
	var made struct{ ID, Secret string }
	w.want(201, w.call(admin, "POST", "/api/v1/keys", `{"name":"k","role":"agent"}`)).json(&made)
	secrets["a join token"], _, _ = strings.Cut(made.Secret, "@")
	var ticket ticketAnswer
	w.want(200, w.send("GET", "/api/v1/sessions/"+w.addSession()+"/vnc", "", "Cookie", cookie)).json(&ticket)
	secrets["a ticket"] = ticket.Token
	secrets["a ticket's signature"] = ticket.Token[strings.LastIndex(ticket.Token, ".")+1:]

	for _, secret := range secrets {
		for _, path := range []string{
			"/api/v1/me", "/api/v1/me?token=" + secret, "/api/v1/" + secret, "/" + secret, "/api/v1/sessions/" + secret,
			"/api/v1/sessions?cursor=" + secret, "/api/v1/nodes",
		} {
			w.send("GET", path, "", "Authorization", "Bearer "+secret)
			w.send("GET", path, "", "Authorization", secret)
			w.send("GET", path, "", "Cookie", "streamspace="+secret)
			w.send(strings.Map(methodRunes, secret), path, "")
		}
		w.send("POST", "/api/v1/login", `{"key":"`+secret+`"}`, "Origin", w.url)
		w.send("POST", "/api/v1/login", `{"`+secret+`":"`+secret, "Origin", "https://"+secret)
		w.send("POST", "/api/v1/sessions", `{"idle_timeout":"`+secret+`"}`, "Authorization", "Bearer "+w.secrets[alice], "Idempotency-Key", secret)
	}
	l := dialEvents(t, nil, w.url, http.Header{"Cookie": {cookie}, "Origin": {w.url}})
	_ = l.ws.Close(websocket.StatusNormalClosure, "")
	w.want(204, w.call(admin, "DELETE", "/api/v1/keys/"+made.ID, ""))
	w.want(204, w.send("DELETE", "/api/v1/login", "", "Cookie", cookie, "Origin", w.url))
	w.want(500, w.call(admin, "GET", "/api/v1/nodes", ""))
	_ = w.store.Close()
	w.send("GET", "/api/v1/me", "", "Authorization", "Bearer "+w.secrets[joiner])
	w.send("GET", "/health", "")

	said := w.logs.String() + metricsText(w)
	if !strings.Contains(said, "for the log's sake") || !strings.Contains(said, "/api/v1/sessions/{id}") {
		t.Fatal("the log is not the one that was looked for")
	}
	for name, secret := range secrets {
		for _, form := range []string{
			secret, hex.EncodeToString(auth.HashSecret(secret)), base64.StdEncoding.EncodeToString(auth.HashSecret(secret)),
		} {
			if i := strings.Index(said, form); i >= 0 {
				t.Errorf("%s is told: …%s", name, said[max(0, i-200):min(len(said), i+100)])
			}
		}
	}
}

// methodRunes leaves of a secret what may stand in an HTTP method.
func methodRunes(c rune) rune {
	if c == '.' || c == '_' || c == '-' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' {
		return c
	}
	return -1
}

// metricsText is what the admin listener would tell.
func metricsText(w *world) string {
	answer := httptest.NewRecorder()
	promhttp.HandlerFor(w.registry, promhttp.HandlerOpts{}).ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	return answer.Body.String()
}
