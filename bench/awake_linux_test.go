package bench

import (
	"errors"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestKeepAwakeStepsAside: its programs run when nobody else wants to, and their CPU
// does not count as others'.
func TestKeepAwakeStepsAside(t *testing.T) {
	all, err := keepAwake(t.TempDir())
	defer func() {
		for _, p := range all {
			p.kill()
		}
	}()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != runtime.NumCPU() {
		t.Errorf("%d programs for %d cores", len(all), runtime.NumCPU())
	}
	for _, p := range all {
		if attr, err := unix.SchedGetAttr(p.pid(), 0); err != nil || attr.Policy != unix.SCHED_IDLE {
			t.Errorf("%+v, %v", attr, err)
		}
	}
	counts := func(aside []*process) *clock {
		c, err := (&clock{result: &Measurement{CPU: map[string]float64{}}, aside: aside}).start()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	with, without := counts(nil), counts(all)
	for end := ownUse(t, all) + 1; ownUse(t, all) < end; {
		time.Sleep(10 * time.Millisecond)
	}
	if err := errors.Join(without.stop(), with.stop()); err != nil {
		t.Fatal(err)
	}
	if theirs := with.result.Others - without.result.Others; theirs < 0.5 {
		t.Errorf("a second of theirs makes %g s of difference", theirs)
	}
}

// ownUse is the CPU of processes so far, in seconds.
func ownUse(t *testing.T, all []*process) (seconds float64) {
	t.Helper()
	cpu, err := used(all)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range cpu {
		seconds += d.Seconds()
	}
	return seconds
}
