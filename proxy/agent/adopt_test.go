//go:build linux

package agent

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/streamspace-dev/streamspace-edge/proxy/tunnel"
)

func TestKilledAgentsSessionsAreAdopted(t *testing.T) {
	data := t.TempDir()
	before := startChildAgent(t, data, bareRuntime())
	id, doomed := before.start("bare"), before.start("bare")
	before.becomes(id, tunnel.SessionRunning)
	before.becomes(doomed, tunnel.SessionRunning)
	server := recordOf(t, data, id).Server
	before.kill()
	victim := recordOf(t, data, doomed).Server
	if err := syscall.Kill(victim.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	goes(t, *victim)

	a := startAgent(t, data, bareRuntime())
	a.greets(id)
	if now := recordOf(t, data, id).Server; *now != *server || !server.alive() {
		t.Errorf("the VNC server is %v, was %v", now, server)
	}
	last := a.becomes(doomed, tunnel.SessionFailed)
	wantWords(t, last.Reason, "ended while the agent was away")
	nothingLeft(t, data, doomed)
	if hello := a.Hello().Sessions; len(hello) != 1 || hello[0].Session != id || hello[0].State != tunnel.SessionRunning {
		t.Errorf("the hello says %+v", hello)
	}

	if err := syscall.Kill(server.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	last = a.becomes(id, tunnel.SessionFailed)
	wantWords(t, last.Reason, "killed")
	nothingLeft(t, data, id)
}

func TestAgentThatLeavesKeepsItsSessions(t *testing.T) {
	data := t.TempDir()
	first := startAgent(t, data, processRuntime())
	id := first.running("")
	processesInclude(t, id, "xterm")
	first.leave()
	if n := len(first.reports.of(id)); n != 2 {
		t.Errorf("leaving is reported as the end of the session: %v", first.reports.of(id))
	}

	second := startAgent(t, data, RuntimeConfig{Name: "another", Type: TypeDemo}) // the runtime is out of the config
	second.greets(id)
	processesInclude(t, id, "xterm")
	second.stop(id)
	second.becomes(id, tunnel.SessionEnded)
	nothingLeft(t, data, id)
}

// TestStartCutShortAtAnyStepIsBegunAnew kills the agent at moments spread over
// a start, and looks that the next one has the session running exactly once.
func TestStartCutShortAtAnyStepIsBegunAnew(t *testing.T) {
	for _, step := range []struct {
		name    string
		reached func(r *record, processes []string) bool
	}{
		{"acknowledged", func(r *record, _ []string) bool { return r != nil }},
		{"a process", func(_ *record, processes []string) bool { return len(processes) > 0 }},
		{"server on disk", func(r *record, _ []string) bool { return r != nil && r.Server != nil }},
		{"desktop", func(_ *record, processes []string) bool { return len(processes) > 1 }},
	} {
		t.Run(step.name, func(t *testing.T) {
			data := t.TempDir()
			before := startChildAgent(t, data, bareRuntime())
			id := before.start("bare")
			eventually(t, "the step is reached", func() error {
				r, _ := loadRecord(filepath.Join(data, sessionsFolder, id))
				if !step.reached(r, processesOf(t, id)) {
					return errors.New("not yet")
				}
				return nil
			})
			before.kill()

			a := startAgent(t, data, bareRuntime())
			eventually(t, "the session runs", func() error {
				_, err := a.open(id)
				return err
			})
			a.greets(id)
			if processes := processesOf(t, id); len(processes) != 2 {
				t.Errorf("its processes are %q, want a server and a desktop", processes)
			}
			a.endAll()
			nothingLeft(t, data, id)
		})
	}
}

// plant makes what an agent that was killed would leave of a session.
func plant(t *testing.T, data string, r *record) (id string) {
	t.Helper()
	id = newID(t)
	dir := filepath.Join(data, sessionsFolder, id)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if r != nil {
		if err := r.save(dir); err != nil {
			t.Fatal(err)
		}
	}
	return id
}

// stray is a process that carries a session's mark.
func stray(t *testing.T, agent, session string) process {
	t.Helper()
	cmd := exec.Command("sleep", "1000")
	cmd.Env = []string{sessionVariable + "=" + session, agentVariable + "=" + agent}
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
	return p
}

func goes(t *testing.T, p process) {
	t.Helper()
	eventually(t, "the process goes", func() error {
		if p.alive() {
			return fmt.Errorf("%d is alive", p.PID)
		}
		return nil
	})
}

func TestWhatAnAgentLeftIsAdoptedOrEnded(t *testing.T) {
	boot, err := bootID()
	if err != nil {
		t.Fatal(err)
	}
	self, err := processOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	running := record{Runtime: "bare", Type: TypeProcess, State: tunnel.SessionRunning, Boot: boot, Address: "unix:/nowhere"}
	tests := []struct {
		name  string
		make  func(r record) *record
		spoil func(t *testing.T, dir string)
		state tunnel.SessionState
		words string
	}{
		{"not acknowledged", func(record) *record { return nil }, nil, tunnel.SessionEnded, ""},
		{"damaged state", func(r record) *record { return &r }, func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, recordFile), []byte("{"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, tunnel.SessionFailed, "can't be read"},
		{"told to end", func(r record) *record { return &r }, func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, stopFile), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, tunnel.SessionEnded, ""},
		{"host restarted, pid is somebody else's", func(r record) *record {
			r.Boot, r.Server = "another", &self
			return &r
		}, nil, tunnel.SessionFailed, "restarted"},
		{"pid used again", func(r record) *record {
			r.Server = &process{PID: self.PID, Start: self.Start - 1}
			return &r
		}, nil, tunnel.SessionFailed, "ended while the agent was away"},
		{"start whose runtime is gone", func(r record) *record {
			r.State, r.Runtime = tunnel.SessionStarting, "gone"
			return &r
		}, nil, tunnel.SessionFailed, `"gone" is not in the agent's config`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			data := t.TempDir()
			id := plant(t, data, test.make(running))
			if test.spoil != nil {
				test.spoil(t, filepath.Join(data, sessionsFolder, id))
			}
			before, err := loadIdentity(data)
			if err != nil {
				t.Fatal(err)
			}
			left := stray(t, before.ID, id)
			a := startAgent(t, data, bareRuntime())
			last := a.becomes(id, test.state)
			wantWords(t, last.Reason, test.words)
			goes(t, left)
			nothingLeft(t, data, id)
		})
	}
}

func TestServerThatDoesNotAnswerIsNotAdopted(t *testing.T) {
	data := t.TempDir()
	first := startAgent(t, data, bareRuntime())
	id := first.running("")
	first.leave()
	if err := os.Remove(filepath.Join(data, sessionsFolder, id, socketFile)); err != nil {
		t.Fatal(err)
	}
	second := startAgent(t, data, bareRuntime())
	last := second.becomes(id, tunnel.SessionFailed)
	wantWords(t, last.Reason, "does not answer")
	nothingLeft(t, data, id)
}

func TestProcessesWithoutAFolderAreEnded(t *testing.T) {
	data := t.TempDir()
	first := startAgent(t, data, bareRuntime())
	id := first.running("")
	r := recordOf(t, data, id)
	first.leave()
	if err := os.RemoveAll(filepath.Join(data, sessionsFolder, id)); err != nil {
		t.Fatal(err)
	}
	foreign := stray(t, newID(t), newID(t)) // another agent's
	second := startAgent(t, data, bareRuntime())
	goes(t, *r.Server)
	goes(t, *r.Desktop)
	second.endAll()
	if !foreign.alive() {
		t.Error("another agent's process was ended")
	}
}

func TestDemoSessionIsStartedAnewByTheNextAgent(t *testing.T) {
	data := t.TempDir()
	runtime := RuntimeConfig{Name: "demo", Type: TypeDemo}
	first := startAgent(t, data, runtime)
	id := first.running("demo")
	first.greets(id)
	first.leave()
	second := startAgent(t, data, runtime)
	second.greets(id)
	second.stop(id)
	second.becomes(id, tunnel.SessionEnded)
	nothingLeft(t, data, id)
}
