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

// TestHintsTellWhatStandsInTheWay: an operator learns of it before a person who
// wants a desktop does. A demo by another name is one, and a real runtime may be
// called demo.
func TestHintsTellWhatStandsInTheWay(t *testing.T) {
	db, err := sqldb.Open(t.Context(), filepath.Join(t.TempDir(), "streamspace.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	coord := store.NewLocal()
	defer coord.Close()
	e := &edge{store: db, sessions: session.New(session.Options{Store: db, Coord: coord})}
	hello := tunnel.Hello{AgentID: uuid.Must(uuid.NewV7()).String(), Name: "host-1", Capacity: 1, Weight: 1}
	if hints := e.hints(t.Context()); len(hints) != 1 || hints[0].Code != "no_agent" {
		t.Errorf("without an agent: %+v", hints)
	}
	for name, c := range map[string]struct {
		runtimes []tunnel.Runtime
		code     string
		words    []string
	}{
		"a demo":                    {[]tunnel.Runtime{{Name: "try-it", Type: "demo"}}, "demo_only", []string{"TigerVNC"}},
		"a real one called demo":    {[]tunnel.Runtime{{Name: "demo", Type: "process"}}, "", nil},
		"a demo beside a real one":  {[]tunnel.Runtime{{Name: "a", Type: "demo"}, {Name: "b", Type: "static"}}, "", nil},
		"an agent that tells none":  {[]tunnel.Runtime{{Name: "desktop"}}, "", nil},
		"a program that is missing": {[]tunnel.Runtime{{Name: "desktop", Type: "process", Missing: "Xtigervnc is not installed"}, {Name: "vm"}}, "runtime_missing", []string{"host-1", "desktop", "Xtigervnc is not installed"}},
	} {
		t.Run(name, func(t *testing.T) {
			hello.Runtimes = c.runtimes
			a, err := db.EnrolAgent(t.Context(), agentOf(hello, "key"))
			if err != nil {
				t.Fatal(err)
			}
			e.sessions.AgentUp(a, 1, nil)
			hints := e.hints(t.Context())
			if c.code == "" {
				if len(hints) > 0 {
					t.Errorf("hints %+v", hints)
				}
				return
			}
			if len(hints) != 1 || hints[0].Code != c.code {
				t.Fatalf("hints %+v, not %s", hints, c.code)
			}
			for _, words := range c.words {
				if !strings.Contains(hints[0].Text, words) {
					t.Errorf("%q does not name %s", hints[0].Text, words)
				}
			}
		})
	}
}

func TestAnAgentsRefusalTellsWhetherToAskAgain(t *testing.T) {
	for code, want := range map[tunnel.Code]store.Code{
		tunnel.CodeNoRoom: store.NoAgent, tunnel.CodeVNCRefused: store.Internal, tunnel.CodeUnavailable: store.Unavailable, // later, perhaps
		tunnel.CodeNoRuntime: store.Conflict, tunnel.CodeRuntimeMissing: store.Conflict, tunnel.CodeVNCPassword: store.Conflict, // not that agent
		tunnel.CodeBadRequest: store.Invalid,
	} {
		if got := store.CodeOf(storeError(tunnel.Errorf(code, "words"))); got != want {
			t.Errorf("%s is %s, not %s", code, got, want)
		}
	}
}

// TestEdgesThatDecideByTheSameRowSendTheSameStart: the agent takes it once.
func TestEdgesThatDecideByTheSameRowSendTheSameStart(t *testing.T) {
	row := &store.Session{ID: "1", UpdatedAt: time.UnixMicro(7)}
	same := &store.Session{ID: "1", UpdatedAt: time.UnixMicro(7).UTC(), Reason: "another"}
	if startID(row) != startID(same) {
		t.Errorf("%s and %s", startID(row), startID(same))
	}
	for _, other := range []*store.Session{{ID: "2", UpdatedAt: row.UpdatedAt}, {ID: "1", UpdatedAt: time.UnixMicro(8)}} {
		if startID(row) == startID(other) {
			t.Errorf("another row has the same start: %+v", other)
		}
	}
}
