package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/streamspace-dev/streamspace-edge/proxy/tunnel"
)

const (
	adoptLimit  = 5 * time.Second // for one VNC server to greet the agent that came back
	adoptAtOnce = 16
)

// adoptAll takes over what the agent before left: sessions that run, starts
// that were cut short, ends that were. It only looks; what there is to end or
// to start is left for Run.
func (a *Agent) adoptAll() error {
	entries, err := os.ReadDir(filepath.Join(a.data, sessionsFolder))
	if err != nil {
		return err
	}
	var group errgroup.Group
	group.SetLimit(adoptAtOnce)
	for _, entry := range entries {
		if uuid.Validate(entry.Name()) != nil || !entry.IsDir() {
			a.o.Log.Warn("what is this among the sessions? It is left alone", zap.String("name", entry.Name()))
			continue
		}
		group.Go(func() error {
			a.adopt(entry.Name())
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return a.endStrays()
}

// adopt decides what becomes of one session folder.
func (a *Agent) adopt(id string) {
	r, err := loadRecord(a.folder(id))
	acknowledged := r != nil || err != nil
	if r == nil || err != nil {
		r = &record{Type: TypeProcess} // so that its processes are looked for
	}
	config, found := a.runtime(r.Runtime)
	if !found || config.Type != r.Type || r.Runtime == "" {
		config, found = RuntimeConfig{Name: r.Runtime, Type: r.Type}, false
	}
	s := a.newSession(id, config, r)
	close(s.admitted)
	if r.Type == TypeStatic {
		a.claims.take(endpointClaim(r.Address), id)
	}
	_, markErr := os.Stat(filepath.Join(s.dir, stopFile))
	_, fencedErr := os.Stat(filepath.Join(s.dir, fencedFile))
	switch {
	case !acknowledged || markErr == nil:
		s.ask(errStopped)
		a.resumeAs(s, tunnel.SessionStopping, func() { a.finish(s, errStopped) })
	case a.lease.over() || fencedErr == nil:
		a.giveUp(s, errFenced)
	case err != nil:
		a.giveUp(s, fmt.Errorf("its state on disk can't be read: %w", err))
	case r.State == tunnel.SessionRunning:
		a.adoptRunning(s)
	case !found:
		a.giveUp(s, fmt.Errorf("the runtime %q is not in the agent's config any more", r.Runtime))
	default:
		a.resumeAs(s, tunnel.SessionStarting, func() { a.startAnew(s, r) })
	}
}

func (a *Agent) adoptRunning(s *session) {
	ctx, cancel := context.WithTimeout(a.ctx, adoptLimit)
	defer cancel()
	if err := s.desktop.adopt(ctx); err != nil {
		a.giveUp(s, err)
		return
	}
	s.log.Info("session adopted", zap.String("runtime", s.config.Name))
	a.resumeAs(s, tunnel.SessionRunning, func() { a.attend(s) })
}

// giveUp ends what is left of a session and reports that it failed.
func (a *Agent) giveUp(s *session, why error) {
	s.log.Warn("a session of the agent before can't be adopted", zap.Error(why))
	a.resumeAs(s, tunnel.SessionStopping, func() { a.finish(s, why) })
}

// startAnew begins a start again that was acknowledged but not carried through.
func (a *Agent) startAnew(s *session, r *record) {
	if err := s.desktop.stop(a.ctx); err != nil {
		a.finish(s, err)
		return
	}
	a.start(s, r)
}

func (a *Agent) resumeAs(s *session, state tunnel.SessionState, next func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s.state = state
	a.sessions[s.id] = s
	a.o.Metrics.sessions.Set(float64(len(a.sessions)))
	a.resume = append(a.resume, next)
}

// endStrays ends the processes of sessions whose folders are gone.
func (a *Agent) endStrays() error {
	marked, err := markedSessions(a.identity.ID)
	if err != nil {
		return fmt.Errorf("the host's processes can't be listed: %w", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for id := range marked {
		if a.sessions[id] != nil {
			continue
		}
		a.resume = append(a.resume, func() {
			err := newTree(id, a.identity.ID).end(a.ctx, nil)
			if err != nil && !errors.Is(err, context.Canceled) {
				a.o.Log.Error("processes without a session can't be ended", zap.String("session", id), zap.Error(err))
				return
			}
			a.o.Log.Warn("ended the processes of a session whose folder is gone", zap.String("session", id))
		})
	}
	return nil
}
