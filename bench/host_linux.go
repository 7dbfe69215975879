package bench

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// supported is nil where processes can be measured.
func supported() error { return nil }

// ownGroup makes a child the first of a process group, and lets it die with
// this process however that ends.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

func signalGroup(pid int, s syscall.Signal) { _ = syscall.Kill(-pid, s) } // it may have ended

// raiseFileLimit lets this process and its children open as many files as the
// system allows, and tells how many.
func raiseFileLimit() (uint64, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("reading the limit of open files: %w", err)
	}
	limit.Cur = limit.Max
	// Also when Go has raised it already: what it raised by itself, children
	// do not inherit.
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("raising the limit of open files to %d: %w", limit.Max, err)
	}
	return limit.Cur, nil
}

// tick is the unit of CPU time in /proc: USER_HZ, 100 on every architecture
// that Go runs on.
const tick = 10 * time.Millisecond

// members calls do for each process of the leaders' groups, and for each child of
// a leader that has a group of its own, as PostgreSQL's have, with the fields of its
// stat.
func members(leaders []int, do func(leader int, dir string, stat []string) error) error {
	ours := map[string]int{}
	for _, leader := range leaders {
		ours[strconv.Itoa(leader)] = leader
	}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		fields := statFields(dir + "/stat")
		if fields == nil {
			continue // it has ended
		}
		leader, ok := ours[fields[2]]
		if !ok {
			leader, ok = ours[fields[1]]
		}
		if ok {
			if err := do(leader, dir, fields); err != nil {
				return err
			}
		}
	}
	return nil
}

// statFields is /proc/PID/stat behind the command's name: [0] is the state,
// [1] the parent, [2] the group, [11] to [14] the CPU times.
func statFields(file string) []string {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 15 {
		return nil
	}
	return fields
}

// cpuTime is what the groups have used so far, each with the children that its
// processes have waited for. The key is the leader.
func cpuTime(leaders []int) (map[int]time.Duration, error) {
	used := map[int]time.Duration{}
	err := members(leaders, func(leader int, dir string, stat []string) error {
		cpu, err := cpuOf(stat)
		if err != nil {
			return fmt.Errorf("%s/stat: %w", dir, err)
		}
		used[leader] += cpu
		return nil
	})
	return used, err
}

// ownTime is what this process has used so far.
func ownTime() time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// cpuOf is what a process and the children that it has waited for have used.
func cpuOf(stat []string) (used time.Duration, err error) {
	for _, text := range stat[11:15] {
		ticks, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return 0, err
		}
		used += time.Duration(ticks) * tick
	}
	return used, nil
}

// memory is the proportional set size of all the groups' processes in bytes.
func memory(leaders []int) (total int64, err error) {
	err = members(leaders, func(_ int, dir string, _ []string) error {
		text, err := os.ReadFile(dir + "/smaps_rollup")
		if err != nil {
			return nil // it has ended
		}
		_, rest, ok := strings.Cut(string(text), "\nPss:")
		if !ok {
			return nil // it is ending: no memory is left
		}
		kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
		total += kib << 10
		return err
	})
	return total, err
}

// openFiles is how many descriptors the groups' processes hold.
func openFiles(leaders []int) (total int, err error) {
	err = members(leaders, func(_ int, dir string, _ []string) error {
		entries, _ := os.ReadDir(dir + "/fd") // none when it has ended
		total += len(entries)
		return nil
	})
	return total, err
}

// machineBusy is the CPU time that all of the machine has used.
func machineBusy() time.Duration {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(text), "\n")
	var busy time.Duration
	for i, field := range strings.Fields(line) {
		if i == 0 || i == 4 || i == 5 || i > 8 { // the name, idle, iowait, guests (counted in user)
			continue
		}
		ticks, _ := strconv.ParseInt(field, 10, 64)
		busy += time.Duration(ticks) * tick
	}
	return busy
}

// keepAwake keeps all cores from going to sleep, until its programs, one for each,
// are stopped. They run when nobody else wants to.
func keepAwake(dir string) (all []*process, err error) {
	for range runtime.NumCPU() {
		p, err := launch("what keeps a core awake", dir, "/bin/sh", "-c", "while :; do :; done")
		if err == nil {
			all = append(all, p)
			err = unix.SchedSetAttr(p.pid(), &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_IDLE}, 0)
		}
		if err != nil {
			return all, fmt.Errorf("--awake: %w", err)
		}
	}
	return all, nil
}

// machine describes the hardware for the report.
func machine() string {
	model := "unknown CPU"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, rest, ok := strings.Cut(string(text), "model name"); ok {
			line, _, _ := strings.Cut(rest, "\n")
			model = strings.TrimSpace(strings.TrimLeft(line, "\t :"))
		}
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return model + ", Linux " + strings.TrimSpace(string(kernel))
}
