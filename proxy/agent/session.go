package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/proxy/tunnel"
)

var (
	errStopped  = errors.New("it was asked to end")
	errShutDown = errors.New("the agent was shut down")
)

const removeLimit = 20 * time.Second // for the end of a session, more than endLimit

// session is one session that takes room here. Its goroutine, attend, owns the
// desktop and the record once the session is admitted.
type session struct {
	id, dir string
	config  RuntimeConfig
	desktop desktop
	log     *zap.Logger

	asked context.Context // ended when the session was asked to end, with why, or when the agent halts
	ask   context.CancelCauseFunc

	admitted chan struct{} // closed when the start is durable, or refused
	refused  error         // read after admitted
	over     chan struct{} // closed when nothing of it is left, or it was refused

	endpoint string // the name of its endpoint; read after admitted

	folder  sync.Mutex // of marks, until the folder goes
	removed bool       // the folder; guarded by folder

	// Guarded by Agent.mu.
	state  tunnel.SessionState
	reason string
}

// newSession is what a session needs to be attended; a.mu need not be held.
func (a *Agent) newSession(id string, config RuntimeConfig, r *record) *session {
	s := &session{
		id: id, dir: a.folder(id), config: config,
		log:      a.o.Log.With(zap.String("session", id)),
		admitted: make(chan struct{}), over: make(chan struct{}),
		state: r.State, endpoint: r.Endpoint,
	}
	s.asked, s.ask = context.WithCancelCause(a.ctx)
	s.desktop = newDesktop(place{
		session: id, agent: a.identity.ID, keeper: a.o.Keeper, lease: a.lease.path, dir: s.dir, config: config, record: r, claims: a.claims, log: s.log,
		spawn: func(f func(ctx context.Context)) { a.tasks.Go(func() { f(a.ctx) }) },
	})
	return s
}

func (a *Agent) folder(id string) string { return filepath.Join(a.data, sessionsFolder, id) }

// report is what the edge is told of an admitted session; Agent.mu is held.
func (s *session) report() tunnel.Report {
	return tunnel.Report{Session: s.id, State: s.state, Reason: s.reason, Endpoint: s.endpoint}
}

func (s *session) isAdmitted() bool {
	select {
	case <-s.admitted:
		return s.refused == nil
	default:
		return false
	}
}

// endAsAsked makes a session end. The wish is kept on disk, so that a crash in
// the middle does not bring the session back. It may be called more than once.
func (s *session) endAsAsked(why error) {
	<-s.admitted
	if s.refused != nil {
		return
	}
	if err := s.mark(stopFile); err != nil { // a full disk must not keep a session alive
		s.log.Warn("the end of a session can't be kept on disk; it is ended all the same", zap.Error(err))
	}
	s.ask(why)
}

// mark puts an empty file into the session's folder, if that is still there.
func (s *session) mark(name string) error {
	s.folder.Lock()
	defer s.folder.Unlock()
	if s.removed {
		return nil
	}
	mark, err := os.OpenFile(filepath.Join(s.dir, name), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(mark.Close(), syncFolder(s.dir))
}

// remove removes the folder, which a mark that came meanwhile would keep.
func (s *session) remove() error {
	s.folder.Lock()
	defer s.folder.Unlock()
	s.removed = true
	return os.RemoveAll(s.dir)
}

// askedToEnd tells a session that was asked to end from one whose agent halts.
func (s *session) askedToEnd() bool {
	why := context.Cause(s.asked)
	return errors.Is(why, errStopped) || errors.Is(why, errShutDown)
}

// start brings a new session up and attends it.
func (a *Agent) start(s *session, r *record) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(s.asked, s.config.startTimeout())
	err := s.desktop.start(ctx)
	cancel()
	if err == nil {
		r.State = tunnel.SessionRunning
		err = r.save(s.dir)
	}
	if err != nil {
		a.o.Metrics.starts.WithLabelValues(s.config.Name, "failed").Inc()
		a.finish(s, err)
		return
	}
	a.o.Metrics.starts.WithLabelValues(s.config.Name, "running").Inc()
	a.o.Metrics.startSeconds.Observe(time.Since(began).Seconds())
	s.log.Info("session runs", zap.String("runtime", s.config.Name), zap.Duration("after", time.Since(began)))
	a.change(s, tunnel.SessionRunning, "")
	a.attend(s)
}

// attend waits for the end of a session that runs, wanted or not.
func (a *Agent) attend(s *session) { a.finish(s, s.desktop.wait(s.asked)) }

// finish ends a session because of why, unless it only seems to end because the
// agent halts: then it is the next agent's.
func (a *Agent) finish(s *session, why error) {
	asked := s.askedToEnd()
	if !asked && a.ctx.Err() != nil {
		return
	}
	last := tunnel.Report{Session: s.id, State: tunnel.SessionFailed, Reason: why.Error()}
	switch {
	case asked:
		last.State, last.Reason = tunnel.SessionEnded, ""
		if cause := context.Cause(s.asked); !errors.Is(cause, errStopped) {
			last.Reason = cause.Error()
		}
	case errors.Is(why, errFenced), errors.Is(context.Cause(s.asked), errFenced), a.lease.over(): // whoever was first to see that, it or the keeper
		last = fenced(s.id)
	}
	a.change(s, tunnel.SessionStopping, last.Reason)
	ctx, cancel := context.WithTimeout(context.Background(), removeLimit)
	defer cancel()
	err := s.desktop.stop(ctx)
	if err == nil {
		err = s.remove()
	}
	if err != nil { // the next start of the agent tries again
		s.log.Error("a session could not be ended wholly", zap.Error(err))
		last = tunnel.Report{Session: s.id, State: tunnel.SessionFailed, Reason: "it could not be ended wholly: " + err.Error()}
	}
	s.log.Info("session over", zap.String("state", string(last.State)), zap.String("reason", last.Reason))
	a.claims.release(s.id)
	a.mu.Lock()
	delete(a.sessions, s.id)
	a.o.Metrics.sessions.Set(float64(len(a.sessions)))
	a.o.Report(last)
	a.mu.Unlock()
	close(s.over)
}

func (a *Agent) change(s *session, state tunnel.SessionState, reason string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s.state, s.reason = state, reason
	a.o.Report(s.report())
}
