package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/streamspace-dev/streamspace-edge/proxy/agent"
	"github.com/streamspace-dev/streamspace-edge/proxy/reactor"
	"github.com/streamspace-dev/streamspace-edge/proxy/tunnel"
)

type agentCommand struct {
	Config string `placeholder:"FILE" help:"The config file, see docs/config.md. The flags below take its place or override it."`
	Check  bool   `help:"Validate the config, tell every fault with its line and column, and exit."`

	Edge      []string `placeholder:"URL" help:"The edge's address, like https://edge.example.org. May be repeated for several edges of one cluster."`
	TokenFile string   `placeholder:"FILE" help:"The file that holds the join token."`
	Name      string   `help:"This agent's name; the host's name by default."`
	Runtime   []string `placeholder:"TYPE" help:"How sessions are started: process (a VNC server each) or demo (the built-in one). May be repeated."`
	Data      string   `placeholder:"DIR" help:"The folder for the agent's state."`
	Capacity  *int     `placeholder:"N" help:"How many sessions may run here at once."`
}

// Run runs the agent until SIGTERM, SIGINT or SIGHUP. Its sessions run on unless
// on_shutdown says otherwise.
func (c *agentCommand) Run(s *surroundings) error {
	config := defaultAgentConfig()
	if err := c.load(config); err != nil {
		return err
	}
	if c.Check {
		return config.tellValid(s, c.source())
	}
	ctx, stop := untilSignalOrHangup()
	defer stop()
	a, err := openAgent(config, s.log, s.processors)
	if err != nil {
		return err
	}
	return a.serve(ctx)
}

// load takes the file, then the flags, and checks the result as one.
func (c *agentCommand) load(config *agentConfig) error {
	if c.Config != "" {
		return loadConfig(c.Config, config, func() { c.override(config) })
	}
	found := &faults{}
	c.override(config)
	config.validate(found)
	if len(found.list) > 0 {
		return &configError{File: c.source(), Faults: found.list}
	}
	return nil
}

// source is where the config comes from, as messages call it.
func (c *agentCommand) source() string {
	if c.Config == "" {
		return "the command line"
	}
	return c.Config
}

func (c *agentCommand) override(config *agentConfig) {
	for _, flag := range []struct{ value, target *string }{
		{&c.TokenFile, &config.TokenFile}, {&c.Name, &config.Name}, {&c.Data, &config.Data},
	} {
		if *flag.value != "" {
			*flag.target = *flag.value
		}
	}
	if len(c.Edge) > 0 {
		config.Edge = c.Edge
	}
	if c.Capacity != nil {
		config.Capacity = *c.Capacity
	}
	if len(c.Runtime) > 0 {
		config.Runtimes = nil
		for _, kind := range c.Runtime {
			config.Runtimes = append(config.Runtimes, runtimeConfig{Name: kind, Type: kind})
		}
	}
}

// agentProcess is the runtimes and their way to the edges.
type agentProcess struct {
	config *agentConfig
	log    *zap.Logger
	agent  *agent.Agent
	loops  *reactor.Reactor              // carry the streams
	client atomic.Pointer[tunnel.Client] // nil while the agent adopts: its hello will tell what came of that
}

// openAgent takes the data folder and adopts the sessions that still run. The
// caller calls serve or close.
func openAgent(config *agentConfig, log *zap.Logger, p *processors) (*agentProcess, error) {
	token, err := readToken(config.TokenFile)
	if err != nil {
		return nil, fmt.Errorf("token_file: %w", err)
	}
	tlsConfig, err := agentTLS(token.pin, config.TLS.CAFile)
	if err != nil {
		return nil, fmt.Errorf("tls.ca_file: %w", err)
	}
	loops, err := p.openLoops()
	if err != nil {
		return nil, err
	}
	a := &agentProcess{config: config, log: log, loops: loops}
	runtimes := make([]agent.RuntimeConfig, len(config.Runtimes))
	for i, r := range config.Runtimes {
		runtimes[i] = r.options()
	}
	a.agent, err = agent.New(agent.Options{
		Name: config.Name, Version: version, Data: config.Data,
		Capacity: config.Capacity, Weight: config.Weight, Labels: config.Labels, Runtimes: runtimes,
		Keeper: keeperVerb,
		Report: func(r tunnel.Report) {
			if client := a.client.Load(); client != nil {
				client.Report(r)
			}
		},
		Log: log.Named("agent"),
	})
	if err != nil {
		loops.Close()
		return nil, err
	}
	_, key := a.agent.Identity()
	a.client.Store(tunnel.NewClient(tunnel.ClientOptions{
		Edges: config.Edge, Token: token.secret, AgentKey: key, TLS: tlsConfig, Pinned: homeTLS, Log: log.Named("tunnel"), Reactor: loops,
		Hello: a.agent.Hello, Beat: a.agent.Beat, Command: a.agent.Command, Open: a.agent.Open, Greet: a.agent.Greet,
	}))
	return a, nil
}

// serve runs until ctx ends or the edge refuses this agent for good, then
// leaves as on_shutdown says.
func (a *agentProcess) serve(ctx context.Context) error {
	background, stopBackground := context.WithCancel(context.Background())
	defer stopBackground()
	if a.config.desktopsAreRoot(os.Geteuid()) {
		a.log.Warn("this agent runs as root, and so do its desktops: whoever may open one is root on this host; run the agent as a user of its own, as deploy/systemd does")
	}
	parts, failed := errgroup.WithContext(background)
	parts.Go(func() error { return a.agent.Run(background) })
	parts.Go(func() error { return a.client.Load().Run(background) })
	a.log.Info("agent started", zap.String("name", a.config.Name), zap.Strings("edge", a.config.Edge))

	select {
	case <-ctx.Done():
		a.leave()
	case <-failed.Done():
	}
	stopBackground()
	err := parts.Wait()
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return errors.Join(err, a.close())
}

// desktopsAreRoot tells whether what people run in their desktops runs as root
// when the agent has that user id.
func (c *agentConfig) desktopsAreRoot(uid int) bool {
	return uid == 0 && slices.ContainsFunc(c.Runtimes, func(r runtimeConfig) bool { return r.Type == agent.TypeProcess })
}

// leave says good-bye, so that the edge need not wait for missed beats to know.
func (a *agentProcess) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	bye := tunnel.Bye{Reason: "it was stopped; its desktops run on"}
	if a.config.OnShutdown == endSessions {
		bye = tunnel.Bye{Reason: "it was shut down", Final: true}
		if err := a.agent.EndAll(ctx); err != nil {
			a.log.Error("some sessions could not be ended", zap.Error(err))
		}
	}
	if err := a.client.Load().Leave(ctx, bye); err != nil {
		a.log.Info("the edge could not be told that this agent leaves", zap.Error(err))
	}
}

func (a *agentProcess) close() error {
	a.loops.Close()
	return a.agent.Close()
}
