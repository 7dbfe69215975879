package agent

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/proxy/reactor"
)

// What a keeper has open when it is started.
const (
	agentDescriptor   = 3 // the first of exec.Cmd.ExtraFiles: its agent, for orders and news
	displayDescriptor = 4 // for the X server that chooses its display itself
)

// Keeper and agent talk with gob, which keeps words that are not UTF-8. They
// are always the same binary: an agent that adopts a session does not talk with
// its keeper, which is one more process of the session to it.
type (
	// order asks a keeper to start a program.
	order struct {
		Path, Dir, Log string // all absolute
		Args, Env      []string
		Display        bool   // displayDescriptor is its descriptor 3
		Lease          string // the file of the agent's lease
	}
	// news answers an order, or tells the end of a program that was started.
	news struct {
		Process process // when it ended, its PID only
		Failed  string  // why the program was not started; empty: it was
		Ended   bool
		Status  syscall.WaitStatus // when it ended
	}
)

// keeper is the process above all others of a session, which keeps them its
// descendants whatever they do, for this agent and for the next one. This is
// the end of the agent that started it.
type keeper struct {
	conn    *net.UnixConn
	orders  *gob.Encoder
	answers chan answer // of one order at a time; closed when it says nothing any more
}

type answer struct {
	child *child
	err   error
}

// startKeeper's keeper ends when it was dismissed and nothing is below it.
// display may be nil.
func (d *processDesktop) startKeeper(display *displayReader) (*keeper, error) {
	log, err := openLog(filepath.Join(d.dir, serverLog))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	near, far, err := reactor.SocketPair()
	if err != nil {
		return nil, err
	}
	defer far.Close()
	conn := near.(*net.UnixConn)
	theirs, err := far.(*net.UnixConn).File()
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	defer theirs.Close()
	cmd := exec.Command("/proc/self/exe", d.keeper, d.session) // this very binary, also when a newer one took its place
	cmd.Args[0] = "streamspace"
	cmd.Dir = "/"
	cmd.Env = keeperEnvironment(d.session, d.agent)
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.ExtraFiles = []*os.File{theirs}
	if display != nil {
		cmd.ExtraFiles = append(cmd.ExtraFiles, display.theirs)
	}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	started, err := processOf(cmd.Process.Pid)
	if err != nil {
		cmd.Process.Kill()
		return nil, errors.Join(err, cmd.Wait(), conn.Close())
	}
	k := &keeper{conn: conn, orders: gob.NewEncoder(conn), answers: make(chan answer, 1)}
	d.spawn(func(ctx context.Context) {
		k.listen(ctx)
		if started.wait(ctx) != nil {
			cmd.Process.Release()
			return
		}
		if err := cmd.Wait(); err != nil {
			d.log.Warn("a session's keeper failed", zap.Int("pid", started.PID), zap.Error(err))
		}
	})
	return k, nil
}

// listen takes what the keeper says until it ends, or ctx does.
func (k *keeper) listen(ctx context.Context) {
	defer k.conn.Close()
	defer context.AfterFunc(ctx, func() { k.conn.SetReadDeadline(time.Unix(1, 0)) })()
	programs := map[int]*child{}
	for decoder := gob.NewDecoder(k.conn); ; {
		var n news
		if decoder.Decode(&n) != nil {
			break
		}
		switch program := programs[n.Process.PID]; {
		case n.Failed != "":
			k.answers <- answer{err: errors.New(n.Failed)}
		case !n.Ended:
			program = newChild(n.Process)
			programs[program.PID] = program
			k.answers <- answer{child: program}
		case program != nil:
			delete(programs, program.PID)
			program.told <- n.Status
		}
	}
	close(k.answers)
	for _, program := range programs {
		close(program.told)
	}
}

// launch starts a program. One goroutine at a time calls it.
func (k *keeper) launch(ctx context.Context, o order) (*child, error) {
	deadline, _ := ctx.Deadline()
	k.conn.SetWriteDeadline(deadline)
	if err := k.orders.Encode(o); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			<-ctx.Done() // it is over, and its caller looks at that
		}
		return nil, fmt.Errorf("its keeper takes no order: %w", err)
	}
	select {
	case a, more := <-k.answers:
		if !more {
			return nil, errors.New("its keeper ended")
		}
		return a.child, a.err
	case <-ctx.Done():
		return nil, fmt.Errorf("its keeper does not answer: %w", ctx.Err())
	}
}

// dismiss tells the keeper that no order follows.
func (k *keeper) dismiss() { k.conn.CloseWrite() }

// keeperEnvironment has the marks by which an agent finds the session, and
// what keeps a Go program small that mostly sleeps.
func keeperEnvironment(session, agent string) []string {
	return []string{
		sessionVariable + "=" + session, agentVariable + "=" + agent, keeperVariable + "=1",
		"GOMAXPROCS=1", "GOGC=20",
	}
}
