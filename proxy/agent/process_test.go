//go:build linux

package agent

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/streamspace-dev/streamspace-edge/proxy/tunnel"
)

func TestSessionStartsGreetsAndStops(t *testing.T) {
	data := t.TempDir()
	a := startAgent(t, data, processRuntime())
	id := a.running("")
	a.greets(id)
	processesInclude(t, id, "Xtigervnc", "openbox", "xterm")
	display := displayOf(t, data, id)

	a.stop(id)
	a.stop(id)
	a.becomes(id, tunnel.SessionEnded)
	nothingLeft(t, data, id)
	display.isGone()
	var states []tunnel.SessionState
	for _, r := range a.reports.of(id) {
		states = append(states, r.State)
	}
	if got := fmt.Sprint(states); got != "[starting running stopping ended]" {
		t.Errorf("the reports are %s", got)
	}
	_, err := a.open(id)
	wantCode(t, err, tunnel.CodeNoSession)
}

// displayFiles are what an X server made for its display. Any X server of this
// host may take the display once it is free, so its names alone tell nothing.
type displayFiles struct {
	t    *testing.T
	made map[string]os.FileInfo
}

func displayOf(t *testing.T, data, id string) displayFiles {
	t.Helper()
	f := displayFiles{t, map[string]os.FileInfo{}}
	display := recordOf(t, data, id).Display
	for _, name := range []string{displayLock(display), displaySocket(display)} {
		info, err := os.Lstat(name)
		if errors.Is(err, os.ErrNotExist) && name == displayLock(display) {
			continue // with -displayfd a server makes none
		}
		if err != nil {
			t.Fatal(err)
		}
		f.made[name] = info
	}
	return f
}

func (f displayFiles) isGone() {
	f.t.Helper()
	for name, made := range f.made {
		now, err := os.Lstat(name)
		switch {
		case errors.Is(err, os.ErrNotExist):
		case err != nil:
			f.t.Error(err)
		case os.SameFile(made, now) && made.ModTime().Equal(now.ModTime()):
			f.t.Errorf("%s is left", name)
		}
	}
}

func TestDefaultServerIsPrivate(t *testing.T) {
	data := t.TempDir()
	a := startAgent(t, data, processRuntime())
	id := a.running("")
	dir := filepath.Join(data, sessionsFolder, id)
	for file, want := range map[string]os.FileMode{
		filepath.Join(data, sessionsFolder):  os.ModeDir | 0o700,
		dir:                                  os.ModeDir | 0o700,
		filepath.Join(data, "identity.json"): 0o600,
		filepath.Join(dir, recordFile):       0o600,
		filepath.Join(dir, xauthFile):        0o600,
		filepath.Join(dir, serverLog):        0o600,
		filepath.Join(dir, runtimeData):      os.ModeDir | 0o700,
		filepath.Join(dir, socketFile):       os.ModeSocket | 0o600,
	} {
		info, err := os.Stat(file)
		if err != nil {
			t.Error(err)
		} else if info.Mode() != want {
			t.Errorf("%s has mode %s, want %s", file, info.Mode(), want)
		}
	}
	r := recordOf(t, data, id)
	if ports := listeningPorts(t, *r.Server); len(ports) > 0 {
		t.Errorf("Xtigervnc listens on TCP ports %v", ports)
	}
	if admitted(t, r.Display, nil) {
		t.Error("an X client without the cookie gets in")
	}
	xauth, err := os.ReadFile(filepath.Join(dir, xauthFile))
	if err != nil {
		t.Fatal(err)
	}
	if !admitted(t, r.Display, xauth[len(xauth)-16:]) {
		t.Error("an X client with the cookie does not get in")
	}
}

// admitted tells whether the X server accepts a client with this cookie: the
// connection setup of the X11 protocol, chapter 8.
func admitted(t *testing.T, display string, cookie []byte) bool {
	t.Helper()
	conn, err := net.Dial("unix", displaySocket(display))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	name := ""
	if cookie != nil {
		name = "MIT-MAGIC-COOKIE-1"
	}
	setup := []byte{'l', 0, 11, 0, 0, 0, byte(len(name)), 0, byte(len(cookie)), 0, 0, 0}
	setup = append(setup, name...)
	for len(setup)%4 != 0 {
		setup = append(setup, 0)
	}
	if _, err := conn.Write(append(setup, cookie...)); err != nil {
		t.Fatal(err)
	}
	var answer [1]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		t.Fatal(err)
	}
	return answer[0] == 1
}

// listeningPorts are the TCP ports on which the process listens.
func listeningPorts(t *testing.T, p process) (ports []int64) {
	t.Helper()
	sockets := map[string]bool{}
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", p.PID))
	if err != nil || len(links) == 0 {
		t.Fatalf("process %d has no files: %v", p.PID, err)
	}
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil {
			sockets[target] = true
		}
	}
	for _, table := range []string{"tcp", "tcp6"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", p.PID, table))
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(string(text), "\n") {
			const listening = "0A"
			if f := strings.Fields(line); len(f) > 9 && f[3] == listening && sockets["socket:["+f[9]+"]"] {
				_, port, _ := strings.Cut(f[1], ":")
				n, err := strconv.ParseInt(port, 16, 32)
				if err != nil {
					t.Fatal(err)
				}
				ports = append(ports, n)
			}
		}
	}
	return ports
}

func TestKilledServerIsReportedAndItsTreeEnded(t *testing.T) {
	data := t.TempDir()
	a := startAgent(t, data, processRuntime())
	id, neighbour := a.running(""), a.running("")
	processesInclude(t, id, "xterm")
	display := displayOf(t, data, id)
	if err := syscall.Kill(recordOf(t, data, id).Server.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	last := a.becomes(id, tunnel.SessionFailed)
	wantWords(t, last.Reason, "Xtigervnc", "signal 9", "killed")
	if strings.Contains(last.Reason, "its log") {
		t.Errorf("the reason %q quotes a log that knows nothing of it", last.Reason)
	}
	nothingLeft(t, data, id)
	display.isGone()
	a.greets(neighbour)
}

func TestSessionOutlivesItsDesktopProgram(t *testing.T) {
	data := t.TempDir()
	runtime := processRuntime()
	runtime.Desktop = []string{"sh", "-c", "echo bye; exit 3"}
	a := startAgent(t, data, runtime)
	id := a.running("")
	eventually(t, "the desktop program has ended", func() error {
		if desktop := recordOf(t, data, id).Desktop; desktop == nil || desktop.alive() {
			return errors.New("it runs")
		}
		return nil
	})
	a.greets(id)
}

func TestServerThatEndsEarlyFailsWithItsOwnWords(t *testing.T) {
	data := t.TempDir()
	runtime := processRuntime()
	runtime.Command = []string{"sh", "-c", "echo the dog ate my screen >&2; exit 7", "{socket}"}
	a := startAgent(t, data, runtime)
	id := a.start("")
	last := a.becomes(id, tunnel.SessionFailed)
	wantWords(t, last.Reason, "sh exited with status 7", "the dog ate my screen")
	nothingLeft(t, data, id)
}

// TestServerThatNeverGreetsFailsAfterTheStartTimeout, also when that is over before
// the keeper has started anything.
func TestServerThatNeverGreetsFailsAfterTheStartTimeout(t *testing.T) {
	for _, timeout := range []time.Duration{time.Nanosecond, 5 * time.Millisecond, 100 * time.Millisecond} {
		t.Run(timeout.String(), func(t *testing.T) {
			data := t.TempDir()
			runtime := processRuntime()
			runtime.Command = []string{"sh", "-c", "exec sleep 1000", "{socket}"}
			runtime.StartTimeout = timeout
			a := startAgent(t, data, runtime)
			id := a.start("")
			last := a.becomes(id, tunnel.SessionFailed)
			wantWords(t, last.Reason, "did not greet within "+timeout.String(), "start_timeout")
			nothingLeft(t, data, id)
		})
	}
}

func TestStopDuringAStart(t *testing.T) {
	data := t.TempDir()
	runtime := processRuntime()
	runtime.Command = []string{"sh", "-c", "exec sleep 1000", "{socket}"}
	a := startAgent(t, data, runtime)
	id := a.start("")
	_, err := a.open(id)
	wantCode(t, err, tunnel.CodeSessionStarts)
	a.stop(id)
	a.becomes(id, tunnel.SessionEnded)
	nothingLeft(t, data, id)
}

func TestEightSessionsAtOnceOnTwoAgentsHaveDisplaysOfTheirOwn(t *testing.T) {
	tcp := RuntimeConfig{Name: "tcp", Type: TypeProcess, Desktop: []string{"sleep", "1000"}, Command: []string{
		"Xtigervnc", ":{display}", "-rfbport", "{port}", "-localhost", "-SecurityTypes", "None", "-auth", "{xauth}",
	}}
	folders := []string{t.TempDir(), t.TempDir()}
	agents := []*testAgent{startAgent(t, folders[0], bareRuntime(), tcp), startAgent(t, folders[1], bareRuntime(), tcp)}
	ids := make([]string, 16)
	var starts sync.WaitGroup
	for i := range ids {
		ids[i] = newID(t)
		c := tunnel.Command{Action: tunnel.ActionStart, Session: ids[i], Runtime: []string{"bare", "tcp"}[i/2%2]}
		starts.Go(func() {
			if err := agents[i%2].command(c); err != nil {
				t.Error(err)
			}
		})
	}
	starts.Wait()
	seen := map[string]bool{}
	for i, id := range ids {
		agents[i%2].becomes(id, tunnel.SessionRunning)
		agents[i%2].greets(id)
		r := recordOf(t, folders[i%2], id)
		if r.Display == "" || seen[r.Display] || seen[r.Address] {
			t.Errorf("session %s shares display %q or address %q", id, r.Display, r.Address)
		}
		seen[r.Display], seen[r.Address] = true, true
	}
	for _, a := range agents {
		a.endAll()
	}
	for i, id := range ids {
		nothingLeft(t, folders[i%2], id)
	}
}

func TestMissingProgramsAreNamed(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := ProbeXvnc(); err == nil {
		t.Error("Xtigervnc was found in an empty folder")
	} else {
		wantWords(t, err.Error(), "Xtigervnc", "tigervnc-standalone-server")
	}
	other := RuntimeConfig{Name: "other", Type: TypeProcess, Command: []string{"/bin/sh", "{socket}"}, Desktop: []string{"no-such-desktop"}}
	a := startAgent(t, t.TempDir(), processRuntime(), other)
	wantCode(t, a.command(tunnel.Command{Action: tunnel.ActionStart, Session: newID(t)}),
		tunnel.CodeRuntimeMissing, "Xtigervnc", "tigervnc-standalone-server")
	wantCode(t, a.command(tunnel.Command{Action: tunnel.ActionStart, Session: newID(t), Runtime: "other"}),
		tunnel.CodeRuntimeMissing, "no-such-desktop", "desktop")
	for i, words := range []string{"tigervnc-standalone-server", "no-such-desktop"} {
		if got := a.Hello().Runtimes[i].Missing; !strings.Contains(got, words) {
			t.Errorf("the hello says %q, want %q", got, words)
		}
	}
	if left := a.Hello().Sessions; len(left) > 0 {
		t.Errorf("refused sessions are in the hello: %v", left)
	}
}

// TestMissingProgramsAreToldAtTheStart, not only when somebody wants a desktop.
func TestMissingProgramsAreToldAtTheStart(t *testing.T) {
	path := os.Getenv("PATH")
	o, told := testOptions(t, t.TempDir(), processRuntime(), demoRuntime())
	core, logged := observer.New(zapcore.WarnLevel)
	o.Log = zap.New(core)
	t.Setenv("PATH", t.TempDir())
	a := runAgent(t, o, told)
	eventually(t, "a warning", func() error {
		if logged.FilterField(zap.String("runtime", "desktop")).Len() != 1 {
			return fmt.Errorf("logged is %v", logged.All())
		}
		return nil
	})
	t.Setenv("PATH", path)
	if got := a.Hello().Runtimes[0].Missing; got != "" {
		t.Errorf("with all that it needs: %q", got)
	}
	if logged.Len() != 1 {
		t.Errorf("logged is %v", logged.All())
	}
}

func TestViewersThatLeaveEarlyLockNobodyOut(t *testing.T) {
	a := startAgent(t, t.TempDir(), bareRuntime())
	id := a.running("")
	for range 12 {
		conn, err := a.open(id)
		if err != nil {
			t.Fatal(err)
		}
		if !readBytes(conn, 12) {
			t.Fatal("no greeting")
		}
		conn.Close()
	}
	a.greets(id)
}

func TestEnvironmentOfASessionHoldsNoSecretsOfTheAgent(t *testing.T) {
	t.Setenv("AGENT_TOKEN_FOR_TEST", "secret")
	data := t.TempDir()
	runtime := bareRuntime()
	runtime.Env = map[string]string{"GREETING": "hello"}
	a := startAgent(t, data, runtime)
	id := a.running("")
	r := recordOf(t, data, id)
	for _, p := range []*process{r.Server, r.Desktop} {
		text := ""
		for _, variable := range p.environment() {
			text += string(variable) + "\n"
		}
		wantWords(t, text, sessionVariable+"="+id+"\n", agentVariable+"="+a.identity.ID+"\n", "GREETING=hello\n", "HOME=", "PATH=")
		if strings.Contains(text, "secret") {
			t.Errorf("the agent's own environment is passed on: %s", text)
		}
	}
}

func TestDataFolderWithALongPath(t *testing.T) {
	data := filepath.Join(t.TempDir(), strings.Repeat("deep/", 30))
	a := startAgent(t, data, bareRuntime())
	id := a.running("")
	a.greets(id)
	if _, err := net.Dial("unix", filepath.Join(data, sessionsFolder, id, socketFile)); err == nil {
		t.Error("the path is not too long, so this test shows nothing")
	}
}
