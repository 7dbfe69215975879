//go:build linux

package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"
	"go.uber.org/zap/zaptest"

	"github.com/streamspace-dev/streamspace-edge/proxy/tunnel"
)

// The test binary is a session's keeper when this is its first argument.
const keeperWord = "keep"

// patience only guards against a hang.
const patience = 60 * time.Second

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == keeperWord {
		if err := Keep(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if data := os.Getenv(childData); data != "" {
		os.Exit(runChild(data))
	}
	goleak.VerifyTestMain(m)
}

// eventually asks until there is no error.
func eventually(t *testing.T, what string, ask func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s: %v", what, patience, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// reports are what an agent says of its sessions.
type reports struct {
	mu   sync.Mutex
	list []tunnel.Report
}

func (r *reports) add(report tunnel.Report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, report)
}

func (r *reports) of(id string) (all []tunnel.Report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, report := range r.list {
		if report.Session == id {
			all = append(all, report)
		}
	}
	return all
}

// testAgent is an agent that runs in the test's own process.
type testAgent struct {
	*Agent
	t       *testing.T
	reports *reports
	halt    context.CancelFunc
	done    chan struct{}
	closed  bool
}

func processRuntime() RuntimeConfig { return RuntimeConfig{Name: "desktop", Type: TypeProcess} }

// bareRuntime is a VNC server without a desktop, for tests that need none.
func bareRuntime() RuntimeConfig {
	return RuntimeConfig{Name: "bare", Type: TypeProcess, Desktop: []string{"sleep", "1000"}}
}

func testOptions(t *testing.T, data string, runtimes ...RuntimeConfig) (Options, *reports) {
	told := &reports{}
	return Options{
		Name: "host-1", Version: "test", Data: data, Capacity: 20, Weight: 1, Runtimes: runtimes,
		Keeper: keeperWord, Report: told.add, Log: zaptest.NewLogger(t),
	}, told
}

func startAgent(t *testing.T, data string, runtimes ...RuntimeConfig) *testAgent {
	t.Helper()
	o, told := testOptions(t, data, runtimes...)
	return runAgent(t, o, told)
}

func runAgent(t *testing.T, o Options, told *reports) *testAgent {
	t.Helper()
	a, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, halt := context.WithCancel(context.Background())
	running := &testAgent{Agent: a, t: t, reports: told, halt: halt, done: make(chan struct{})}
	go func() {
		defer close(running.done)
		if err := a.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(running.endAll)
	return running
}

// leave stops the agent and keeps its sessions.
func (a *testAgent) leave() {
	a.t.Helper()
	a.closed = true
	a.halt()
	<-a.done
	if err := a.Close(); err != nil {
		a.t.Error(err)
	}
}

func (a *testAgent) endAll() {
	a.t.Helper()
	if a.closed {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := a.EndAll(ctx); err != nil {
		a.t.Error(err)
	}
	a.leave()
}

func newID(t *testing.T) string {
	t.Helper()
	id, err := uuid.NewV7()
	if err != nil {
		t.Fatal(err)
	}
	return id.String()
}

func (a *testAgent) command(c tunnel.Command) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return a.Command(ctx, c)
}

func (a *testAgent) start(runtime string) (id string) {
	a.t.Helper()
	id = newID(a.t)
	if err := a.command(tunnel.Command{Action: tunnel.ActionStart, Session: id, Runtime: runtime}); err != nil {
		a.t.Fatal(err)
	}
	return id
}

func (a *testAgent) running(runtime string) (id string) {
	a.t.Helper()
	id = a.start(runtime)
	a.becomes(id, tunnel.SessionRunning)
	return id
}

func (a *testAgent) stop(id string) {
	a.t.Helper()
	if err := a.command(tunnel.Command{Action: tunnel.ActionStop, Session: id}); err != nil {
		a.t.Fatal(err)
	}
}

// becomes waits for a report of that state; a final one of another fails.
func (a *testAgent) becomes(id string, want tunnel.SessionState) (last tunnel.Report) {
	a.t.Helper()
	eventually(a.t, fmt.Sprintf("session %s becomes %s", id, want), func() error {
		all := a.reports.of(id)
		if len(all) == 0 {
			return errors.New("nothing was reported")
		}
		last = all[len(all)-1]
		if last.State == want {
			return nil
		}
		if last.State == tunnel.SessionEnded || last.State == tunnel.SessionFailed {
			a.t.Fatalf("session %s: %+v, want %s", id, last, want)
		}
		return fmt.Errorf("%+v", last)
	})
	return last
}

func (a *testAgent) open(id string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return a.Open(ctx, tunnel.OpenRequest{Session: id, Stream: "s"})
}

// greets opens a stream and hears the VNC server.
func (a *testAgent) greets(id string) {
	a.t.Helper()
	conn, err := a.open(id)
	if err != nil {
		a.t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if err := greet(conn); err != nil {
		a.t.Fatalf("session %s: %v", id, err)
	}
}

// recordOf reads what is on disk.
func recordOf(t *testing.T, data, id string) *record {
	t.Helper()
	r, err := loadRecord(filepath.Join(data, sessionsFolder, id))
	if err != nil || r == nil {
		t.Fatalf("session %s: record %v, %v", id, r, err)
	}
	return r
}

// commandLine of a process; empty when it has ended.
func commandLine(p process) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.PID))
	return strings.TrimSpace(strings.ReplaceAll(string(text), "\x00", " "))
}

// processesOf are the command lines of a session's processes but its keeper.
func processesOf(t *testing.T, id string) (lines []string) {
	t.Helper()
	all := anyTree(id)
	members, err := all.members()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range members {
		if all.keepers[p] {
			continue
		}
		if line := commandLine(p); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

func processesInclude(t *testing.T, id string, wanted ...string) {
	t.Helper()
	eventually(t, "processes run", func() error {
		all := strings.Join(processesOf(t, id), "\n")
		for _, want := range wanted {
			if !strings.Contains(all, want) {
				return fmt.Errorf("%q is not among:\n%s", want, all)
			}
		}
		return nil
	})
}

// nothingLeft checks what must be true as soon as the end is reported.
func nothingLeft(t *testing.T, data, id string) {
	t.Helper()
	if left, err := anyTree(id).members(); err != nil || len(left) > 0 {
		t.Errorf("processes of session %s are left: %v %q %v", id, left, processesOf(t, id), err)
	}
	if _, err := os.Stat(filepath.Join(data, sessionsFolder, id)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder of session %s is left: %v", id, err)
	}
}

func codeOf(err error) tunnel.Code {
	var coded *tunnel.Error
	if errors.As(err, &coded) {
		return coded.Code
	}
	return ""
}

func wantCode(t *testing.T, err error, want tunnel.Code, words ...string) {
	t.Helper()
	if got := codeOf(err); got != want {
		t.Fatalf("error %v has the code %q, want %q", err, got, want)
	}
	wantWords(t, err.Error(), words...)
}

func wantWords(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("%q does not say %q", text, word)
		}
	}
}

// vncServer is a listener that greets like a VNC server without a password.
func vncServer(t *testing.T, network, address string) (at string) {
	t.Helper()
	listener, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			served.Go(func() {
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(patience))
				if io.WriteString(conn, "RFB 003.008\n"); readBytes(conn, 12) {
					conn.Write([]byte{1, 1})
					readBytes(conn, 1)
					conn.Write(make([]byte, 4))
				}
			})
		}
	})
	t.Cleanup(func() { listener.Close(); served.Wait() })
	return listener.Addr().String()
}

func readBytes(r io.Reader, n int) bool {
	_, err := io.ReadFull(r, make([]byte, n))
	return err == nil
}

// anyTree is the session's, whatever agent has it.
func anyTree(id string, leaders ...process) *tree {
	t := newTree(id, "", leaders...)
	t.agent = nil
	return t
}
