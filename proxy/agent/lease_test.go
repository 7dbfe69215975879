//go:build linux

package agent

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/streamspace-dev/streamspace-edge/proxy/tunnel"
)

const (
	ample = time.Hour            // no test lasts as long
	brief = 10 * time.Nanosecond // it is over as it is given
)

// leaseOf writes the lease of an agent that runs elsewhere, or does not run.
func leaseOf(t *testing.T, data string, end time.Duration) {
	t.Helper()
	l, err := openLease(data)
	if err != nil {
		t.Fatal(err)
	}
	l.end = 0
	if err := errors.Join(l.set(end), l.close()); err != nil {
		t.Fatal(err)
	}
}

func wantLost(t *testing.T, r tunnel.Report) {
	t.Helper()
	if !r.Lost || r.Reason != errFenced.Error() {
		t.Errorf("%+v, want it lost because %v", r, errFenced)
	}
}

func TestAnAgentThatHearsOfNoEdgeEndsItsSessions(t *testing.T) {
	data := t.TempDir()
	a := startAgent(t, data, bareRuntime(), RuntimeConfig{Name: "demo", Type: TypeDemo})
	a.Beat()(ample)
	ids := []string{a.running("bare"), a.running("demo")}
	a.Beat()(-1) // says nothing
	for _, id := range ids {
		a.greets(id)
	}
	a.lease.end = 0
	answered := a.Beat()
	answered(brief)
	if _, err := a.open(ids[0]); err == nil {
		t.Error("a viewer was let in when the lease was over")
	}
	if err := a.command(tunnel.Command{Action: tunnel.ActionStart, Session: newID(t)}); err == nil {
		t.Error("a session was started when the lease was over")
	}
	for _, id := range ids {
		wantLost(t, a.becomes(id, tunnel.SessionFailed))
		nothingLeft(t, data, id)
	}
	a.Beat()(ample)
	a.greets(a.running("bare"))
}

// TestAWordThatComesTooLateSavesNoSession: they may have been started elsewhere.
func TestAWordThatComesTooLateSavesNoSession(t *testing.T) {
	data := t.TempDir()
	a := startAgent(t, data, bareRuntime())
	id := a.running("")
	a.Beat()(brief)
	a.Beat()(ample)
	wantLost(t, a.becomes(id, tunnel.SessionFailed))
	a.greets(a.running(""))
}

func TestTheLongestLeaseCounts(t *testing.T) {
	a := startAgent(t, t.TempDir(), bareRuntime())
	early := a.Beat()
	a.Beat()(ample)
	end := a.lease.end
	early(ample)
	a.Beat()(time.Minute) // of an edge that knows less
	if a.lease.end != end {
		t.Errorf("the lease ends at %v, want %v", a.lease.end, end)
	}
	a.Beat()(0)
	if a.lease.end != 0 {
		t.Errorf("the lease ends at %v, want none", a.lease.end)
	}
}

// TestAKeeperEndsWhatItsAgentCannot: all that is below it, and nothing before the
// lease is over.
func TestAKeeperEndsWhatItsAgentCannot(t *testing.T) {
	for _, c := range []struct {
		name   string
		become func(t *testing.T, a *childAgent)
	}{
		{"an agent that stands still", func(t *testing.T, a *childAgent) {
			if err := a.cmd.Process.Signal(unix.SIGSTOP); err != nil {
				t.Fatal(err)
			}
		}},
		{"an agent that was killed", func(_ *testing.T, a *childAgent) { a.kill() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			data := t.TempDir()
			before := startChildAgent(t, data, daemonRuntime())
			id := before.start("")
			before.becomes(id, tunnel.SessionRunning)
			members := treeOf(t, id, daemonProcesses...)
			c.become(t, before)
			noneGone(t, members)
			leaseOf(t, data, brief)
			eventually(t, "the keeper ends its session", func() error {
				for _, p := range members {
					if p.alive() {
						return fmt.Errorf("process %d is there: %s", p.PID, commandLine(p))
					}
				}
				return nil
			})
			before.kill()
			wantLost(t, startAgent(t, data, daemonRuntime()).becomes(id, tunnel.SessionFailed))
			nothingLeft(t, data, id)
		})
	}
}

// TestAKeepersClock: it waits for the end that is in the file when it wakes.
func TestAKeepersClock(t *testing.T) {
	data := t.TempDir()
	path := filepath.Join(data, leaseFile)
	leaseOf(t, data, sinceBoot()+100*time.Millisecond)
	over := make(chan error, 1)
	go func() { over <- awaitLeaseEnd(path) }()
	leaseOf(t, data, sinceBoot()+300*time.Millisecond)
	l, err := openLease(data)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	if err := <-over; err != nil {
		t.Fatal(err)
	}
	if !l.over() {
		t.Error("the keeper saw the lease end before it did")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := awaitLeaseEnd(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without the file: %v", err)
	}
}

func TestTheNextAgentEndsWhatTheLeaseOfTheOneBeforeDidNot(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(t *testing.T, data, id string)
		lost bool
	}{
		{"it is over", func(t *testing.T, data, _ string) { leaseOf(t, data, brief) }, true},
		{"it lasts", func(t *testing.T, data, _ string) { leaseOf(t, data, sinceBoot()+ample) }, false},
		{"there is none", func(*testing.T, string, string) {}, false},
		{"of another boot", func(t *testing.T, data, _ string) {
			text := append([]byte{0, 0, 0, 0, 0, 0, 0, 1}, "another boot"...)
			if err := os.WriteFile(filepath.Join(data, leaseFile), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}, false},
		{"broken", func(t *testing.T, data, _ string) {
			if err := os.WriteFile(filepath.Join(data, leaseFile), []byte("?"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, false},
		{"it was given anew while sessions were ended", func(t *testing.T, data, id string) {
			leaseOf(t, data, sinceBoot()+ample)
			if err := os.WriteFile(filepath.Join(data, sessionsFolder, id, fencedFile), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			data := t.TempDir()
			before := startAgent(t, data, bareRuntime())
			id := before.running("")
			before.leave()
			c.do(t, data, id)
			a := startAgent(t, data, bareRuntime())
			if !c.lost {
				a.greets(id)
				return
			}
			wantLost(t, a.becomes(id, tunnel.SessionFailed))
			nothingLeft(t, data, id)
		})
	}
}

func TestALeaseThatCannotBeKeptIsToldWithItsPath(t *testing.T) {
	data := t.TempDir()
	if err := os.Mkdir(filepath.Join(data, leaseFile), 0o700); err != nil {
		t.Fatal(err)
	}
	o, _ := testOptions(t, data, bareRuntime())
	_, err := New(o)
	wantWords(t, fmt.Sprint(err), filepath.Join(data, leaseFile))
}

// TestALeaseThatHasNoRoomIsTold: an agent without one must not start.
func TestALeaseThatHasNoRoomIsTold(t *testing.T) {
	data := t.TempDir()
	if err := os.Symlink("/dev/full", filepath.Join(data, leaseFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := openLease(data); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%v", err)
	}
}

func FuzzALeaseIsReadOrRefused(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(make([]byte, leaseEndSize))
	f.Add(append(binary.BigEndian.AppendUint64(nil, 1<<63), "some-boot"...))
	f.Add(append(make([]byte, leaseEndSize), bytes.Repeat([]byte("x"), 500)...))
	f.Fuzz(func(t *testing.T, text []byte) {
		end, boot, err := readLease(bytes.NewReader(text))
		if err == nil && (len(text) < leaseEndSize || len(boot) > 128 || end < 0) {
			t.Errorf("%d bytes are a lease until %v of boot %q", len(text), end, boot)
		}
	})
}
