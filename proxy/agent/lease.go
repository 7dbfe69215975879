package agent

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/proxy/tunnel"
)

// errFenced ends sessions that the edges may have started again elsewhere.
var errFenced = errors.New("its agent heard of no edge for so long that it may have been started elsewhere")

const leaseFile = "lease"

// A lease file is the end of the lease, nanoseconds of sinceBoot, or 0: there is
// none; behind it is the boot that it is of.
const leaseEndSize = 8

// lease is how long the agent's sessions may live without a word of any edge. Its
// end is also in a file, where every session's keeper looks: an agent that is
// killed, or stands still, can't end what it should. The clock is sinceBoot, so
// no change of the time of day counts, and a host that sleeps does. Safe for
// concurrent use.
type lease struct {
	path string
	file *os.File

	mu     sync.Mutex
	end    time.Duration // 0: none
	told   bool          // that it is over
	failed bool          // the last write, and it was logged
}

// openLease takes over the lease of the agent before, if the host has not been
// restarted since.
func openLease(data string) (*lease, error) {
	path := filepath.Join(data, leaseFile)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the agent's lease can't be kept: %w", err)
	}
	boot, err := bootID()
	if err != nil { // not on Linux: no desktop outlives its agent
		boot = "none"
	}
	l := &lease{path: path, file: file}
	if end, of, err := readLease(file); err == nil && of == boot {
		l.end = end
		return l, nil
	}
	text := append(make([]byte, leaseEndSize), boot...)
	if _, err = file.WriteAt(text, 0); err == nil {
		err = file.Truncate(int64(len(text)))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the agent's lease can't be kept: %w; look at the disk of its data folder", err), file.Close())
	}
	return l, nil
}

func readLease(file io.ReaderAt) (end time.Duration, boot string, err error) {
	text := make([]byte, 128)
	n, err := file.ReadAt(text, 0)
	if err != nil && err != io.EOF {
		return 0, "", err
	}
	if n < leaseEndSize {
		return 0, "", io.ErrUnexpectedEOF
	}
	if end = time.Duration(binary.BigEndian.Uint64(text)); end < 0 {
		return 0, "", fmt.Errorf("a lease that ends at %d ns", end)
	}
	return end, string(text[leaseEndSize:n]), nil
}

// over tells whether the lease has run out.
func (l *lease) over() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.end > 0 && sinceBoot() >= l.end
}

// set writes eight bytes in their place, for which a full disk has room.
func (l *lease) set(end time.Duration) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if end == l.end || end > 0 && end < l.end { // another edge has given longer
		return nil
	}
	l.end, l.told = end, false
	_, err := l.file.WriteAt(binary.BigEndian.AppendUint64(nil, uint64(end)), 0)
	first := !l.failed
	l.failed = err != nil
	if !first {
		return nil
	}
	return err
}

// tellOver is true once each time the lease runs out.
func (l *lease) tellOver() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := !l.told
	l.told = true
	return first
}

func (l *lease) close() error { return l.file.Close() }

// Beat is called when an edge is about to be asked how long sessions may live
// without it, and answered with its answer, tunnel.Beat's Lease, which counts
// from the call of Beat.
func (a *Agent) Beat() (answered func(lease time.Duration)) {
	asked := sinceBoot()
	return func(length time.Duration) {
		var end time.Duration
		switch {
		case length < 0:
			return
		case length > 0:
			end = asked + length
		}
		a.fence() // what had to end before this word came
		if err := a.lease.set(end); err != nil {
			a.o.Log.Error("the agent's lease can't be written, so desktops may end before their time", zap.String("file", a.lease.path), zap.Error(err))
		}
	}
}

// fence ends every session when the lease is over, and tells whether it is.
func (a *Agent) fence() (over bool) {
	if !a.lease.over() {
		return false
	}
	a.mu.Lock()
	all := make([]*session, 0, len(a.sessions))
	for _, s := range a.sessions {
		all = append(all, s)
	}
	a.mu.Unlock()
	if len(all) > 0 && a.lease.tellOver() {
		a.o.Log.Warn("no edge was heard of for so long that sessions may have been started elsewhere: ending those here", zap.Int("sessions", len(all)))
	}
	for _, s := range all {
		s.endFenced()
	}
	return true
}

// endFenced makes a session end that may have been started elsewhere. The mark
// is for the next agent, should this one end before the session has.
func (s *session) endFenced() {
	if s.asked.Err() != nil {
		return
	}
	if s.isAdmitted() {
		if err := s.mark(fencedFile); err != nil {
			s.log.Warn("that a session is to end can't be kept on disk; it is ended all the same", zap.Error(err))
		}
	}
	s.ask(errFenced)
}

// fenced is the last report of a session that was ended by fence.
func fenced(id string) tunnel.Report {
	return tunnel.Report{Session: id, State: tunnel.SessionFailed, Reason: errFenced.Error(), Lost: true}
}
