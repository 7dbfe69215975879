// Package e2e runs the real binary as its users do: real sockets, real VNC
// servers, a real browser. It knows nothing of the code inside.
package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience is how long anything may take before a test calls it hung. No test
// measures time against it.
const patience = 30 * time.Second

// program is the binary under test, built once by TestMain.
var program string

func TestMain(m *testing.M) {
	if serveAsBackend() {
		return
	}
	folder, err := os.MkdirTemp("", "ss-e2e-")
	if err != nil {
		panic(err)
	}
	program = filepath.Join(folder, "streamspace")
	build := append([]string{"build", "-o", program}, buildFlags...)
	if output, err := exec.Command("go", append(build, "../cmd/streamspace")...).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the binary: %v\n%s", err, output)
		os.Exit(1)
	}
	// Programs under test inherit that SIGHUP is ignored, as it is under nohup, but
	// not that it is handled.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	status := m.Run()
	_ = os.RemoveAll(folder)
	if status == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			status = 1
		}
	}
	os.Exit(status)
}

// process is a streamspace process that the test started.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	output *lockedBuffer
	exited chan struct{}
	status int // valid once exited is closed
}

// lockedBuffer collects what a process prints.
type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// start runs the binary until the test ends; then it is told to stop, and
// killed when it does not.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	return startWith(t, environment(t), args...)
}

// environment is this process's with an empty home: what somebody's shell does
// at its start is no part of the tests.
func environment(t *testing.T) []string {
	t.Helper()
	return append(os.Environ(), "HOME="+t.TempDir())
}

func startWith(t *testing.T, environment []string, args ...string) *process {
	t.Helper()
	return startProgram(t, program, environment, args...)
}

func startProgram(t *testing.T, program string, environment []string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(program, args...), output: &lockedBuffer{}, exited: make(chan struct{})}
	p.cmd.Env = environment
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.exited)
		_ = p.cmd.Wait()
		p.status = p.cmd.ProcessState.ExitCode()
	}()
	t.Cleanup(func() {
		p.stop()
		if output := p.output.String(); strings.Contains(output, "DATA RACE") || strings.Contains(output, "panic: ") {
			t.Error("the program raced or panicked")
		}
		if t.Failed() {
			t.Logf("output of streamspace %s:\n%s", strings.Join(args, " "), p.output)
		}
	})
	return p
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) signal(s os.Signal) { _ = p.cmd.Process.Signal(s) }

// kill is kill -9, waited for.
func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	p.wait()
}

// stop is SIGTERM, then kill -9 when it takes too long.
func (p *process) stop() {
	p.signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(patience):
		p.t.Errorf("pid %d did not end on SIGTERM", p.pid())
		p.kill()
	}
}

// wait returns the exit status.
func (p *process) wait() int {
	p.t.Helper()
	select {
	case <-p.exited:
		return p.status
	case <-time.After(patience):
		p.t.Fatalf("pid %d did not end; its output:\n%s", p.pid(), p.output)
		return -1
	}
}

// runToEnd runs the binary and returns its exit status and output.
func runToEnd(t *testing.T, args ...string) (status int, output string) {
	t.Helper()
	p := start(t, args...)
	return p.wait(), p.output.String()
}

// installation is an edge that answers, and a key to it.
type installation struct {
	t        *testing.T
	URL      string `json:"url"`
	APIKey   string `json:"api_key"`
	AdminURL string `json:"admin_url"`
	data     string
	process  *process
}

// startDev runs `streamspace dev` on free ports and waits until it serves.
func startDev(t *testing.T, data string, args ...string) *installation {
	t.Helper()
	return startDevWith(t, environment(t), data, args...)
}

func startDevWith(t *testing.T, environment []string, data string, args ...string) *installation {
	t.Helper()
	info := filepath.Join(data, "dev.json")
	old, _ := os.ReadFile(info)
	if _, err := os.Stat(info); err == nil { // written anew once the ports are known
		if err := os.Rename(info, info+".old"); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(info, old, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	all := append([]string{"dev", "--data", data, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"}, args...)
	t.Cleanup(func() { endLeftovers(t, data) }) // runs when the process has ended
	in := &installation{t: t, data: data, process: startWith(t, environment, all...)}
	eventually(t, "dev.json names a serving edge", func() error {
		text, err := os.ReadFile(info)
		if err != nil {
			return err
		}
		if bytes.Equal(text, old) {
			return fmt.Errorf("dev.json is still the old one")
		}
		if err := json.Unmarshal(text, in); err != nil {
			return err
		}
		return in.healthy()
	})
	return in
}

func (in *installation) healthy() error {
	if in.process.ended() {
		in.t.Fatalf("the process ended:\n%s", in.process.output)
	}
	status, _, err := in.try("GET", "/health", nil, nil)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("/health answers %d", status)
	}
	return err
}

// client trusts any certificate and keeps no connection, so that fd counts of
// the edge are its own.
func client() *http.Client {
	return &http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // the edge under test is self-signed
	}}
}

// try makes one request with the installation's key.
func (in *installation) try(method, path string, body any, header http.Header) (status int, answer []byte, err error) {
	return in.tryAs(in.APIKey, method, path, body, header)
}

func (in *installation) tryAs(key, method, path string, body any, header http.Header) (status int, answer []byte, err error) {
	return in.tryWithin(context.Background(), key, method, path, body, header)
}

func (in *installation) tryWithin(ctx context.Context, key, method, path string, body any, header http.Header) (status int, answer []byte, err error) {
	var reader io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return 0, nil, err
		}
		reader = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, in.URL+path, reader)
	if err != nil {
		return 0, nil, err
	}
	for name, values := range header {
		request.Header[name] = values
	}
	request.Header.Set("Authorization", "Bearer "+key)
	response, err := client().Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(response.Body)
	return response.StatusCode, answer, err
}

// call makes one request that must be answered with that status.
func (in *installation) call(method, path string, body any, want int, into any) {
	in.t.Helper()
	status, answer, err := in.try(method, path, body, nil)
	if err != nil {
		in.t.Fatalf("%s %s: %v", method, path, err)
	}
	if status != want {
		in.t.Fatalf("%s %s: status %d, want %d: %s", method, path, status, want, answer)
	}
	if into != nil {
		if err := json.Unmarshal(answer, into); err != nil {
			in.t.Fatalf("%s %s: %v in %s", method, path, err, answer)
		}
	}
}

// desktop is a session as the API tells it.
type desktop struct {
	ID      string `json:"id"`
	State   string `json:"state"`
	Reason  string `json:"reason"`
	AgentID string `json:"agent_id"`
	Viewers int    `json:"viewers"`
}

// create asks for a session; without a body one with all the defaults.
func (in *installation) create(body map[string]any) desktop {
	in.t.Helper()
	var d desktop
	if body == nil {
		body = map[string]any{}
	}
	in.call("POST", "/api/v1/sessions", body, http.StatusAccepted, &d)
	return d
}

// becomes waits until the session is in that state.
func (in *installation) becomes(id, state string) desktop {
	in.t.Helper()
	var d desktop
	eventually(in.t, "session "+id+" is "+state, func() error {
		_, answer, err := in.try("GET", "/api/v1/sessions/"+id, nil, nil)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(answer, &d); err != nil {
			return err
		}
		if d.State != state {
			return fmt.Errorf("it is %s (%s)", d.State, d.Reason)
		}
		return nil
	})
	return d
}

func (in *installation) running(body map[string]any) desktop {
	in.t.Helper()
	return in.becomes(in.create(body).ID, "running")
}

func (in *installation) ticket(id, mode string) string {
	in.t.Helper()
	var answer struct {
		Token string `json:"token"`
	}
	in.call("POST", "/api/v1/sessions/"+id+"/vnc", map[string]string{"mode": mode}, http.StatusOK, &answer)
	return answer.Token
}

func (in *installation) agentsOnline(want int) {
	in.t.Helper()
	eventually(in.t, fmt.Sprintf("%d agents are online", want), func() error { return in.online(want) })
}

func (in *installation) online(want int) error {
	var health struct {
		Agents int `json:"agents"`
	}
	_, answer, err := in.try("GET", "/health", nil, nil)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(answer, &health); err != nil {
		return err
	}
	if health.Agents != want {
		return fmt.Errorf("%d agents are online", health.Agents)
	}
	return nil
}

// metrics is what the admin listener tells.
func (in *installation) metrics() string {
	in.t.Helper()
	response, err := client().Get(in.AdminURL + "/metrics")
	if err != nil {
		in.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		in.t.Fatal(err)
	}
	return string(text)
}

// metric is the sum of all series of that name at the admin listener.
func (in *installation) metric(name string) float64 {
	in.t.Helper()
	sum := 0.0
	for _, line := range strings.Split(in.metrics(), "\n") {
		if strings.HasPrefix(line, name+" ") || strings.HasPrefix(line, name+"{") {
			var value float64
			if _, err := fmt.Sscan(line[strings.LastIndexByte(line, ' ')+1:], &value); err != nil {
				in.t.Fatal(err)
			}
			sum += value
		}
	}
	return sum
}

// ended is whether the process has.
func (p *process) ended() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// eventually asks again and again until check is content; it fails the test
// with check's last complaint when patience ends.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s: %v", what, patience, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func writeText(t *testing.T, file, text string) string {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	t.Cleanup(cancel)
	return ctx
}

// logIn gives the console's cookie for the installation's key.
func (in *installation) logIn() *http.Cookie {
	in.t.Helper()
	request, err := http.NewRequest("POST", in.URL+"/api/v1/login", strings.NewReader(fmt.Sprintf(`{"key":%q}`, in.APIKey)))
	if err != nil {
		in.t.Fatal(err)
	}
	request.Header.Set("Origin", in.URL)
	request.Header.Set("Content-Type", "application/json")
	response, err := client().Do(request)
	if err != nil {
		in.t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusNoContent || len(response.Cookies()) != 1 {
		in.t.Fatalf("log-in: status %d, cookies %d", response.StatusCode, len(response.Cookies()))
	}
	return response.Cookies()[0]
}

// whoAmI is the status of a request that carries only the cookie.
func (in *installation) whoAmI(cookie *http.Cookie) int {
	in.t.Helper()
	request, err := http.NewRequest("GET", in.URL+"/api/v1/me", nil)
	if err != nil {
		in.t.Fatal(err)
	}
	request.AddCookie(cookie)
	response, err := client().Do(request)
	if err != nil {
		in.t.Fatal(err)
	}
	defer response.Body.Close()
	return response.StatusCode
}
