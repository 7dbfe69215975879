// Package agent is the far end of a session: runtimes that start VNC servers,
// adopt them after a restart of the agent, and connect viewers to them.
//
// What a session needs to be found again is in a folder of its own,
// Data/sessions/ID, before anything of it is acknowledged. Every process of a
// session is below the session's keeper, which carries the session's and the
// agent's id in its environment as they do. So whatever happens to the agent,
// the next one with the same data folder either adopts a session or ends all
// that is left of it.
package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/proxy/tunnel"
)

// Options configure an Agent.
type Options struct {
	Name, Version string
	Data          string // the folder for its state, made with mode 0700; one agent a folder
	Capacity      int    // sessions at once, at least 1
	Weight        int    // at least 1
	Labels        map[string]string
	Runtimes      []RuntimeConfig // at least one; the first is the default

	// Keeper is the word with which the running binary, started anew with it and
	// a session's id as arguments, calls Keep; every session of the type process
	// has such a process above its others. Empty only where no runtime has that
	// type.
	Keeper string

	// Report takes each change of a session, in order. It is not called before
	// Run, must not block and must not call the Agent.
	Report  func(tunnel.Report)
	Log     *zap.Logger // nil: none
	Metrics *Metrics    // nil: kept to itself
}

const sessionsFolder = "sessions"

// Agent starts sessions and answers for them. Safe for concurrent use.
type Agent struct {
	o        Options
	data     string // absolute
	identity identity
	lock     *os.File
	lease    *lease
	claims   *claims

	ctx    context.Context // ended by halt
	cancel context.CancelFunc
	tasks  sync.WaitGroup // one for each session, child process and demo server

	mu       sync.Mutex
	sessions map[string]*session
	resume   []func() // what is left to do for the sessions of the agent before; Run does it
	leaving  bool     // EndAll was called
	halted   bool
}

// New takes the data folder, which fails when another agent runs with it, and
// adopts the sessions that an earlier agent left there. The caller calls Run,
// and Close in the end.
func New(o Options) (*Agent, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	data, err := filepath.Abs(o.Data)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(data, sessionsFolder), 0o700); err != nil {
		return nil, fmt.Errorf("the data folder can't be made: %w; change data (--data)", err)
	}
	lock, err := lockFolder(data)
	if err != nil {
		return nil, err
	}
	a := &Agent{o: o, data: data, lock: lock, claims: newClaims(), sessions: map[string]*session{}}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	if a.lease, err = openLease(data); err == nil {
		a.identity, err = loadIdentity(data)
	}
	if err == nil {
		err = a.adoptAll()
	}
	if err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

func (o *Options) complete() error {
	var faults []error
	add := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if o.Data == "" {
		add("data: must name the folder for the agent's state")
	}
	if o.Capacity < 1 {
		add("capacity: %d is too small; at least 1 session", o.Capacity)
	}
	if o.Weight < 1 {
		add("weight: %d is too small; at least 1", o.Weight)
	}
	if len(o.Runtimes) == 0 {
		add("runtimes: at least one is needed")
	}
	seen := map[string]bool{}
	for i, r := range o.Runtimes {
		for _, fault := range r.Validate() {
			add("runtimes[%d].%s: %s", i, fault.Key, fault.Text)
		}
		if seen[r.Name] {
			add("runtimes[%d].name: %q is used twice", i, r.Name)
		}
		if r.Type == TypeProcess && o.Keeper == "" {
			add("keeper: must be named for the runtime type %s", TypeProcess)
		}
		seen[r.Name] = true
	}
	if o.Report == nil {
		o.Report = func(tunnel.Report) {}
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	return errors.Join(faults...)
}

// Identity is the agent's id, a UUIDv7, and its secret: 32 random bytes in
// base64url. Both were made at the first start with this data folder.
func (a *Agent) Identity() (id, key string) { return a.identity.ID, a.identity.Key }

// Hello is what the agent says of itself now.
func (a *Agent) Hello() tunnel.Hello {
	a.fence()
	hello := tunnel.Hello{
		AgentID: a.identity.ID, Name: a.o.Name, Version: a.o.Version,
		Capacity: a.o.Capacity, Weight: a.o.Weight, Labels: a.o.Labels,
	}
	for _, r := range a.o.Runtimes {
		hello.Runtimes = append(hello.Runtimes, tunnel.Runtime{
			Name: r.Name, Type: r.Type, Slots: r.slots(), Endpoints: r.endpointNames(), Missing: r.Missing()})
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.sessions {
		if s.isAdmitted() {
			hello.Sessions = append(hello.Sessions, s.report())
		}
	}
	slices.SortFunc(hello.Sessions, func(x, y tunnel.Report) int { return strings.Compare(x.Session, y.Session) })
	return hello
}

// Run does what is left to do for the sessions of the agent before and looks
// after log files and the lease, until ctx ends. Then it waits for every goroutine of the
// Agent; sessions run on. It returns nil and is called once.
func (a *Agent) Run(ctx context.Context) error {
	for _, r := range a.o.Runtimes {
		if missing := r.Missing(); missing != "" {
			a.o.Log.Warn("no desktop of this runtime can start", zap.String("runtime", r.Name), zap.String("reason", missing))
		}
	}
	a.doResume()
	every := time.NewTicker(time.Second)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			a.halt()
			return nil
		case <-every.C:
			a.fence()
			a.trimLogs()
		}
	}
}

func (a *Agent) doResume() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, f := range a.resume {
		a.goLocked(f)
	}
	a.resume = nil
}

// goLocked runs f on a goroutine of its own that halt waits for, unless it is
// too late. a.mu is held.
func (a *Agent) goLocked(f func()) {
	if !a.halted {
		a.tasks.Go(f)
	}
}

func (a *Agent) trimLogs() {
	a.mu.Lock()
	var folders []string
	for _, s := range a.sessions {
		if s.config.Type == TypeProcess {
			folders = append(folders, s.dir)
		}
	}
	a.mu.Unlock()
	for _, folder := range folders {
		for _, name := range []string{serverLog, desktopLog} {
			if err := trimLog(filepath.Join(folder, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
				a.o.Log.Warn("a session's log can't be shortened", zap.String("file", filepath.Join(folder, name)), zap.Error(err))
			}
		}
	}
}

// EndAll shuts down for good: no session is started any more, every one is
// ended and reported. It returns when all have ended, or with ctx, and names
// those that are left. It must come before Close and before Run's end.
func (a *Agent) EndAll(ctx context.Context) error {
	a.doResume()
	a.mu.Lock()
	a.leaving = true
	var all []*session
	for _, s := range a.sessions {
		all = append(all, s)
	}
	a.mu.Unlock()
	var left []string
	for _, s := range all {
		s.endAsAsked(errShutDown)
	}
	for _, s := range all {
		select {
		case <-s.over:
		case <-ctx.Done():
			left = append(left, s.id)
		}
	}
	if left != nil {
		return fmt.Errorf("sessions %s have not ended: %w", strings.Join(left, ", "), ctx.Err())
	}
	return nil
}

func (a *Agent) halt() {
	a.mu.Lock()
	a.halted = true
	a.mu.Unlock()
	a.cancel()
	a.tasks.Wait()
}

// Close lets go of the data folder. Sessions run on, except those of the demo
// runtime, for the next agent to adopt; a start that is under way is begun anew
// by it.
func (a *Agent) Close() error {
	a.halt()
	var err error
	if a.lease != nil {
		err = a.lease.close()
	}
	return errors.Join(err, a.lock.Close())
}
