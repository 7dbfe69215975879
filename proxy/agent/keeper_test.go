//go:build linux

package agent

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/streamspace-dev/streamspace-edge/proxy/tunnel"
)

// daemonRuntime's desktop is a daemon that only its keeper holds: no parent, no
// mark, a session of its own.
func daemonRuntime() RuntimeConfig {
	return RuntimeConfig{Name: "daemon", Type: TypeProcess, Desktop: []string{
		"sh", "-c", "(env -i setsid sleep 1001 >/dev/null 2>&1 &); exec sleep 1002",
	}}
}

var daemonProcesses = []string{"Xtigervnc", "sleep 1001\n", "sleep 1002\n"}

func signalTo(t *testing.T, p process, s syscall.Signal) {
	t.Helper()
	if err := p.signal(s); err != nil {
		t.Fatal(err)
	}
}

func kill(t *testing.T, p process) {
	t.Helper()
	signalTo(t, p, syscall.SIGKILL)
	goes(t, p)
}

// keeperOf is the session's keeper.
func keeperOf(t *testing.T, id string) process {
	t.Helper()
	all := anyTree(id)
	if _, err := all.members(); err != nil || len(all.keepers) != 1 {
		t.Fatalf("session %s has the keepers %v, %v; want one", id, all.keepers, err)
	}
	for p := range all.keepers {
		return p
	}
	panic("unreachable")
}

// TestWhatAKilledAgentLeftIsHeldByItsKeeper: whatever else ends while no agent
// is there, the next one loses no session that could go on, and nothing is left
// when it is ended.
func TestWhatAKilledAgentLeftIsHeldByItsKeeper(t *testing.T) {
	for _, c := range []struct {
		name      string
		meanwhile func(t *testing.T, dir string, keeper process, r *record)
		state     tunnel.SessionState // after the adoption
		words     string
	}{
		{"nothing", func(*testing.T, string, process, *record) {}, tunnel.SessionRunning, ""},
		{"signals to the keeper", func(t *testing.T, _ string, keeper process, _ *record) {
			for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT} {
				signalTo(t, keeper, s)
			}
		}, tunnel.SessionRunning, ""},
		{"a stopped keeper", func(t *testing.T, _ string, keeper process, _ *record) {
			signalTo(t, keeper, syscall.SIGSTOP)
		}, tunnel.SessionRunning, ""},
		{"a killed server", func(t *testing.T, _ string, _ process, r *record) {
			kill(t, *r.Server)
		}, tunnel.SessionFailed, "ended while the agent was away"},
		{"killed server and desktop", func(t *testing.T, _ string, _ process, r *record) {
			kill(t, *r.Desktop)
			kill(t, *r.Server)
		}, tunnel.SessionFailed, "ended while the agent was away"},
		{"a wish to end", func(t *testing.T, dir string, _ process, _ *record) {
			if err := os.WriteFile(filepath.Join(dir, stopFile), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, tunnel.SessionEnded, ""},
		{"a lost record", func(t *testing.T, dir string, _ process, _ *record) {
			if err := os.Remove(filepath.Join(dir, recordFile)); err != nil {
				t.Fatal(err)
			}
		}, tunnel.SessionEnded, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			data := t.TempDir()
			before := startChildAgent(t, data, daemonRuntime())
			id := before.start("")
			before.becomes(id, tunnel.SessionRunning)
			members := treeOf(t, id, daemonProcesses...)
			before.kill()
			c.meanwhile(t, filepath.Join(data, sessionsFolder, id), keeperOf(t, id), recordOf(t, data, id))

			a := startAgent(t, data, daemonRuntime())
			if c.state == tunnel.SessionRunning {
				a.greets(id)
				noneGone(t, members)
				a.stop(id)
				a.becomes(id, tunnel.SessionEnded)
			} else {
				wantWords(t, a.becomes(id, c.state).Reason, c.words)
			}
			nothingLeft(t, data, id)
			noneAlive(t, members)
		})
	}
}

func noneGone(t *testing.T, members []process) {
	t.Helper()
	for _, p := range members {
		if !p.alive() {
			t.Errorf("process %d is gone", p.PID)
		}
	}
}

// TestKilledKeeperEndsNothing: its session runs on, with this agent and with
// the next one, and what can be found without it is ended.
func TestKilledKeeperEndsNothing(t *testing.T) {
	data := t.TempDir()
	first := startAgent(t, data, processRuntime())
	stopped, failed := first.running(""), first.running("")
	var members []process
	for _, id := range []string{stopped, failed} {
		members = append(members, treeOf(t, id, "Xtigervnc", "openbox", "xterm")...)
		kill(t, keeperOf(t, id))
		first.greets(id)
	}
	kill(t, *recordOf(t, data, failed).Server)
	last := first.becomes(failed, tunnel.SessionFailed)
	wantWords(t, last.Reason, "Xtigervnc", "how is not known")
	nothingLeft(t, data, failed)
	first.leave()

	second := startAgent(t, data, processRuntime())
	second.greets(stopped)
	second.stop(stopped)
	second.becomes(stopped, tunnel.SessionEnded)
	nothingLeft(t, data, stopped)
	noneAlive(t, members)
}

// TestSessionWithoutAKeeperIsAdopted: agents of before had none.
func TestSessionWithoutAKeeperIsAdopted(t *testing.T) {
	data := t.TempDir()
	boot, err := bootID()
	if err != nil {
		t.Fatal(err)
	}
	id := plant(t, data, nil)
	dir := filepath.Join(data, sessionsFolder, id)
	r := &record{Runtime: "desktop", Type: TypeProcess, State: tunnel.SessionRunning, Boot: boot, Address: unixPrefix + filepath.Join(dir, socketFile)}
	before, err := loadIdentity(data)
	if err != nil {
		t.Fatal(err)
	}
	nowhere, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer nowhere.Close()
	command := func(name string, args ...string) *process {
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		cmd.ExtraFiles = []*os.File{nowhere} // for the server to write its display to
		cmd.Env = environment(nil, id, before.ID, dir, "")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			cmd.Process.Kill()
			cmd.Wait()
		})
		p, err := processOf(cmd.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		return &p
	}
	if err := writeXauthority(filepath.Join(dir, xauthFile)); err != nil {
		t.Fatal(err)
	}
	line, err := expand(xvncCommand("Xtigervnc"), map[string]string{
		wordDisplayFD: "3", wordSocket: socketArgument(dir), wordXauth: filepath.Join(dir, xauthFile),
		wordWidth: "640", wordHeight: "480", wordName: "before",
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Server = command(line[0], line[1:]...)
	r.Desktop = command("sh", "-c", "(setsid sleep 1001 &); (env -i nohup sleep 1002 >/dev/null 2>&1 &); sleep 1003; :")
	eventually(t, "it greets", func() error { return checkGreeting(t.Context(), r.Address) })
	if err := r.save(dir); err != nil {
		t.Fatal(err)
	}
	var members []process
	eventually(t, "all of them run", func() error {
		members, err = anyTree(id, *r.Server, *r.Desktop).members()
		if err == nil && len(members) != 5 {
			err = fmt.Errorf("they are %v", members)
		}
		return err
	})

	a := startAgent(t, data, processRuntime())
	a.greets(id)
	noneGone(t, members)
	a.stop(id)
	a.becomes(id, tunnel.SessionEnded)
	nothingLeft(t, data, id)
	noneAlive(t, members)
}

// TestKeeperEndsWithTheLastOfItsProcesses, also when no agent is there to end
// it, and not before.
func TestKeeperEndsWithTheLastOfItsProcesses(t *testing.T) {
	data := t.TempDir()
	a := startAgent(t, data, daemonRuntime())
	id := a.running("")
	members := treeOf(t, id, daemonProcesses...)
	keeper := keeperOf(t, id)
	a.leave()
	r := recordOf(t, data, id)
	kill(t, *r.Server)
	kill(t, *r.Desktop)
	if !keeper.alive() {
		t.Error("the keeper ended while the daemon ran")
	}
	for _, p := range members {
		if p != keeper {
			kill(t, p)
		}
	}
	goes(t, keeper)
}

// TestProgramsInheritNothingOfTheirKeeper: neither the way to its agent nor its
// environment.
func TestProgramsInheritNothingOfTheirKeeper(t *testing.T) {
	data := t.TempDir()
	a := startAgent(t, data, bareRuntime())
	id := a.running("")
	r := recordOf(t, data, id)
	eventually(t, "the desktop is what it was told to be", func() error {
		if commandLine(*r.Desktop) != "sleep 1000" {
			return errors.New(commandLine(*r.Desktop))
		}
		return nil
	})
	for _, p := range []*process{r.Server, r.Desktop} {
		for _, variable := range p.environment() {
			if isKeeperMark(variable) {
				t.Errorf("%s has %s", commandLine(*p), variable)
			}
		}
	}
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", r.Desktop.PID))
	if err != nil || len(links) < 3 {
		t.Fatalf("its descriptors are %v, %v", links, err)
	}
	for _, link := range links {
		if target, _ := os.Readlink(link); strings.HasPrefix(target, "socket:") {
			t.Errorf("the desktop has %s, which is %s", link, target)
		}
	}
}
