package agent

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// child is a process that this agent started.
type child struct {
	process
	cmd    *exec.Cmd
	ended  chan struct{} // closed when it has ended; never, when the agent closes first
	status string        // how it ended: "was killed by signal 9 (killed)"; read after ended, as is killed
	killed bool          // from outside, by a signal that tells a program to end
}

func newChild(cmd *exec.Cmd) (*child, error) {
	p, err := processOf(cmd.Process.Pid)
	if err != nil {
		cmd.Process.Kill()
		return nil, errors.Join(fmt.Errorf("a process that was just started can't be looked at: %w", err), cmd.Wait())
	}
	return &child{process: p, cmd: cmd, ended: make(chan struct{})}, nil
}

// reap waits for the child's end, or leaves it running when ctx ends first.
func (c *child) reap(ctx context.Context) (ended bool) {
	if err := c.wait(ctx); err != nil {
		c.cmd.Process.Release()
		return false
	}
	c.status = howEnded(c.cmd.Wait(), c.cmd.ProcessState)
	c.killed = wasKilled(c.cmd.ProcessState)
	close(c.ended)
	return true
}

func (c *child) hasEnded() bool {
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}

func howEnded(err error, state *os.ProcessState) string {
	if state == nil {
		return fmt.Sprintf("ended, how is not known: %v", err)
	}
	status, ok := state.Sys().(syscall.WaitStatus)
	if ok && status.Signaled() {
		return fmt.Sprintf("was killed by signal %d (%s)", status.Signal(), status.Signal())
	}
	return fmt.Sprintf("exited with status %d", state.ExitCode())
}

func wasKilled(state *os.ProcessState) bool {
	if state == nil {
		return false
	}
	status, ok := state.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() {
		return false
	}
	switch status.Signal() {
	case syscall.SIGKILL, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP:
		return true
	}
	return false // it crashed
}

// displayReader gets the number of the display that an X server chose.
type displayReader struct{ ours, theirs *os.File }

func newDisplayReader() (*displayReader, error) {
	ours, theirs, err := os.Pipe()
	return &displayReader{ours, theirs}, err
}

func (r *displayReader) close() {
	r.ours.Close()
	r.theirs.Close()
}

// read gives errServerEnded when the server closes the pipe without a word.
func (r *displayReader) read(ctx context.Context) (string, error) {
	r.theirs.Close() // the server's copy is the only one now, so its death ends the pipe
	defer context.AfterFunc(ctx, func() { r.ours.SetReadDeadline(time.Unix(1, 0)) })()
	const longest = 16 // bytes; a display number has 5 digits at most
	line, err := bufio.NewReader(io.LimitReader(r.ours, longest)).ReadString('\n')
	switch {
	case err == io.EOF && line == "":
		return "", errServerEnded
	case err != nil && err != io.EOF:
		return "", errors.New("it named no display")
	}
	display := strings.TrimSpace(line)
	if _, err := strconv.ParseUint(display, 10, 16); err != nil {
		return "", fmt.Errorf("it named the display %q, which is no number", display)
	}
	return display, nil
}
