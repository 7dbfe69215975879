package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const processRuntime = "  - {name: desktop, type: process}"

// TestEdgeKilledAfter202StartsTheSessionWhenItIsBack: acknowledged means
// durable, ten times over.
func TestEdgeKilledAfter202StartsTheSessionWhenItIsBack(t *testing.T) {
	in := startEdgeAndAgent(t, "  - {name: demo, type: demo}", "")
	for range 10 {
		d := in.create(nil)
		in.process.kill()
		in.startEdge()
		in.becomes(d.ID, "running")
	}
}

// Each kind of kill comes this often, so that what each leaks adds up.
const kills = 3

// TestEdgeKilledWhileDesktopsRun: its viewers' streams end, the agent is back by
// itself and has kept nothing of them, the same desktops run on, no key or
// log-in was lost.
func TestEdgeKilledWhileDesktopsRun(t *testing.T) {
	in := startEdgeAndAgent(t, processRuntime, "")
	id := in.running(nil).ID
	server := xvnc(t, id)
	cookie := in.logIn()
	ctx := testContext(t)
	in.agent.stop()
	in.startAgent() // it has adopted the desktop, as the next one will
	in.visit(ctx, id)
	before := in.settledFootprint()

	for range kills {
		viewer := in.watching(ctx, id)
		in.process.kill()
		wantEnd(t, viewer) // without a word: who could say it is dead
		in.startEdge()
		in.agentsOnline(1)
		in.becomes(id, "running")
		if !alive(server) || xvnc(t, id) != server {
			t.Errorf("the desktop is another one after the edge was killed")
		}
	}
	in.visit(ctx, id)
	if status := in.whoAmI(cookie); status != http.StatusOK {
		t.Errorf("the log-in from before the kill is answered %d", status)
	}
	in.nothingLeft(before)
	survivor := in.quitAgent()
	in.startAgent()
	in.visit(ctx, id)
	in.nothingLeft(before)
	if fresh := in.quitAgent(); survivor > fresh+passing {
		t.Errorf("after %d kills of the edge the agent had %d goroutines; a new one has %d", kills, survivor, fresh)
	}
	in.startAgent()
	in.call("DELETE", "/api/v1/sessions/"+id, nil, http.StatusAccepted, nil)
	in.becomes(id, "terminated")
	noProcesses(t, id)
}

// TestAgentKilledWhileDesktopsRun: told as unreachable, its viewers told,
// adopted by the next agent, seen again, and the edge has kept nothing.
func TestAgentKilledWhileDesktopsRun(t *testing.T) {
	in := startEdgeAndAgent(t, processRuntime, "")
	id := in.running(nil).ID
	server := xvnc(t, id)
	ctx := testContext(t)
	in.visit(ctx, id)
	before := in.settledFootprint()

	for range kills {
		viewer := in.watching(ctx, id)
		in.agent.kill()
		wantEnd(t, viewer, "4501 server_reset")
		in.agentsOnline(0)
		in.becomes(id, "unreachable")
		in.startAgent()
		in.becomes(id, "running")
		if xvnc(t, id) != server {
			t.Error("the desktop is another one after the agent was killed")
		}
	}
	in.visit(ctx, id)
	in.nothingLeft(before)
	in.call("DELETE", "/api/v1/sessions/"+id, nil, http.StatusAccepted, nil)
	in.becomes(id, "terminated")
	noProcesses(t, id)
}

// TestAgentRestartKeepsDesktops: a SIGTERM is told at once, desktops run on.
func TestAgentRestartKeepsDesktops(t *testing.T) {
	in := startEdgeAndAgent(t, processRuntime, "")
	id := in.running(nil).ID
	server := xvnc(t, id)
	in.agent.stop()
	d := in.becomes(id, "unreachable")
	if !strings.Contains(d.Reason, "its desktops run on") {
		t.Errorf("the reason is %q; it should say that the desktops run on", d.Reason)
	}
	in.startAgent()
	in.becomes(id, "running")
	if xvnc(t, id) != server {
		t.Error("the desktop is another one after the agent restarted")
	}
	in.call("DELETE", "/api/v1/sessions/"+id, nil, http.StatusAccepted, nil)
	noProcesses(t, id)
}

// TestXvncKilled: its session fails with a reason, its viewer is told, its
// process tree goes, nothing of it is left, the neighbour does not notice.
func TestXvncKilled(t *testing.T) {
	in := startEdgeAndAgent(t, processRuntime, "")
	neighbour := in.running(nil).ID
	ctx := testContext(t)
	beside := in.watching(ctx, neighbour)
	fall := func() {
		victim := in.running(nil).ID
		viewer := in.watching(ctx, victim)
		if err := killProcess(xvnc(t, victim)); err != nil {
			t.Fatal(err)
		}
		// The connection's end comes first, or the session's that follows from it.
		wantEnd(t, viewer, "4500 server_closed", "4501 server_reset", "4410 session_ended")
		if d := in.becomes(victim, "failed"); !strings.Contains(d.Reason, "kill") {
			t.Errorf("the reason is %q; it should say that the VNC server was killed", d.Reason)
		}
		noProcesses(t, victim)
	}
	fall()
	before := in.settledFootprint()
	for range kills {
		fall()
	}
	in.nothingLeft(before)
	in.becomes(neighbour, "running")
	if err := resize(beside, 640, 480); err != nil {
		t.Errorf("the neighbour's viewer: %v", err)
	}
}

// TestStopEndsTheWholeTree: also what a user started and detached, and a daemon
// that nothing tells to be of this session, after a kill of the agent.
func TestStopEndsTheWholeTree(t *testing.T) {
	folder := t.TempDir()
	hostile, daemonID := filepath.Join(folder, "desktop.sh"), filepath.Join(folder, "daemon.pid")
	writeText(t, hostile, "trap '' TERM HUP\nsetsid sh -c 'trap \"\" TERM HUP; sleep 1000' &\n(nohup sleep 1001 >/dev/null 2>&1 &)\n"+
		"(env -i setsid sh -c 'echo $$ >"+daemonID+"; exec sleep 1003' >/dev/null 2>&1 &)\nsleep 1002\n")
	in := startEdgeAndAgent(t, fmt.Sprintf("  - {name: desktop, type: process, desktop: [sh, %q]}", hostile), "")
	id := in.running(nil).ID
	eventually(t, "the detached processes run", func() error {
		all := fmt.Sprint(sessionProcesses(t, id))
		for _, want := range []string{"sleep 1000", "sleep 1001", "sleep 1002"} {
			if !strings.Contains(all, want) {
				return fmt.Errorf("%s is not among %s", want, all)
			}
		}
		return nil
	})
	var daemon int
	eventually(t, "the daemon runs", func() error {
		text, err := os.ReadFile(daemonID)
		if err == nil {
			_, err = fmt.Sscan(string(text), &daemon)
		}
		return err
	})
	in.agent.kill()
	in.startAgent()
	in.becomes(id, "running")
	if !alive(daemon) {
		t.Error("the daemon ended with the agent")
	}
	in.call("DELETE", "/api/v1/sessions/"+id, nil, http.StatusAccepted, nil)
	in.call("DELETE", "/api/v1/sessions/"+id, nil, http.StatusAccepted, nil) // again: still 202
	in.becomes(id, "terminated")
	noProcesses(t, id)
	if alive(daemon) {
		t.Errorf("the daemon %d is left", daemon)
	}
}

// TestShutDownForGood: on_shutdown end leaves nothing and says so.
func TestShutDownForGood(t *testing.T) {
	in := startEdgeAndAgent(t, processRuntime+"\non_shutdown: end", "")
	id := in.running(nil).ID
	in.agent.stop()
	noProcesses(t, id)
	if d := in.becomes(id, "terminated"); !strings.Contains(d.Reason, "shut down") {
		t.Errorf("the reason is %q; it should say that the agent was shut down", d.Reason)
	}
}

// TestDevEndsItsDesktops: who tries it out has nothing left afterwards, and
// the next start has the same key.
func TestDevEndsItsDesktops(t *testing.T) {
	data := t.TempDir()
	in := startDev(t, data, "--runtime", "process")
	id := in.running(nil).ID
	in.process.stop()
	noProcesses(t, id)
	again := startDev(t, data, "--runtime", "process")
	if again.APIKey != in.APIKey {
		t.Error("dev made a new key at its second start")
	}
	if info, err := os.Stat(filepath.Join(data, "dev.json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("dev.json holds a key and must be for its owner only: %v %v", info.Mode(), err)
	}
}

// TestDevEndsItsDesktopsWhenItsTerminalIsClosed: that sends SIGHUP, often more
// than once.
func TestDevEndsItsDesktopsWhenItsTerminalIsClosed(t *testing.T) {
	in := startDev(t, t.TempDir(), "--runtime", "process")
	id := in.running(nil).ID
	eventually(t, "dev has ended", func() error {
		if in.process.ended() {
			return nil
		}
		in.process.signal(syscall.SIGHUP)
		return errors.New("it runs")
	})
	if status := in.process.wait(); status != 0 {
		t.Errorf("exit status %d", status)
	}
	noProcesses(t, id)
}

// TestDevKilledAdoptsItsDesktops: kill -9 of both at once.
func TestDevKilledAdoptsItsDesktops(t *testing.T) {
	data := t.TempDir()
	in := startDev(t, data, "--runtime", "process")
	id := in.running(nil).ID
	server := xvnc(t, id)
	in.process.kill()
	again := startDev(t, data, "--runtime", "process")
	again.becomes(id, "running")
	if xvnc(t, id) != server {
		t.Error("the desktop is another one after dev was killed")
	}
}
