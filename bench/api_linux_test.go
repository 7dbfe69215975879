package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/streamspace-dev/streamspace-edge/proxy/tunnel"
)

// TestBenchAPIMeasures is the whole thing, small: two edges behind PgBouncer.
func TestBenchAPIMeasures(t *testing.T) {
	out := t.TempDir()
	cmd := exec.Command(program, "bench", "api", "--sessions", "60", "--agents", "5", "--edges", "2", "--pgbouncer", "--rate", "50", "--duration", "3s", "--out", out)
	var table, progress bytes.Buffer
	cmd.Stdout, cmd.Stderr = &table, &progress
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, &progress, &table)
	}
	text, err := os.ReadFile(filepath.Join(out, "api.json"))
	if err != nil {
		t.Fatal(err)
	}
	var r APIReport
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Kinds) != len(apiKinds()) || len(r.Verdicts) != 3 || r.Error != "" {
		t.Errorf("%d kinds, %d verdicts, %q", len(r.Kinds), len(r.Verdicts), r.Error)
	}
	for _, k := range r.Kinds {
		if k.Answers == 0 || k.Errors > 0 || k.P50 <= 0 || k.P95 < k.P50 || k.Delays.TotalCount() != k.Answers {
			t.Errorf("%s: %+v", k.Kind, k)
		}
	}
	for _, name := range []string{programEdges, "postgres", "redis", "pgbouncer"} {
		if _, ok := r.Use.CPU[name]; !ok {
			t.Errorf("the CPU of %s was not measured: %v", name, r.Use.CPU)
		}
	}
	page, err := os.ReadFile(filepath.Join(out, "api.html"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"60 sessions on 5 agents, 2 edges on PostgreSQL through PgBouncer", "which this was not", "<svg", "PostgreSQL) 1", kindTicket} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if !strings.Contains(table.String(), "(for 10000 sessions, 200 agents and 500 requests a second, which this was not)") {
		t.Errorf("the table does not say that the goals are for another load:\n%s", &table)
	}
}

func TestAnAPIRunThatIsStoppedLeavesNothing(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped by the test")
	var folder string
	progress := writerFunc(func(p []byte) (int, error) {
		if where, ok := bytes.CutPrefix(p, []byte("configs are kept in ")); ok {
			folder = strings.TrimSpace(string(where))
		}
		if bytes.Contains(p, []byte("asking ")) { // everything runs
			cancel(stopped)
		}
		return len(p), nil
	})
	err := API(ctx, APIOptions{Program: program, Edges: 1, Agents: 2, Sessions: 20, Rate: 10, Duration: time.Hour, Keep: true, Out: t.TempDir(),
		Progress: progress, Table: t.Output()})
	if !errors.Is(err, stopped) {
		t.Error(err)
	}
	if lines := commandLines(t, folder); len(lines) > 0 {
		t.Errorf("still running: %q", lines)
	}
	if err := os.RemoveAll(folder); err != nil {
		t.Error(err)
	}
}

func TestWrongNumbersOfAnAPIRunAreToldWithTheRightOnes(t *testing.T) {
	good := APIOptions{Edges: 1, Agents: 1, Sessions: 20, Rate: 10, Duration: time.Second}
	for want, change := range map[string]func(*APIOptions){
		"--edges: 0 is out of range; 1 to 9":           func(o *APIOptions) { o.Edges = 0 },
		"--agents: 5001 is out of range":               func(o *APIOptions) { o.Agents = 5001 },
		"--sessions: 19 is out of range; 20 to 200000": func(o *APIOptions) { o.Sessions = 19 },
		"--rate: 1 is out of range":                    func(o *APIOptions) { o.Rate = 1 },
		"--duration: 10ms is too short":                func(o *APIOptions) { o.Duration = 10 * time.Millisecond },
	} {
		o := good
		change(&o)
		err := API(t.Context(), o)
		var usage *UsageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// TestDatabasesThatAreMissingAreNamed: PATH alone does not hide what Debian keeps
// elsewhere, so only what can be hidden is.
func TestDatabasesThatAreMissingAreNamed(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	err := databasesInstalled(databasePlan{})
	var usage *UsageError
	if !errors.As(err, &usage) || !strings.Contains(err.Error(), "apt-get install -y --no-install-recommends redis-server") {
		t.Errorf("got %v", err)
	}
}

func TestASimulatedAgentIsIdempotentAndHoldsToItsCapacity(t *testing.T) {
	var started []string
	agents, err := startSimAgents(simPlan{Edges: []string{"http://127.0.0.1:1"}, Capacity: 2, Started: func(s string) { started = append(started, s) }}, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer agents.close()
	a := agents.all[0]
	do := func(action tunnel.Action, session string) error {
		return a.command(t.Context(), tunnel.Command{ID: "c", Action: action, Session: session})
	}
	for _, session := range []string{"a", "b", "a"} {
		if err := do(tunnel.ActionStart, session); err != nil {
			t.Fatal(err)
		}
	}
	var refused *tunnel.Error
	if err := do(tunnel.ActionStart, "c"); !errors.As(err, &refused) || refused.Code != tunnel.CodeNoRoom {
		t.Errorf("the third of two: %v", err)
	}
	if len(started) != 2 || agents.sessions() != 2 || len(a.describe().Sessions) != 2 {
		t.Errorf("%v started, %d run", started, agents.sessions())
	}
	if _, err := a.open(t.Context(), tunnel.OpenRequest{Session: "c"}); !errors.As(err, &refused) || refused.Code != tunnel.CodeNoSession {
		t.Errorf("a stream of an unknown session: %v", err)
	}
	for range 2 {
		if err := do(tunnel.ActionStop, "a"); err != nil {
			t.Fatal(err)
		}
	}
	if err := do("dance", "a"); err == nil || agents.sessions() != 1 {
		t.Errorf("%d run", agents.sessions())
	}
}
