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

// databaseFiles is by how many descriptors an edge may rightly grow: its
// database opens up to four readers as they are needed, with two files each.
const databaseFiles = 8

// footprint is what a leak would make grow.
type footprint struct{ files, goroutines, agentFiles int }

func (p *edgeAndAgent) footprint() footprint {
	p.t.Helper()
	return footprint{openFiles(p.t, p.process.pid()), p.goroutines(), openFiles(p.t, p.agent.pid())}
}

// nothingLeft waits until footprints are not larger than they should be.
func (p *edgeAndAgent) nothingLeft(what string, larger func(footprint) bool) {
	p.t.Helper()
	eventually(p.t, what, func() error {
		// The agent may be the one that was killed.
		now := footprint{files: openFiles(p.t, p.process.pid()), goroutines: p.goroutines()}
		if !p.agent.ended() {
			now.agentFiles = openFiles(p.t, p.agent.pid())
		}
		if larger(now) {
			return fmt.Errorf("now %+v", now)
		}
		return nil
	})
}

func openFiles(t *testing.T, pid int) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// resident is the edge's memory, in bytes.
func (in *installation) resident() int64 {
	in.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", in.process.pid()))
	if err != nil {
		in.t.Fatal(err)
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(text), &size, &resident); err != nil {
		in.t.Fatal(err)
	}
	return resident * int64(os.Getpagesize())
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
