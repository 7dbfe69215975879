package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// checkProcesses fails on a host where processes can't be watched and ended
// safely: that needs pidfds, which Linux has since 5.10 in the form used here.
func checkProcesses() error {
	fd, err := unix.PidfdOpen(os.Getpid(), unix.PIDFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("this kernel has no usable pidfd_open (%w); the runtime type %s needs Linux 5.10 or newer", err, TypeProcess)
	}
	return unix.Close(fd)
}

// bootID changes when the host starts anew.
func bootID() (string, error) {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return string(bytes.TrimSpace(text)), err
}

func readStat(pid int) (stat, error) {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, err
	}
	return parseStat(line)
}

// processOf names the process that has this pid now.
func processOf(pid int) (process, error) {
	s, err := readStat(pid)
	return s.process(), err
}

// alive tells whether p still runs; a zombie does not.
func (p process) alive() bool {
	s, err := readStat(p.PID)
	return err == nil && s.process() == p && !s.dead()
}

// open gives a pidfd of p; nil when p is gone. The caller closes it.
func (p process) open() (*os.File, error) {
	fd, err := unix.PidfdOpen(p.PID, unix.PIDFD_NONBLOCK)
	if errors.Is(err, unix.ESRCH) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("process %d can't be watched: %w", p.PID, err)
	}
	file := os.NewFile(uintptr(fd), "pidfd")
	// What the descriptor stands for can't change any more, so it is p, if p
	// has this pid now.
	if !p.alive() {
		return nil, file.Close()
	}
	return file, nil
}

// wait returns nil when p has ended, whoever its parent is, or ctx's error.
func (p process) wait(ctx context.Context) error {
	file, err := p.open()
	if file == nil || err != nil {
		return err
	}
	defer file.Close()
	defer context.AfterFunc(ctx, func() { file.SetReadDeadline(time.Unix(1, 0)) })()
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		ended := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		var n int
		n, failed = unix.Poll(ended, 0)
		if errors.Is(failed, unix.EINTR) {
			failed = nil
		}
		return n > 0 || failed != nil
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return errors.Join(err, failed)
}

// signal sends sig to p and to no other process; p may be gone.
func (p process) signal(sig unix.Signal) error {
	file, err := p.open()
	if file == nil || err != nil {
		return err
	}
	defer file.Close()
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = unix.PidfdSendSignal(int(fd), sig, nil, 0) })
	if errors.Is(failed, unix.ESRCH) {
		failed = nil
	}
	return errors.Join(err, failed)
}

// listProcesses reads every process of the host that has not ended.
func listProcesses() ([]stat, error) {
	folder, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	names, err := folder.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var all []stat
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if s, err := readStat(pid); err == nil && !s.dead() { // else it has ended meanwhile
			all = append(all, s)
		}
	}
	return all, nil
}

// environment is the one that p was started with; nil when it can't be read.
func (p process) environment() [][]byte {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.PID), "environ"))
	if err != nil {
		return nil
	}
	return bytes.Split(text, []byte{0})
}

// markedSessions are the ids of the sessions that have processes here which
// were started by the agent of that id.
func markedSessions(agent string) (map[string]bool, error) {
	all, err := listProcesses()
	if err != nil {
		return nil, err
	}
	found := map[string]bool{}
	for _, s := range all {
		var session string
		ours := false
		for _, variable := range s.process().environment() {
			name, value, _ := bytes.Cut(variable, []byte("="))
			switch string(name) {
			case sessionVariable:
				session = string(value)
			case agentVariable:
				ours = string(value) == agent
			}
		}
		if ours && session != "" && s.pid != os.Getpid() {
			found[session] = true
		}
	}
	return found, nil
}
