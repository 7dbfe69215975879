package agent

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"slices"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/proxy/rfb"
	"github.com/streamspace-dev/streamspace-edge/proxy/tunnel"
	"github.com/streamspace-dev/streamspace-edge/proxy/websocket"
)

const maxSize = 16384 // pixels of a side that TigerVNC takes

// Command takes a command of an edge; its error is a *tunnel.Error. A start
// returns when it is on disk, a stop when the wish is; what comes of it is
// reported.
func (a *Agent) Command(ctx context.Context, c tunnel.Command) error {
	if id, err := uuid.Parse(c.Session); err != nil || id.String() != c.Session { // it names a folder
		return tunnel.Errorf(tunnel.CodeBadRequest, "%q is not a session's id", c.Session)
	}
	switch c.Action {
	case tunnel.ActionStart:
		return a.startCommand(ctx, c)
	case tunnel.ActionStop:
		return a.stopCommand(ctx, c.Session)
	default:
		return tunnel.Errorf(tunnel.CodeBadRequest, "%q is not an action that this agent knows", c.Action)
	}
}

func (a *Agent) startCommand(ctx context.Context, c tunnel.Command) error {
	if a.fence() {
		return tunnel.Errorf(tunnel.CodeUnavailable, "no edge has said for a while that sessions may live on the agent %s", a.o.Name)
	}
	r, config, err := a.plan(c)
	if err != nil {
		return err
	}
	s, isNew, err := a.reserve(c.Session, config, r)
	if err != nil {
		return err
	}
	if !isNew {
		return a.startedBefore(ctx, s)
	}
	err = a.admit(ctx, s, r)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		s.refused = err
		delete(a.sessions, s.id)
		close(s.over)
		close(s.admitted)
		return err
	}
	close(s.admitted)
	if a.halted { // it is on disk: the next agent starts it
		return nil
	}
	a.o.Metrics.sessions.Set(float64(len(a.sessions)))
	a.o.Report(s.report())
	a.tasks.Go(func() { a.start(s, r) })
	return nil
}

// plan makes the record of a new session.
func (a *Agent) plan(c tunnel.Command) (*record, RuntimeConfig, error) {
	if c.Width < 0 || c.Width > maxSize || c.Height < 0 || c.Height > maxSize {
		return nil, RuntimeConfig{}, tunnel.Errorf(tunnel.CodeBadRequest, "%d by %d pixels can't be shown; each side may have %d at most", c.Width, c.Height, maxSize)
	}
	config, found := a.runtime(c.Runtime)
	if c.Endpoint != "" {
		if config, found = a.runtimeWith(c.Runtime, c.Endpoint); !found {
			return nil, RuntimeConfig{}, tunnel.Errorf(tunnel.CodeNoRuntime, "the agent %s has no endpoint %q", a.o.Name, c.Endpoint)
		}
	}
	if !found {
		return nil, RuntimeConfig{}, tunnel.Errorf(tunnel.CodeNoRuntime, "the agent %s has no runtime %q", a.o.Name, c.Runtime)
	}
	r := &record{Runtime: config.Name, Type: config.Type, Width: c.Width, Height: c.Height, State: tunnel.SessionStarting, Endpoint: c.Endpoint}
	if r.Width == 0 {
		r.Width = defaultWidth
	}
	if r.Height == 0 {
		r.Height = defaultHeight
	}
	return r, config, nil
}

// runtime finds a runtime by its name; an empty one means the default.
func (a *Agent) runtime(name string) (RuntimeConfig, bool) {
	for _, config := range a.o.Runtimes {
		if name == "" || config.Name == name {
			return config, true
		}
	}
	return RuntimeConfig{}, false
}

// runtimeWith finds the runtime that has the endpoint; an empty name means any.
func (a *Agent) runtimeWith(name, endpoint string) (RuntimeConfig, bool) {
	for _, config := range a.o.Runtimes {
		if (name == "" || config.Name == name) && slices.Contains(config.endpointNames(), endpoint) {
			return config, true
		}
	}
	return RuntimeConfig{}, false
}

// reserve takes room for a session, or finds the one of that id.
func (a *Agent) reserve(id string, config RuntimeConfig, r *record) (s *session, isNew bool, err error) {
	fresh := a.newSession(id, config, r)
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := a.sessions[id]; s != nil {
		return s, false, nil
	}
	if a.halted || a.leaving {
		return nil, false, tunnel.Errorf(tunnel.CodeUnavailable, "the agent %s stops and takes no new sessions", a.o.Name)
	}
	if len(a.sessions) >= a.o.Capacity {
		return nil, false, tunnel.Errorf(tunnel.CodeNoRoom, "the agent %s has %d sessions, as many as it may have; end one, or raise its capacity", a.o.Name, len(a.sessions))
	}
	if slots := config.slots(); slots > 0 && a.countLocked(config.Name) >= slots {
		return nil, false, tunnel.Errorf(tunnel.CodeNoRoom, "all %d slots of the runtime %s of the agent %s are in use; end a session of it, or raise its slots", slots, config.Name, a.o.Name)
	}
	a.sessions[id] = fresh
	return fresh, true, nil
}

func (a *Agent) countLocked(runtime string) (n int) {
	for _, s := range a.sessions {
		if s.config.Name == runtime {
			n++
		}
	}
	return n
}

// startedBefore answers a start that came again: once the first is decided, in
// the same way.
func (a *Agent) startedBefore(ctx context.Context, s *session) error {
	select {
	case <-s.admitted:
	case <-ctx.Done():
		return tunnel.Errorf(tunnel.CodeTimeout, "the session's first start is not decided yet")
	}
	if s.refused != nil {
		return s.refused
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.sessions[s.id] != s || s.state == tunnel.SessionStopping {
		return tunnel.Errorf(tunnel.CodeTimeout, "what the agent has of the session is being ended")
	}
	a.o.Report(s.report())
	return nil
}

// admit makes the session durable. When it fails nothing of it is left.
func (a *Agent) admit(ctx context.Context, s *session, r *record) error {
	p := place{session: s.id, dir: s.dir, config: s.config, record: r, claims: a.claims}
	err := claim(ctx, p)
	if err == nil {
		err = makeFolder(p)
	}
	if err != nil {
		a.claims.release(s.id)
		s.log.Warn("a session was refused", zap.Error(err))
	}
	s.endpoint = r.Endpoint
	return err
}

func makeFolder(p place) error {
	err := os.Mkdir(p.dir, 0o700)
	if errors.Is(err, fs.ErrExist) { // of a session that could not be ended wholly
		return tunnel.Errorf(tunnel.CodeUnavailable, "the folder %s of an earlier session with this id is still there", p.dir)
	}
	if err == nil {
		err = p.record.save(p.dir)
	}
	if err == nil {
		return nil
	}
	os.RemoveAll(p.dir)
	return tunnel.Errorf(tunnel.CodeUnavailable, "the agent can't keep the session on disk: %v; look at its data folder", err)
}

func (a *Agent) stopCommand(ctx context.Context, id string) error {
	a.mu.Lock()
	s := a.sessions[id]
	if s == nil {
		a.o.Report(tunnel.Report{Session: id, State: tunnel.SessionEnded})
	}
	a.mu.Unlock()
	if s == nil {
		return nil
	}
	select {
	case <-s.admitted:
	case <-ctx.Done():
		return tunnel.Errorf(tunnel.CodeTimeout, "the session's start is not decided yet")
	}
	if s.refused != nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.o.Report(tunnel.Report{Session: id, State: tunnel.SessionEnded})
		return nil
	}
	s.endAsAsked(errStopped)
	return nil
}

// Open connects to a session's VNC server; its error is a *tunnel.Error. The
// caller closes the connection, a *tunnel.WebSocket when the server speaks that.
func (a *Agent) Open(ctx context.Context, o tunnel.OpenRequest) (net.Conn, error) {
	if a.fence() {
		return nil, tunnel.Errorf(tunnel.CodeNoSession, "the desktop is being ended: %v", errFenced)
	}
	a.mu.Lock()
	s := a.sessions[o.Session]
	var state tunnel.SessionState
	if s != nil && s.isAdmitted() {
		state = s.state
	}
	a.mu.Unlock()
	switch state {
	case tunnel.SessionRunning:
	case tunnel.SessionStarting:
		return nil, tunnel.Errorf(tunnel.CodeSessionStarts, "the desktop is starting")
	case tunnel.SessionStopping:
		return nil, tunnel.Errorf(tunnel.CodeNoSession, "the desktop is being ended")
	default:
		return nil, tunnel.Errorf(tunnel.CodeNoSession, "the agent %s does not run this session", a.o.Name)
	}
	conn, err := s.desktop.dial(ctx)
	if err != nil {
		return nil, tunnel.Errorf(dialCode(err), "the desktop's VNC server takes no connection: %v", err)
	}
	return conn, nil
}

// dialCode tells a refused password from other failures.
func dialCode(err error) tunnel.Code {
	var refused *rfb.RefusedError
	var web *websocket.RefusedError
	if errors.As(err, &refused) && refused.Security == rfb.SecurityVNCAuth || errors.As(err, &web) && web.Unauthorized() {
		return tunnel.CodeVNCPassword
	}
	return tunnel.CodeVNCRefused
}

// Greet is what a viewer hears of the agent itself, once Open has connected it:
// the VNC handshake, where Open has gone through the VNC server's.
func (a *Agent) Greet(_ context.Context, o tunnel.OpenRequest, viewer net.Conn) error {
	a.mu.Lock()
	s := a.sessions[o.Session]
	a.mu.Unlock()
	if s == nil {
		return tunnel.Errorf(tunnel.CodeNoSession, "the desktop has ended")
	}
	return s.desktop.welcome(viewer)
}
