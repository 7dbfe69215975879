package bench

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// TestKeepAwakeStepsAside: its programs run when nobody else wants to, do not count
// as others, and end.
func TestKeepAwakeStepsAside(t *testing.T) {
	dir := t.TempDir()
	before := running(t, dir)
	stop, err := keepAwake(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := running(t, dir)
	if n := len(all) - len(before); n != runtime.NumCPU() {
		t.Errorf("%d programs for %d cores", n, runtime.NumCPU())
	}
	for _, pid := range all {
		if attr, err := unix.SchedGetAttr(pid, 0); err != nil || attr.Policy != unix.SCHED_IDLE {
			t.Errorf("%+v, %v", attr, err)
		}
		if priority, err := unix.Getpriority(unix.PRIO_PROCESS, pid); err != nil || priority != 20-19 { // as the kernel tells it
			t.Errorf("priority %d, %v", priority, err)
		}
	}
	stop()
	if left := running(t, dir); len(left) != 0 {
		t.Errorf("%d are left", len(left))
	}
}

// running are the processes whose folder is dir.
func running(t *testing.T, dir string) (pids []int) {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if at, err := os.Readlink(link); err == nil && at == dir {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(link)))
			pids = append(pids, pid)
		}
	}
	return pids
}
