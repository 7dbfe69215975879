package bench

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
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

// groups finds the processes of each group.
func groups(leaders []int) (map[int][]int, error) {
	entries, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	found := map[int][]int{}
	for _, leader := range leaders {
		found[leader] = nil
	}
	for _, file := range entries {
		fields := statFields(file)
		if fields == nil {
			continue // it has ended
		}
		group, err := strconv.Atoi(fields[2])
		if _, ours := found[group]; err != nil || !ours {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			return nil, err
		}
		found[group] = append(found[group], pid)
	}
	return found, nil
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
	found, err := groups(leaders)
	if err != nil {
		return nil, err
	}
	used := map[int]time.Duration{}
	for leader, members := range found {
		for _, pid := range members {
			fields := statFields(fmt.Sprintf("/proc/%d/stat", pid))
			if fields == nil {
				continue
			}
			for _, text := range fields[11:15] {
				ticks, err := strconv.ParseInt(text, 10, 64)
				if err != nil {
					return nil, fmt.Errorf("/proc/%d/stat: %w", pid, err)
				}
				used[leader] += time.Duration(ticks) * tick
			}
		}
	}
	return used, nil
}

// memory is the proportional set size of all the groups' processes in bytes.
func memory(leaders []int) (total int64, err error) {
	found, err := groups(leaders)
	if err != nil {
		return 0, err
	}
	for _, members := range found {
		for _, pid := range members {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
			if err != nil {
				continue // it has ended
			}
			_, rest, ok := strings.Cut(string(text), "\nPss:")
			if !ok {
				continue // it is ending: no memory is left
			}
			kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				return 0, fmt.Errorf("/proc/%d/smaps_rollup: %w", pid, err)
			}
			total += kib << 10
		}
	}
	return total, nil
}

// openFiles is how many descriptors the groups' processes hold.
func openFiles(leaders []int) (total int, err error) {
	found, err := groups(leaders)
	if err != nil {
		return 0, err
	}
	for _, members := range found {
		for _, pid := range members {
			entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
			if err == nil {
				total += len(entries)
			}
		}
	}
	return total, nil
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
