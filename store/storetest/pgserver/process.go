package pgserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// process is a server's: a group of its own, ended at the latest with its test.
type process struct {
	t     testing.TB
	name  string
	log   string
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has been waited for
}

// start starts a program whose output goes to the file log, with more in its
// environment. When this program dies it gets the signal orphaned.
func start(t testing.TB, log string, orphaned syscall.Signal, more []string, name string, args ...string) *process {
	t.Helper()
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	p := &process{t: t, name: name, log: log, cmd: exec.Command(name, args...), ended: make(chan struct{})}
	p.cmd.Dir, p.cmd.Env = "/", append(os.Environ(), more...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential(t), Setpgid: true, Pdeathsig: orphaned}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // how it ends is its tests' business
	}()
	t.Cleanup(p.kill)
	return p
}

// await asks ready until it has no error.
func (p *process) await(ready func(context.Context) error) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		err := ready(ctx)
		if err == nil {
			return
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-p.ended:
			output, _ := os.ReadFile(p.log)
			p.t.Fatalf("%s ended: %v\n%s", p.name, p.cmd.ProcessState, output)
		case <-ctx.Done():
			p.t.Fatalf("%s does not answer: %v", p.name, err)
		}
	}
}

func (p *process) kill() { p.stop(syscall.SIGKILL) }

// stop sends a signal, SIGKILL to all processes, and waits for the end.
func (p *process) stop(how syscall.Signal) {
	select {
	case <-p.ended:
		return
	default:
	}
	if how == syscall.SIGKILL {
		p.signalAll(how)
	} else if err := p.cmd.Process.Signal(how); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Error(err)
	}
	<-p.ended
}

// signalAll signals the program and its children, which PostgreSQL's put into
// groups of their own. While they are looked for it makes no more.
func (p *process) signalAll(how syscall.Signal) {
	pid := p.cmd.Process.Pid
	_ = syscall.Kill(pid, syscall.SIGSTOP)
	all := []int{pid}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		p.t.Error(err)
	}
	for _, child := range strings.Fields(string(children)) {
		if n, err := strconv.Atoi(child); err == nil {
			all = append([]int{n}, all...)
		}
	}
	for _, pid := range all {
		if err := syscall.Kill(pid, how); err != nil && !errors.Is(err, syscall.ESRCH) {
			p.t.Error(err)
		}
	}
}
