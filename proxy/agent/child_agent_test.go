//go:build linux

package agent

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/streamspace-dev/streamspace-edge/proxy/tunnel"
)

// The test binary is an agent process when these are set.
const (
	childData     = "AGENT_TEST_DATA"
	childRuntimes = "AGENT_TEST_RUNTIMES"
)

// runChild is an agent that takes commands as JSON lines and prints reports as
// JSON lines, until it is killed.
func runChild(data string) int {
	var runtimes []RuntimeConfig
	if err := json.Unmarshal([]byte(os.Getenv(childRuntimes)), &runtimes); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	a, err := New(Options{
		Name: "child", Data: data, Capacity: 20, Weight: 1, Runtimes: runtimes, Keeper: keeperWord,
		Report: func(r tunnel.Report) { json.NewEncoder(os.Stdout).Encode(r) },
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go a.Run(ctx)
	for commands := json.NewDecoder(os.Stdin); ; {
		var c tunnel.Command
		if err := commands.Decode(&c); err != nil {
			return 0
		}
		if err := a.Command(ctx, c); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
}

// childAgent is an agent in a process of its own, that can be killed.
type childAgent struct {
	t        *testing.T
	cmd      *exec.Cmd
	commands *json.Encoder
	reports  *reports
	read     chan struct{} // closed when all its reports are read
}

func startChildAgent(t *testing.T, data string, runtimes ...RuntimeConfig) *childAgent {
	t.Helper()
	text, err := json.Marshal(runtimes)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childData+"="+data, childRuntimes+"="+string(text))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &childAgent{t: t, cmd: cmd, commands: json.NewEncoder(in), reports: &reports{}, read: make(chan struct{})}
	go func() {
		defer close(c.read)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var r tunnel.Report
			if json.Unmarshal(lines.Bytes(), &r) == nil {
				c.reports.add(r)
			}
		}
	}()
	t.Cleanup(c.kill)
	return c
}

func (c *childAgent) kill() {
	if c.cmd.ProcessState != nil {
		return
	}
	c.cmd.Process.Kill()
	<-c.read
	c.cmd.Wait()
}

func (c *childAgent) start(runtime string) (id string) {
	c.t.Helper()
	id = newID(c.t)
	if err := c.commands.Encode(tunnel.Command{Action: tunnel.ActionStart, Session: id, Runtime: runtime}); err != nil {
		c.t.Fatal(err)
	}
	return id
}

func (c *childAgent) becomes(id string, want tunnel.SessionState) {
	c.t.Helper()
	eventually(c.t, "session "+id+" becomes "+string(want), func() error {
		for _, r := range c.reports.of(id) {
			if r.State == want {
				return nil
			}
		}
		return fmt.Errorf("%v", c.reports.of(id))
	})
}
