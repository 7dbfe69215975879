package bench

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is a program that the run started, the first of a process group of
// its own.
type process struct {
	name   string
	cmd    *exec.Cmd
	output tail
	exited chan struct{}
}

// launch starts a program. It dies with this process at the latest.
func launch(name, dir string, argv ...string) (*process, error) {
	p := prepare(name, dir, argv...)
	p.cmd.Stdout = &p.output
	return p, p.begin()
}

func prepare(name, dir string, argv ...string) *process {
	p := &process{name: name, cmd: exec.Command(argv[0], argv[1:]...), exited: make(chan struct{})}
	p.cmd.Dir = dir
	p.cmd.Stderr = &p.output
	p.cmd.SysProcAttr = ownGroup()
	p.cmd.WaitDelay = time.Second // its children may hold its output open
	return p
}

func (p *process) begin() error {
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("%s can't be started: %w", p.name, err)
	}
	go func() {
		defer close(p.exited)
		_ = p.cmd.Wait() // how it ended is in its output, and matters only when it ended early
	}()
	return nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// alive is an error when the process has ended.
func (p *process) alive() error {
	select {
	case <-p.exited:
		return fmt.Errorf("%s ended (%s): %s", p.name, p.cmd.ProcessState, p.output.String())
	default:
		return nil
	}
}

// stop ends the whole group: with SIGTERM, and after grace with SIGKILL.
func (p *process) stop(grace time.Duration) {
	signalGroup(p.pid(), syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(grace):
	}
	signalGroup(p.pid(), syscall.SIGKILL) // also what the first one left behind
	<-p.exited
}

// kill ends it as a crash does and waits.
func (p *process) kill() {
	signalGroup(p.pid(), syscall.SIGKILL)
	<-p.exited
}

// tail keeps the last that a process printed.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const tailSize = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if extra := len(t.text) - tailSize; extra > 0 {
		t.text = append(t.text[:0], t.text[extra:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.text))
}

// until asks again and again until ready has no error, p has ended, or limit is
// over.
func until(ctx context.Context, p *process, limit time.Duration, what string, ready func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := ready()
		if err == nil {
			return nil
		}
		if gone := p.alive(); gone != nil {
			return gone
		}
		if !sleep(ctx, 20*time.Millisecond) {
			return fmt.Errorf("%s: %s: %w; its output: %s", p.name, what, err, p.output.String())
		}
	}
}
