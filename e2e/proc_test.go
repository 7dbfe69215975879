package e2e

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// footprint is what a leak would make grow.
type footprint struct{ files, goroutines, agentFiles int }

// passing is how many descriptors and goroutines may come and go at any moment.
const passing = 2

// footprint has no agentFiles once the agent has ended.
func (p *edgeAndAgent) footprint() footprint {
	p.t.Helper()
	now := footprint{files: lastingFiles(p.t, p.process.pid()), goroutines: p.goroutines()}
	if !p.agent.ended() {
		now.agentFiles = lastingFiles(p.t, p.agent.pid())
	}
	return now
}

// settledFootprint waits until what has just ended is gone.
func (p *edgeAndAgent) settledFootprint() (settled footprint) {
	p.t.Helper()
	same := 0
	eventually(p.t, "edge and agent have settled", func() error {
		if now := p.footprint(); now != settled {
			settled, same = now, 0
		}
		if same++; same < 15 {
			return fmt.Errorf("they have %+v", settled)
		}
		return nil
	})
	return settled
}

// nothingLeft waits until edge and agent have no more than before.
func (p *edgeAndAgent) nothingLeft(before footprint) {
	p.t.Helper()
	eventually(p.t, "edge and agent have no more than before", func() error {
		if now := p.footprint(); now.files > before.files+passing || now.goroutines > before.goroutines+passing || now.agentFiles > before.agentFiles+passing {
			return fmt.Errorf("before %+v, now %+v", before, now)
		}
		return nil
	})
}

// quitAgent ends the agent and counts the goroutines that it had: it has no
// listener that would tell, but as every Go program it prints them on SIGQUIT.
func (p *edgeAndAgent) quitAgent() (goroutines int) {
	p.t.Helper()
	p.agent.signal(syscall.SIGQUIT)
	p.agent.wait()
	dump := p.agent.output.String()
	goroutines = strings.Count(dump, "\ncreated by ") - strings.Count(dump, "\ncreated by runtime.") // the garbage collector's come with the first collection
	if goroutines == 0 {
		p.t.Fatalf("the agent printed no goroutines:\n%s", p.agent.output)
	}
	return goroutines
}

func openFiles(t *testing.T, pid int) int { return len(descriptors(t, pid)) }

// lastingFiles counts without a database's files, which are opened as they are
// needed.
func lastingFiles(t *testing.T, pid int) (n int) {
	t.Helper()
	for _, target := range descriptors(t, pid) {
		if !strings.Contains(target, ".db") {
			n++
		}
	}
	return n
}

// descriptors are what a process has open, "" for what was closed meanwhile.
func descriptors(t *testing.T, pid int) (targets []string) {
	t.Helper()
	folder := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		target, _ := os.Readlink(filepath.Join(folder, entry.Name()))
		targets = append(targets, target)
	}
	return targets
}

// peakMemory is the most that edge and agent have had resident so far, in bytes.
func (p *edgeAndAgent) peakMemory() int64 {
	p.t.Helper()
	return peakMemory(p.t, p.process.pid()) + peakMemory(p.t, p.agent.pid())
}

// goroutines is how many the edge says it has, without those that fasthttp keeps
// for ten seconds in case that somebody connects.
func (in *installation) goroutines() int {
	in.t.Helper()
	response, err := client().Get(in.AdminURL + "/debug/pprof/goroutine?debug=1")
	if err != nil {
		in.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		in.t.Fatal(err)
	}
	var all int
	if _, err := fmt.Sscanf(string(text), "goroutine profile: total %d", &all); err != nil {
		in.t.Fatal(err)
	}
	_, stacks, _ := strings.Cut(string(text), "\n")
	for stack := range strings.SplitSeq(stacks, "\n\n") {
		if strings.Contains(stack, "fasthttp.(*workerPool).workerFunc") && !strings.Contains(stack, "serveConn") {
			var idle int
			if _, err := fmt.Sscanf(stack, "%d @", &idle); err != nil { // how many have this stack
				in.t.Fatal(err)
			}
			all -= idle
		}
	}
	return all
}

// sessionProcesses are the living processes of a session, by the mark that
// every process of a session carries in its environment.
func sessionProcesses(t *testing.T, id string) map[int]string {
	t.Helper()
	folders, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	found := map[int]string{}
	for _, folder := range folders {
		environment, err := os.ReadFile(filepath.Join(folder, "environ"))
		if err != nil || !strings.Contains(string(environment), id) {
			continue // it has ended meanwhile, or is somebody else's
		}
		command, err := os.ReadFile(filepath.Join(folder, "cmdline"))
		if err != nil || len(command) == 0 {
			continue // a zombie has no command line
		}
		pid, err := strconv.Atoi(filepath.Base(folder))
		if err != nil {
			t.Fatal(err)
		}
		found[pid] = strings.ReplaceAll(strings.TrimRight(string(command), "\x00"), "\x00", " ")
	}
	return found
}

// xvnc is the process id of a session's VNC server.
func xvnc(t *testing.T, id string) int {
	t.Helper()
	for pid, command := range sessionProcesses(t, id) {
		if strings.Contains(strings.Fields(command)[0], "Xtigervnc") {
			return pid
		}
	}
	t.Fatalf("session %s has no Xtigervnc; it has %v", id, sessionProcesses(t, id))
	return 0
}

func noProcesses(t *testing.T, id string) {
	t.Helper()
	eventually(t, "no process of session "+id+" is left", func() error {
		if left := sessionProcesses(t, id); len(left) > 0 {
			return fmt.Errorf("%v", left)
		}
		return nil
	})
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

func killProcess(pid int) error { return syscall.Kill(pid, syscall.SIGKILL) }

// endLeftovers ends the desktops that an agent with state below folder has
// rightly kept when it stopped.
func endLeftovers(t *testing.T, folder string) {
	t.Helper()
	sessions, err := filepath.Glob(filepath.Join(folder, "agent", "sessions", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, session := range sessions {
		for pid := range sessionProcesses(t, filepath.Base(session)) {
			_ = killProcess(pid) // it may end by itself meanwhile
		}
		noProcesses(t, filepath.Base(session))
	}
}
