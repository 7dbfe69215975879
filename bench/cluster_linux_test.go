package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// small is a simulation of seconds.
func small(t *testing.T) (o ClusterOptions, table *bytes.Buffer) {
	table = &bytes.Buffer{}
	return ClusterOptions{Program: program, Edges: 2, Agents: 4, Sessions: 40, Viewers: 12, Duration: 100 * time.Millisecond, Seed: 1,
		Out: t.TempDir(), Progress: t.Output(), Table: table, drain: 3 * time.Second}, table
}

// TestClusterIsSimulated is the whole thing, small.
func TestClusterIsSimulated(t *testing.T) {
	o, table := small(t)
	if err := Cluster(t.Context(), o); err != nil {
		t.Fatalf("%v\n%s", err, table)
	}
	text, err := os.ReadFile(filepath.Join(o.Out, "cluster.json"))
	if err != nil {
		t.Fatal(err)
	}
	var r ClusterReport
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{phaseAgents, phaseCreate, phaseIdle, phaseViewers, phaseWatched, phaseLeave, phaseKill, phaseEnd} {
		p := r.phase(name)
		if p == nil {
			t.Fatalf("there is no phase %s", name)
		}
		for _, process := range []string{"edge-1", "edge-2", "postgres", "redis"} {
			if _, ok := p.CPU[process]; !ok || p.Memory[process] == 0 {
				t.Errorf("%s does not tell of %s: %v, %v", name, process, p.CPU, p.Memory)
			}
		}
	}
	created := r.phase(phaseCreate)
	if answers, starts := created.Delays[delayAnswer].TotalCount(), created.Delays[delayStart].TotalCount(); answers != 40 || starts != 40 {
		t.Errorf("%d answers, %d starts", answers, starts)
	}
	if created.State.Queries < 40 || created.State.RedisPublished < 40 || created.State.WAL == 0 {
		t.Errorf("%+v", created.State)
	}
	for _, name := range []string{phaseLeave, phaseKill} {
		p := r.phase(name)
		if n := p.Values[valueViewersOf+"edge-1"] + p.Values[valueViewersOf+"edge-2"]; n != 12 {
			t.Errorf("%s: %g viewers", name, n)
		}
		if p.Values[valueLost] != 0 || p.Values[valueListed] == 0 {
			t.Errorf("%s: %v %v", name, p.Values, p.Notes)
		}
	}
	// All are at edge-1 when that is killed: the other has been away.
	if p := r.phase(phaseKill); p.Delays[delayGap] == nil || p.Delays[delayGap].TotalCount() < 12 {
		t.Errorf("viewers whose edge was killed have had no gap: %v", p.Values)
	}
	for _, v := range r.Verdicts {
		if !v.Measured || v.Unit == "" && !v.Reached { // what is in seconds is the machine's
			t.Errorf("%+v", v)
		}
	}
	for _, want := range []string{"sigterm", "edges, cores", "to create a session: edges' CPU", "gap after kill -9"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, table)
		}
	}
}

func TestOneWrongByteFailsTheSimulation(t *testing.T) {
	o, table := small(t)
	o.Sessions, o.Viewers, o.corrupt, o.Duration = 2, 2, 1, 3*time.Second
	err := Cluster(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "WRONG BYTES") || !strings.Contains(table.String(), "WRONG BYTES") {
		t.Errorf("%v\n%s", err, table)
	}
}

func TestASimulationThatIsStoppedLeavesNothing(t *testing.T) {
	o, _ := small(t)
	// Not the test's own folder: PostgreSQL's user, when that is not this one, can't come through it.
	temp, err := os.MkdirTemp("", "ss-bench-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(temp) })
	if err := os.Chmod(temp, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", temp)
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped by the test")
	o.Duration = time.Hour
	o.Progress = writerFunc(func(p []byte) (int, error) {
		if bytes.HasPrefix(p, []byte(phaseIdle+":")) { // everything runs
			cancel(stopped)
		}
		return len(p), nil
	})
	if err := Cluster(ctx, o); !errors.Is(err, stopped) {
		t.Error(err)
	}
	nothingIsLeft(t, temp)
}
