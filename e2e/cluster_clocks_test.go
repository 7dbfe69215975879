package e2e

import (
	"fmt"
	"math"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store/storetest/hostclock"
)

// clocks are those of the hosts of edges and agents. The zero value has none:
// all go by this machine's.
type clocks struct {
	program string                      // that goes by them
	of      map[string]*hostclock.Clock // by edge's or agent's name
}

// clockProgram builds the program for them once, beside the other.
var clockProgram = sync.OnceValues(func() (built string, err error) {
	folder := filepath.Dir(program)
	overlay, err := hostclock.Overlay(folder)
	if err != nil {
		return "", err
	}
	built = filepath.Join(folder, "streamspace-with-clock")
	if output, err := exec.Command("go", "build", "-overlay", overlay, "-o", built, "../cmd/streamspace").CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the binary: %w\n%s", err, output)
	}
	return built, nil
})

func newClocks(t *testing.T) clocks {
	t.Helper()
	built, err := clockProgram()
	if err != nil {
		t.Fatal(err)
	}
	return clocks{program: built, of: map[string]*hostclock.Clock{}}
}

// start runs the program on the host of that name, as start does.
func (c clocks) start(t *testing.T, host string, args ...string) *process {
	t.Helper()
	if c.program == "" {
		return start(t, args...)
	}
	if c.of[host] == nil {
		c.of[host] = hostclock.New(t, t.TempDir())
	}
	return startProgram(t, c.program, append(environment(t), c.of[host].Environ()...), args...)
}

// TestAClockOfAHost: edges and agents go by the clocks that they were given, and
// an edge whose clock is wrong is told of.
func TestAClockOfAHost(t *testing.T) {
	plan := smallFleet()
	plan.clocks = true
	f := startFleetOf(t, plan)
	f.clocks.of[edgeName(0)].Set(clockJump)
	f.clocks.of[agentName(0)].Set(-clockJump)
	eventually(t, "all edges tell of the clock of the first", func() error {
		for _, in := range f.edges {
			var told struct {
				Nodes []struct {
					ID     string
					Offset float64 `json:"clock_offset"`
				}
			}
			if err := in.get("/api/v1/nodes", &told); err != nil {
				return err
			}
			for _, n := range told.Nodes {
				want := 0.0
				if n.ID == edgeName(0) {
					want = clockJump.Seconds()
				}
				if math.Abs(n.Offset-want) > 5 {
					return fmt.Errorf("%s tells that %s is %g s ahead, not %g", in.URL, n.ID, n.Offset, want)
				}
			}
		}
		return nil
	})
	f.endAll(f.populate()) // which every agent logs
	eventually(t, "the first agent logs by its clock", func() error {
		lines := strings.Split(strings.TrimSpace(f.agents[0].output.String()), "\n")
		at, _, _ := strings.Cut(lines[len(lines)-1], "\t")
		logged, err := time.Parse(time.RFC3339, at)
		if behind := time.Since(logged); err == nil && (behind < clockJump || behind > clockJump+time.Minute) {
			err = fmt.Errorf("its last line is of %s", at)
		}
		return err
	})
}
