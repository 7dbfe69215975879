package main

import (
	"context"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/streamspace-dev/streamspace-edge/proxy"
	"github.com/streamspace-dev/streamspace-edge/session"
	"github.com/streamspace-dev/streamspace-edge/store"
	"github.com/streamspace-dev/streamspace-edge/store/sqldb"
)

// TestOpeningASessionToControlItIsUse and opening it to look is not: use is
// written once a minute at most, so the second would not be seen after the
// first.
func TestOpeningASessionToControlItIsUse(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second) // ends the waits for changes
	defer cancel()
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	db, err := sqldb.Open(ctx, filepath.Join(t.TempDir(), "streamspace.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	row, _, err := db.CreateSession(ctx, &store.Session{
		ID: uuid.Must(uuid.NewV7()).String(), State: store.Running, Desired: store.Running, Endpoint: server.Addr().String(),
		LastActivity: time.Now().Add(-time.Hour),
	}, "")
	if err != nil {
		t.Fatal(err)
	}
	direct, err := proxy.NewDirect(proxy.DirectConfig{Allow: []string{"127.0.0.1/32:1-65535"}})
	if err != nil {
		t.Fatal(err)
	}
	coord := store.NewLocal()
	defer coord.Close()
	changes := coord.Subscribe(ctx)
	e := &edge{store: db, direct: direct, sessions: session.New(session.Options{Store: db, Coord: coord})}
	running, end := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- e.sessions.Run(running) }()
	defer func() { end(); <-ended }()
	e.sessions.Viewers(row.ID, 1)
	<-changes // the session is known

	var opened time.Time
	for _, mode := range []proxy.Mode{proxy.View, proxy.Control} {
		opened = time.Now()
		conn, err := e.dialSession(ctx, proxy.Grant{Session: row.ID, Mode: mode}, "stream")
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	<-changes // LastActivity is written
	s, err := db.Session(ctx, row.ID)
	if err != nil {
		t.Fatal(err)
	}
	if s.LastActivity.Before(opened.Truncate(time.Microsecond)) {
		t.Errorf("LastActivity is %v, want %v or later", s.LastActivity, opened)
	}
}
