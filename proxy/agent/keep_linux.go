package agent

import (
	"encoding/gob"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// Keep is the whole life of a session's keeper, the process of Options.Keeper:
// it starts what its agent orders and stays above it, so that whatever loses
// its parent below becomes the keeper's child (PR_SET_CHILD_SUBREAPER of
// prctl(2)), not init's. It returns when its agent orders nothing more, or is
// gone, and no process is below it: only a wait for children can tell that for
// certain. A program has everything else from its order, also its environment.
func Keep() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("this process can't adopt orphans: %w", err)
	}
	// Without it, it would be called "exe"; and who ends all agents by their
	// name does not mean it.
	if err := os.WriteFile("/proc/self/comm", []byte("session-keeper"), 0); err != nil {
		return err
	}
	unix.CloseOnExec(displayDescriptor) // if it is there; no program but one may have it
	k := &keeping{programs: map[int]bool{}}
	var err error
	if k.agent, err = fileConn(agentDescriptor); err != nil {
		return fmt.Errorf("no agent has started this process: %w", err)
	}
	k.tell = gob.NewEncoder(k.agent)
	childEnded := make(chan os.Signal, 1)
	signal.Notify(childEnded, unix.SIGCHLD)
	// They end what is below it, not itself. Not ignored, since its programs
	// would inherit that.
	signal.Notify(make(chan os.Signal, 1), unix.SIGTERM, unix.SIGHUP, unix.SIGINT)
	orders := make(chan order)
	go k.hear(orders)
	for {
		select {
		case o, more := <-orders:
			if more {
				k.start(o)
				break
			}
			orders = nil
			debug.FreeOSMemory() // from here on it only waits
		case <-childEnded:
		}
		if childless := k.reap(); childless && orders == nil {
			return nil
		}
	}
}

// keeping is the keeper's own view. All but hear and fence runs on one goroutine, so a
// program is told as started before its end is.
type keeping struct {
	agent    net.Conn
	tell     *gob.Encoder
	programs map[int]bool
	watching bool        // fence runs
	fenced   atomic.Bool // nothing is started any more
}

func fileConn(descriptor uintptr) (net.Conn, error) {
	file := os.NewFile(descriptor, "agent")
	defer file.Close() // net.FileConn has its own copy, which no program inherits
	return net.FileConn(file)
}

// hear ends with the agent's half of the connection, for whatever cause.
func (k *keeping) hear(orders chan<- order) {
	defer close(orders)
	for decoder := gob.NewDecoder(k.agent); ; {
		var o order
		if decoder.Decode(&o) != nil {
			return
		}
		orders <- o
	}
}

func (k *keeping) start(o order) {
	started, err := k.launch(o)
	told := news{Process: started}
	if err != nil {
		told.Failed = err.Error()
	}
	k.tellAgent(told)
}

func (k *keeping) launch(o order) (process, error) {
	if o.Lease != "" && !k.watching {
		k.watching = true
		go k.fence(o.Lease)
	}
	if k.fenced.Load() {
		return process{}, errFenced
	}
	log, err := openLog(o.Log)
	if err != nil {
		return process{}, fmt.Errorf("the session's log can't be opened: %w", err)
	}
	defer log.Close()
	nothing, err := os.Open(os.DevNull)
	if err != nil {
		return process{}, err
	}
	defer nothing.Close()
	files := []uintptr{nothing.Fd(), log.Fd(), log.Fd()}
	if o.Display {
		files = append(files, displayDescriptor)
		defer unix.Close(displayDescriptor) // the program's copy is the only one now
	}
	// Not os.StartProcess: that may wait for children of its own meanwhile.
	pid, err := syscall.ForkExec(o.Path, o.Args, &syscall.ProcAttr{
		Dir: o.Dir, Env: o.Env, Files: files, Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return process{}, err
	}
	k.programs[pid] = true
	return processOf(pid) // which is there, ended or not, until reap
}

// reap takes what has ended, and tells whether there are no children any more.
func (k *keeping) reap() (childless bool) {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return true
		case pid == 0:
			return false
		case k.programs[pid]:
			delete(k.programs, pid)
			k.tellAgent(news{Process: process{PID: pid}, Ended: true, Status: status})
		}
	}
}

// tellAgent may fail: the agent that gave the orders is not there for ever, and
// the next one sees for itself.
func (k *keeping) tellAgent(n news) { _ = k.tell.Encode(n) }
