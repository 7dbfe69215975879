package main

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/streamspace-dev/streamspace-edge/proxy"
	"github.com/streamspace-dev/streamspace-edge/proxy/tunnel"
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

// TestAMissingProgramIsAHint: an operator learns of it before a person who wants
// a desktop does.
func TestAMissingProgramIsAHint(t *testing.T) {
	db, err := sqldb.Open(t.Context(), filepath.Join(t.TempDir(), "streamspace.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	coord := store.NewLocal()
	defer coord.Close()
	e := &edge{store: db, sessions: session.New(session.Options{Store: db, Coord: coord})}
	hello := tunnel.Hello{AgentID: uuid.Must(uuid.NewV7()).String(), Name: "host-1", Capacity: 1, Weight: 1,
		Runtimes: []tunnel.Runtime{{Name: "desktop", Missing: "Xtigervnc is not installed"}, {Name: "vm"}}}
	a, err := db.EnrolAgent(t.Context(), agentOf(hello, "key"))
	if err != nil {
		t.Fatal(err)
	}
	e.sessions.AgentUp(a, 1, nil)
	hints := e.hints(t.Context())
	if len(hints) != 1 || hints[0].Code != "runtime_missing" {
		t.Fatalf("hints %+v", hints)
	}
	for _, words := range []string{"host-1", "desktop", "Xtigervnc is not installed"} {
		if !strings.Contains(hints[0].Text, words) {
			t.Errorf("%q does not name %s", hints[0].Text, words)
		}
	}
}
