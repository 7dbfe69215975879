//go:build linux

package agent

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/streamspace-dev/streamspace-edge/proxy/tunnel"
)

func demoRuntime() RuntimeConfig { return RuntimeConfig{Name: "demo", Type: TypeDemo} }

func TestIdentityIsMadeOnceAndKept(t *testing.T) {
	data := t.TempDir()
	first := startAgent(t, data, demoRuntime())
	id, key := first.Identity()
	first.leave()
	second := startAgent(t, data, demoRuntime())
	if again, keyAgain := second.Identity(); again != id || keyAgain != key || len(key) != 43 {
		t.Errorf("identity %s with a key of %d characters, then %s", id, len(key), again)
	}
}

func TestFaultyStartsAreToldInWords(t *testing.T) {
	held := t.TempDir()
	startAgent(t, held, demoRuntime())
	damaged := t.TempDir()
	if err := os.WriteFile(filepath.Join(damaged, "identity.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		change func(*Options)
		words  []string
	}{
		{"folder in use", func(o *Options) { o.Data = held }, []string{"another agent", held, "--data"}},
		{"damaged identity", func(o *Options) { o.Data = damaged }, []string{"identity.json", "damaged", "delete it"}},
		{"data is a file", func(o *Options) { o.Data = file }, []string{file, "--data"}},
		{"all at once", func(o *Options) {
			o.Data, o.Capacity, o.Weight = "", 0, 0
			o.Runtimes = []RuntimeConfig{{Name: "a", Type: "vm"}, {Name: "a", Type: TypeDemo, Slots: -1}}
		}, []string{"data:", "capacity: 0", "weight: 0", `runtimes[0].type: "vm"`, "runtimes[1].slots: -1", `"a" is used twice`}},
		{"no runtimes", func(o *Options) { o.Runtimes = nil }, []string{"runtimes: at least one"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o, _ := testOptions(t, t.TempDir(), demoRuntime())
			test.change(&o)
			a, err := New(o)
			if err == nil {
				a.Close()
				t.Fatal("there is no error")
			}
			wantWords(t, err.Error(), test.words...)
		})
	}
}

func TestHelloSaysWhatTheAgentIs(t *testing.T) {
	o, told := testOptions(t, t.TempDir(), demoRuntime(), RuntimeConfig{Name: "vm", Type: TypeStatic, Endpoints: []Endpoint{
		{Name: "a", Address: "127.0.0.1:1"}, {Name: "b", Address: "127.0.0.1:2"},
	}}, RuntimeConfig{Name: "few", Type: TypeDemo, Slots: 3})
	o.Labels = map[string]string{"gpu": "yes"}
	a := runAgent(t, o, told)
	id := a.running("demo")
	hello := a.Hello()
	if got := fmt.Sprint(hello.Runtimes); got != "[{demo demo 0 [] } {vm static 2 [a b] } {few demo 3 [] }]" {
		t.Errorf("runtimes %s", got)
	}
	if hello.AgentID != a.identity.ID || hello.Name != "host-1" || hello.Capacity != 20 || hello.Labels["gpu"] != "yes" {
		t.Errorf("hello %+v", hello)
	}
	if len(hello.Sessions) != 1 || hello.Sessions[0] != (tunnel.Report{Session: id, State: tunnel.SessionRunning}) {
		t.Errorf("sessions %+v", hello.Sessions)
	}
}

func TestCommandsThatCantBeTaken(t *testing.T) {
	o, told := testOptions(t, t.TempDir(), demoRuntime(), RuntimeConfig{Name: "one", Type: TypeDemo, Slots: 1})
	o.Capacity = 2
	a := runAgent(t, o, told)
	a.running("one")
	start := func(change func(*tunnel.Command)) error {
		c := tunnel.Command{Action: tunnel.ActionStart, Session: newID(t)}
		change(&c)
		return a.command(c)
	}
	wantCode(t, start(func(c *tunnel.Command) { c.Session = "../../etc" }), tunnel.CodeBadRequest, "../../etc")
	wantCode(t, start(func(c *tunnel.Command) { c.Session = strings.ToUpper(c.Session) }), tunnel.CodeBadRequest)
	wantCode(t, start(func(c *tunnel.Command) { c.Action = "pause" }), tunnel.CodeBadRequest, "pause")
	wantCode(t, start(func(c *tunnel.Command) { c.Width = 1 << 20 }), tunnel.CodeBadRequest, "1048576", "16384")
	wantCode(t, start(func(c *tunnel.Command) { c.Runtime = "vm" }), tunnel.CodeNoRuntime, `"vm"`)
	wantCode(t, start(func(c *tunnel.Command) { c.Runtime = "one" }), tunnel.CodeNoRoom, "slots", "one")
	a.running("demo")
	wantCode(t, start(func(*tunnel.Command) {}), tunnel.CodeNoRoom, "host-1", "capacity")
	_, err := a.open(newID(t))
	wantCode(t, err, tunnel.CodeNoSession)
}

func TestCommandsMayComeTwice(t *testing.T) {
	a := startAgent(t, t.TempDir(), bareRuntime())
	id := newID(t)
	var commands sync.WaitGroup
	for range 4 {
		commands.Go(func() {
			if err := a.command(tunnel.Command{Action: tunnel.ActionStart, Session: id}); err != nil {
				t.Error(err)
			}
		})
	}
	commands.Wait()
	a.becomes(id, tunnel.SessionRunning)
	if all := processesOf(t, id); len(all) != 2 {
		t.Errorf("its processes are %q, want a server and a desktop", all)
	}
	for range 4 {
		commands.Go(func() { a.stop(id) })
	}
	commands.Wait()
	a.becomes(id, tunnel.SessionEnded)

	unknown := newID(t)
	a.stop(unknown)
	a.becomes(unknown, tunnel.SessionEnded)
}

func TestEndAllEndsAndReportsEverySession(t *testing.T) {
	data := t.TempDir()
	a := startAgent(t, data, bareRuntime(), demoRuntime())
	ids := []string{a.running("bare"), a.running("demo"), a.start("bare")}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := a.EndAll(ctx); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		last := a.becomes(id, tunnel.SessionEnded)
		wantWords(t, last.Reason, "shut down")
		nothingLeft(t, data, id)
	}
	wantCode(t, a.command(tunnel.Command{Action: tunnel.ActionStart, Session: newID(t)}), tunnel.CodeUnavailable, "stops")
}

func TestStaticEndpointsAreGivenOutOnce(t *testing.T) {
	folder := t.TempDir()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	socket := filepath.Join(folder, "vm.sock")
	vncServer(t, "unix", socket)
	runtime := RuntimeConfig{Name: "vm", Type: TypeStatic, Endpoints: []Endpoint{
		{Name: "off", Address: closed.Addr().String()},
		{Name: "tcp", Address: vncServer(t, "tcp", "127.0.0.1:0")},
		{Name: "unix", Address: "unix:" + socket},
	}}
	data := t.TempDir()
	a := startAgent(t, data, runtime)
	first, second := a.running("vm"), a.running("vm")
	a.greets(first)
	a.greets(second)
	if got := []string{recordOf(t, data, first).Address, recordOf(t, data, second).Address}; got[0] != runtime.Endpoints[1].Address || got[1] != runtime.Endpoints[2].Address {
		t.Errorf("they have %v", got)
	}
	third := tunnel.Command{Action: tunnel.ActionStart, Session: newID(t), Runtime: "vm"}
	wantCode(t, a.command(third), tunnel.CodeVNCRefused, "the VNC server off can't be used: connection refused")

	a.leave()
	a = startAgent(t, data, runtime)
	a.greets(first)
	wantCode(t, a.command(third), tunnel.CodeVNCRefused, "off")
	a.stop(first)
	a.becomes(first, tunnel.SessionEnded)
	if err := a.command(third); err != nil {
		t.Fatal(err)
	}
	a.becomes(third.Session, tunnel.SessionRunning)
	if got := recordOf(t, data, third.Session).Address; got != runtime.Endpoints[1].Address {
		t.Errorf("the endpoint that came free is %s, the session has %s", runtime.Endpoints[1].Address, got)
	}
}

// TestASessionGetsTheEndpointItAsksFor, whatever the runtime's order, and its
// name is told as long as it runs.
func TestASessionGetsTheEndpointItAsksFor(t *testing.T) {
	one := RuntimeConfig{Name: "one", Type: TypeStatic, Endpoints: []Endpoint{
		{Name: "vm-1", Address: vncServer(t, "tcp", "127.0.0.1:0")}, {Name: "vm-2", Address: vncServer(t, "tcp", "127.0.0.1:0")}}}
	two := RuntimeConfig{Name: "two", Type: TypeStatic, Endpoints: []Endpoint{{Name: "vm-3", Address: vncServer(t, "tcp", "127.0.0.1:0")}}}
	data := t.TempDir()
	a := startAgent(t, data, one, two)
	ask := func(runtime, endpoint string) tunnel.Command {
		return tunnel.Command{Action: tunnel.ActionStart, Session: newID(t), Runtime: runtime, Endpoint: endpoint}
	}
	second, third := ask("one", "vm-2"), ask("", "vm-3")
	for _, c := range []tunnel.Command{second, third} {
		if err := a.command(c); err != nil {
			t.Fatal(err)
		}
		if r := a.becomes(c.Session, tunnel.SessionRunning); r.Endpoint != c.Endpoint {
			t.Errorf("asked for %s: the report is %+v", c.Endpoint, r)
		}
	}
	if got := recordOf(t, data, third.Session); got.Address != two.Endpoints[0].Address || got.Runtime != "two" {
		t.Errorf("asked for vm-3: %+v", got)
	}
	wantCode(t, a.command(ask("", "vm-2")), tunnel.CodeNoRoom, "another session has the endpoint vm-2")
	wantCode(t, a.command(ask("two", "vm-2")), tunnel.CodeNoRuntime, `no endpoint "vm-2"`)

	a.leave()
	a = startAgent(t, data, one, two)
	for _, r := range a.Hello().Sessions {
		if want := map[string]string{second.Session: "vm-2", third.Session: "vm-3"}[r.Session]; r.Endpoint != want {
			t.Errorf("the hello of the next agent says %+v, want %s", r, want)
		}
	}
}

func TestStaticEndpointsAllInUse(t *testing.T) {
	a := startAgent(t, t.TempDir(), RuntimeConfig{Name: "vm", Type: TypeStatic, Endpoints: []Endpoint{{Name: "one", Address: vncServer(t, "tcp", "127.0.0.1:0")}}})
	a.running("vm")
	wantCode(t, a.command(tunnel.Command{Action: tunnel.ActionStart, Session: newID(t), Runtime: "vm"}), tunnel.CodeNoRoom, "vm")
}

func TestEndpointThatWentAwayRefusesViewers(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "vm.sock")
	vncServer(t, "unix", socket)
	a := startAgent(t, t.TempDir(), RuntimeConfig{Name: "vm", Type: TypeStatic, Endpoints: []Endpoint{{Name: "one", Address: "unix:" + socket}}})
	id := a.running("vm")
	if err := os.Remove(socket); err != nil {
		t.Fatal(err)
	}
	_, err := a.open(id)
	wantCode(t, err, tunnel.CodeVNCRefused, "VNC server")
}

func TestDiskThatTakesNothingRefusesTheStart(t *testing.T) {
	data := t.TempDir()
	a := startAgent(t, data, bareRuntime())
	sessions := filepath.Join(data, sessionsFolder)
	if err := os.Remove(sessions); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(sessions, nil, 0o600); err != nil { // for root, too, no folder can be made in a file
		t.Fatal(err)
	}
	id := newID(t)
	wantCode(t, a.command(tunnel.Command{Action: tunnel.ActionStart, Session: id}), tunnel.CodeUnavailable, "disk", "data folder")
	nothingLeft(t, t.TempDir(), id)
	if left := a.Hello().Sessions; len(left) > 0 {
		t.Errorf("the hello says %v", left)
	}
}

func TestFolderRemovedDuringAStartFailsTheSession(t *testing.T) {
	data := t.TempDir()
	runtime := bareRuntime()
	// The server greets only after its folder is gone, so the state can't be kept.
	runtime.Command = []string{"sh", "-c", `until rm -rf "$1" && ! test -e "$1"; do :; done; exec Xtigervnc -displayfd 3 -rfbport "$2" -localhost -SecurityTypes None`, "sh", "{dir}", "{port}", "{displayfd}"}
	a := startAgent(t, data, runtime)
	id := a.start("")
	last := a.becomes(id, tunnel.SessionFailed)
	wantWords(t, last.Reason, "the session's")
	nothingLeft(t, data, id)
}

func TestFolderRemovedUnderARunningSessionDoesNotKeepItAlive(t *testing.T) {
	data := t.TempDir()
	a := startAgent(t, data, bareRuntime())
	id := a.running("")
	if err := os.RemoveAll(filepath.Join(data, sessionsFolder, id)); err != nil {
		t.Fatal(err)
	}
	_, err := a.open(id)
	wantCode(t, err, tunnel.CodeVNCRefused)
	a.stop(id)
	a.becomes(id, tunnel.SessionEnded)
	nothingLeft(t, data, id)
}

func TestSessionsLeakNoFilesAndNoClaims(t *testing.T) {
	runtime := RuntimeConfig{Name: "tcp", Type: TypeProcess, Desktop: []string{"sleep", "1000"}, Command: []string{
		"Xtigervnc", ":{display}", "-rfbport", "{port}", "-localhost", "-SecurityTypes", "None",
	}}
	a := startAgent(t, t.TempDir(), bareRuntime(), runtime, demoRuntime())
	round := func() {
		for _, name := range []string{"bare", "tcp", "demo"} {
			id := a.running(name)
			a.greets(id)
			a.stop(id)
			a.becomes(id, tunnel.SessionEnded)
		}
	}
	round() // what is opened once and kept, like the poller
	before := openFiles(t)
	for range 3 {
		round()
	}
	eventually(t, "as few files are open as before", func() error {
		if now := openFiles(t); now > before {
			return fmt.Errorf("%d files, before %d", now, before)
		}
		return nil
	})
	if len(a.claims.taken) > 0 {
		t.Errorf("claims are left: %v", a.claims.taken)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
