//go:build linux

package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/streamspace-dev/streamspace-edge/proxy/tunnel"
)

// hostileDesktop detaches processes in every way at once. nginx is a daemon as
// many are: a session of its own, no parent, and its title where its
// environment was.
const hostileDesktop = `trap "" TERM HUP
setsid sh -c 'trap "" TERM HUP; sleep 1001; :' &
(nohup sleep 1002 >/dev/null 2>&1 &)
(setsid sh -c '(setsid sh -c "trap \"\" TERM; sleep 1003; :" &)' &)
env -i sh -c 'sleep 1004; :' &
setsid env -i sh -c 'sleep 1005; :' &
(env -i setsid sleep 1006 >/dev/null 2>&1 &)
(env -i setsid sh -c '(setsid sh -c "trap \"\" TERM HUP; sleep 1007; :" &)' &)
(env STREAMSPACE_KEEPER=1 setsid sh -c 'trap "" TERM; sleep 1008; :' &)
PATH=$PATH:/usr/sbin nginx -p "$WEB" -c nginx.conf
exec sleep 1009`

// hostileProcesses are the command lines of what it starts.
func hostileProcesses() []string {
	wanted := []string{"\nnginx: master process nginx -p", "\nnginx: worker process"}
	for n := 1001; n <= 1009; n++ {
		wanted = append(wanted, fmt.Sprintf("\nsleep %d\n", n))
	}
	return wanted
}

func hostileRuntime(t *testing.T) RuntimeConfig {
	t.Helper()
	dir, err := os.MkdirTemp("", "nginx") // shorter than t.TempDir: a socket's path has 107 bytes at most
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	const config = `pid nginx.pid;
error_log error.log;
events {}
http {
	access_log off;
	client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
	server { listen unix:%s/nginx.sock; }
}
`
	if err := os.WriteFile(filepath.Join(dir, "nginx.conf"), fmt.Appendf(nil, config, dir), 0o600); err != nil {
		t.Fatal(err)
	}
	runtime := processRuntime()
	runtime.Desktop = []string{"sh", "-c", hostileDesktop}
	runtime.Env = map[string]string{"WEB": dir}
	return runtime
}

// treeOf waits until these words are among the command lines of the session's
// processes, each of which is between line feeds.
func treeOf(t *testing.T, id string, wanted ...string) (members []process) {
	t.Helper()
	eventually(t, "all of them run", func() error {
		var err error
		if members, err = anyTree(id).members(); err != nil {
			return err
		}
		lines := "\n"
		for _, p := range members {
			lines += commandLine(p) + "\n"
		}
		for _, want := range wanted {
			if !strings.Contains(lines, want) {
				return fmt.Errorf("%q is not among:\n%s", want, lines)
			}
		}
		return nil
	})
	return members
}

func noneAlive(t *testing.T, members []process) {
	t.Helper()
	for _, p := range members {
		if p.alive() {
			t.Errorf("process %d is left: %s", p.PID, commandLine(p))
		}
	}
}

func TestStopEndsTheWholeTreeOfAHostileDesktop(t *testing.T) {
	data := t.TempDir()
	a := startAgent(t, data, hostileRuntime(t))
	id := a.running("")
	members := treeOf(t, id, hostileProcesses()...)
	a.stop(id)
	a.becomes(id, tunnel.SessionEnded)
	nothingLeft(t, data, id)
	noneAlive(t, members)
}

// TestDaemonsBecomeTheirKeepersChildren: nginx names neither session nor parent.
func TestDaemonsBecomeTheirKeepersChildren(t *testing.T) {
	a := startAgent(t, t.TempDir(), hostileRuntime(t))
	id := a.running("")
	members := treeOf(t, id, hostileProcesses()...)
	keeper := keeperOf(t, id)
	held := ""
	for _, p := range members {
		s, err := readStat(p.PID)
		if err != nil {
			t.Fatal(err)
		}
		if s.parent == keeper.PID {
			held += commandLine(p) + "\n"
		}
	}
	wantWords(t, held, "Xtigervnc", "sleep 1009\n", "sleep 1002\n", "sleep 1006\n", "sleep 1007; :\n", "nginx: master")
}

func TestKilledServerTakesAHostileDesktopWithIt(t *testing.T) {
	data := t.TempDir()
	a := startAgent(t, data, hostileRuntime(t))
	id := a.running("")
	members := treeOf(t, id, hostileProcesses()...)
	kill(t, *recordOf(t, data, id).Server)
	last := a.becomes(id, tunnel.SessionFailed)
	wantWords(t, last.Reason, "Xtigervnc", "signal 9", "killed")
	nothingLeft(t, data, id)
	noneAlive(t, members)
}

// TestASessionMayBeAtTwoAgentsOfOneHost for as long as one of them ends what it
// lost: the other's is left alone.
func TestASessionMayBeAtTwoAgentsOfOneHost(t *testing.T) {
	lost, now := startAgent(t, t.TempDir(), bareRuntime()), startAgent(t, t.TempDir(), bareRuntime())
	id := lost.running("")
	if err := now.command(tunnel.Command{Action: tunnel.ActionStart, Session: id}); err != nil {
		t.Fatal(err)
	}
	now.becomes(id, tunnel.SessionRunning)
	lost.stop(id)
	lost.becomes(id, tunnel.SessionEnded)
	now.greets(id)
}
