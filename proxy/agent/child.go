package agent

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// statusLimit is how long a keeper may take to tell how a program ended. It is
// at once, unless somebody has stopped the keeper.
const statusLimit = 5 * time.Second

// child is a program that this agent had a keeper start.
type child struct {
	process
	told   chan syscall.WaitStatus // by the keeper, at most once; closed when it can't tell any more
	ended  chan struct{}           // closed when it has ended; never, when the agent closes first
	status string                  // how it ended: "was killed by signal 9 (killed)"; read after ended, as is killed
	killed bool                    // from outside, by a signal that tells a program to end
}

func newChild(p process) *child {
	return &child{process: p, told: make(chan syscall.WaitStatus, 1), ended: make(chan struct{})}
}

// watch returns when the child has ended, whether its keeper is there or not,
// or when ctx ends first.
func (c *child) watch(ctx context.Context) (ended bool) {
	if err := c.wait(ctx); err != nil {
		return false
	}
	var status syscall.WaitStatus
	known := false
	select {
	case status, known = <-c.told:
	case <-time.After(statusLimit):
	case <-ctx.Done():
		return false
	}
	if known {
		c.status, c.killed = howEnded(status), wasKilled(status)
	} else {
		c.status, c.killed = "ended or was killed; how is not known, since its keeper was killed", true
	}
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

func howEnded(status syscall.WaitStatus) string {
	if status.Signaled() {
		return fmt.Sprintf("was killed by signal %d (%s)", status.Signal(), status.Signal())
	}
	return fmt.Sprintf("exited with status %d", status.ExitStatus())
}

func wasKilled(status syscall.WaitStatus) bool {
	if !status.Signaled() {
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
