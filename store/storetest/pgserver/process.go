package pgserver

import (
	"context"
	"errors"
	"os"
	"os/exec"
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

// start starts a program whose output goes to the file log. When this program
// dies it gets the signal orphaned.
func start(t testing.TB, log string, orphaned syscall.Signal, name string, args ...string) *process {
	t.Helper()
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	p := &process{t: t, name: name, log: log, cmd: exec.Command(name, args...), ended: make(chan struct{})}
	p.cmd.Dir = "/"
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

// stop sends a signal, SIGKILL to the whole group, and waits for the end.
func (p *process) stop(how syscall.Signal) {
	select {
	case <-p.ended:
		return
	default:
	}
	if how == syscall.SIGKILL {
		p.signalGroup(how)
	} else if err := p.cmd.Process.Signal(how); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Error(err)
	}
	<-p.ended
}

func (p *process) signalGroup(s syscall.Signal) {
	if err := syscall.Kill(-p.cmd.Process.Pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
		p.t.Error(err)
	}
}
