package bench

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/proxy/reactor"
	"github.com/streamspace-dev/streamspace-edge/proxy/tunnel"
)

// simPlan is how simulated agents are. To an edge they are real ones: the tunnel
// is the agents' own, and only the desktops are missing.
type simPlan struct {
	Edges    []string // seeds, as in an agent's config: https://HOST:PORT or http://
	Token    string   // the join token, without its pin; certificates are not checked
	Capacity int      // sessions at once, of each agent
	Labels   func(i int) map[string]string
	Runtimes []tunnel.Runtime // nil: one called "sim"
	VNC      string           // address of a VNC server for all streams; empty: streams are refused

	// Started is told of each start that an agent takes for the first time, just
	// before its ack is sent; nil: nobody is.
	Started func(session string)
}

const simRuntime = "sim"

// simAgents are many agents in this process. They take every start at once, run
// it at once, and know what they run when they connect anew. Whoever makes them
// calls close.
type simAgents struct {
	plan    simPlan
	loops   *reactor.Reactor // of all of them
	all     []*simAgent
	running sync.WaitGroup
	stop    context.CancelFunc
	failed  chan error // the first that an edge refuses for good
}

// startSimAgents lets n agents dial; it does not wait until they are there.
func startSimAgents(plan simPlan, n int) (*simAgents, error) {
	if plan.Runtimes == nil {
		plan.Runtimes = []tunnel.Runtime{{Name: simRuntime, Type: "process"}}
	}
	ctx, stop := context.WithCancel(context.Background())
	agents := &simAgents{plan: plan, loops: reactor.NewPortable(2), stop: stop, failed: make(chan error, 1)}
	for i := range n {
		a, err := newSimAgent(agents, i)
		if err != nil {
			agents.close()
			return nil, err
		}
		agents.all = append(agents.all, a)
		agents.running.Go(func() {
			if err := a.client.Run(ctx); err != nil && ctx.Err() == nil {
				select {
				case agents.failed <- fmt.Errorf("simulated agent %d: %w", i, err):
				default: // one tells enough
				}
			}
		})
	}
	return agents, nil
}

// alive is an error when an edge has refused one of them for good.
func (s *simAgents) alive() error {
	select {
	case err := <-s.failed:
		s.failed <- err
		return err
	default:
		return nil
	}
}

// sessions is how many run on all of them.
func (s *simAgents) sessions() (n int) {
	for _, a := range s.all {
		n += a.count()
	}
	return n
}

// close ends the tunnels without a good-bye, as a crash does, and waits.
func (s *simAgents) close() {
	s.stop()
	s.running.Wait()
	s.loops.Close()
}

// simAgent is one of them.
type simAgent struct {
	plan   *simPlan
	hello  tunnel.Hello // without its sessions; never changed
	client *tunnel.Client

	mu   sync.Mutex
	runs map[string]bool // by session id
}

func newSimAgent(crew *simAgents, i int) (*simAgent, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	a := &simAgent{plan: &crew.plan, runs: map[string]bool{}, hello: tunnel.Hello{
		AgentID: id.String(), Name: fmt.Sprintf("sim-%d", i), Version: "bench",
		Capacity: crew.plan.Capacity, Weight: 1, Runtimes: crew.plan.Runtimes,
	}}
	if crew.plan.Labels != nil {
		a.hello.Labels = crew.plan.Labels(i)
	}
	unchecked := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}} // the edges are the run's own
	a.client = tunnel.NewClient(tunnel.ClientOptions{
		Edges: crew.plan.Edges, Token: crew.plan.Token, AgentKey: hex.EncodeToString(key), TLS: unchecked,
		Pinned: func(string) *tls.Config { return unchecked }, Log: zap.NewNop(), Reactor: crew.loops,
		Hello: a.describe, Command: a.command, Open: a.open,
	})
	return a, nil
}

func (a *simAgent) describe() tunnel.Hello {
	hello := a.hello
	a.mu.Lock()
	defer a.mu.Unlock()
	hello.Sessions = make([]tunnel.Report, 0, len(a.runs))
	for id := range a.runs {
		hello.Sessions = append(hello.Sessions, tunnel.Report{Session: id, State: tunnel.SessionRunning})
	}
	return hello
}

func (a *simAgent) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.runs)
}

func (a *simAgent) runsIt(session string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.runs[session]
}

// command takes what an edge asks for. It is idempotent, as a real agent is, and
// holds to its capacity, so that an edge that places too many is found out.
func (a *simAgent) command(_ context.Context, c tunnel.Command) error {
	switch c.Action {
	case tunnel.ActionStart:
		fresh, err := a.take(c.Session)
		if err != nil {
			return err
		}
		if fresh && a.plan.Started != nil {
			a.plan.Started(c.Session)
		}
		a.client.Report(tunnel.Report{Session: c.Session, State: tunnel.SessionRunning})
	case tunnel.ActionStop:
		a.mu.Lock()
		delete(a.runs, c.Session)
		a.mu.Unlock()
		a.client.Report(tunnel.Report{Session: c.Session, State: tunnel.SessionEnded})
	default:
		return tunnel.Errorf(tunnel.CodeBadRequest, "a simulated agent knows no action %q", c.Action)
	}
	return nil
}

// take adds the session; fresh: it did not run before.
func (a *simAgent) take(session string) (fresh bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.runs[session]:
		return false, nil
	case len(a.runs) >= a.hello.Capacity:
		return false, tunnel.Errorf(tunnel.CodeNoRoom, "all %d places of %s are taken", a.hello.Capacity, a.hello.Name)
	}
	a.runs[session] = true
	return true, nil
}

const simDialLimit = 5 * time.Second

func (a *simAgent) open(ctx context.Context, o tunnel.OpenRequest) (net.Conn, error) {
	switch {
	case !a.runsIt(o.Session):
		return nil, tunnel.Errorf(tunnel.CodeNoSession, "%s does not run this session", a.hello.Name)
	case a.plan.VNC == "":
		return nil, tunnel.Errorf(tunnel.CodeVNCRefused, "simulated agents have no VNC server in this run")
	}
	conn, err := (&net.Dialer{Timeout: simDialLimit}).DialContext(ctx, "tcp", a.plan.VNC)
	if err != nil {
		return nil, errors.Join(tunnel.Errorf(tunnel.CodeVNCRefused, "the VNC server of the run does not answer"), err)
	}
	return conn, nil
}

// ids are those of the sessions that run there now.
func (a *simAgent) ids() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Collect(maps.Keys(a.runs))
}
