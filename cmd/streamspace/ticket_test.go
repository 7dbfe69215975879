package main

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/streamspace-dev/streamspace-edge/api/auth"
	"github.com/streamspace-dev/streamspace-edge/proxy"
	"github.com/streamspace-dev/streamspace-edge/store"
	"github.com/streamspace-dev/streamspace-edge/store/sqldb"
)

// TestTicketsThatOpenNothing: a page asks for a new ticket when its own has
// expired, and gives up when it is no ticket.
func TestTicketsThatOpenNothing(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	db, err := sqldb.Open(ctx, filepath.Join(t.TempDir(), "streamspace.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	e := &edge{store: db}
	if e.auth, err = auth.New(ctx, db, store.NewLocal()); err != nil {
		t.Fatal(err)
	}
	token, ticket, err := e.auth.IssueTicket(auth.Caller{KeyID: "key"}, &store.Session{ID: uuid.NewString()}, auth.ModeControl, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	for time.Now().Before(ticket.Expires) {
		time.Sleep(time.Until(ticket.Expires))
	}
	for text, want := range map[string]proxy.Reason{token: proxy.ExpiredTicket, token + "x": proxy.BadTicket, "nonsense": proxy.BadTicket} {
		_, err := e.authorizeViewer(ctx, text)
		var refused *proxy.Refusal
		if !errors.As(err, &refused) || refused.Reason != want || want.Info().Status != http.StatusUnauthorized {
			t.Errorf("%v, want %s with status 401", err, want)
		}
	}
}
