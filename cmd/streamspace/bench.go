package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/streamspace-dev/streamspace-edge/bench"
)

type benchCommand struct {
	Relay  benchRelayCommand  `cmd:"" help:"Compare the relay with HAProxy, nginx and websockify on this machine."`
	HTTP   benchHTTPCommand   `cmd:"" name:"http" help:"Compare the balancer with HAProxy and nginx on this machine."`
	Worker benchWorkerCommand `cmd:"" hidden:"" help:"A process of the load generator; bench starts it itself."`
}

type benchRelayCommand struct {
	Work     []string      `placeholder:"bulk,echo,..." help:"What to measure: bulk, echo, desktop, idle, storm, hold. By default all but hold."`
	Systems  []string      `placeholder:"edge,haproxy,..." help:"What to measure it on: edge, edge-plain, edge+agent, haproxy, haproxy-plain, nginx, nginx-plain, websockify, haproxy+websockify, nginx+websockify. By default those that make sense for the work."`
	Rounds   int           `default:"3" help:"How often each system has its turn."`
	Duration time.Duration `default:"5s" help:"How long each measurement lasts, without its warm-up."`
	Viewers  int           `placeholder:"N" help:"Viewers at once; of storm, in all. By default as many as the work has by itself."`
	Out      string        `default:"bench-report" placeholder:"DIR" help:"Folder of the report, relay.html and relay.json."`
	Seed     uint64        `default:"1" help:"Of the bytes and rhythms; the same seed gives the same."`
	Keep     bool          `help:"Keep the folder with the configs that were used."`
}

// Help is what --help tells beside the flags.
func (benchRelayCommand) Help() string {
	return `Each system is started anew for each measurement, with a config that bench writes, on free ports of 127.0.0.1.
Viewers and VNC servers are processes of their own, so the load generator's CPU does not count. Every byte is checked
in both directions; one wrong byte fails the run.

Examples:
  streamspace bench relay
  streamspace bench relay --work desktop --systems edge,haproxy --duration 10s
  streamspace bench relay --work hold --rounds 1 --duration 5m`
}

// Run measures and writes the report.
func (c *benchRelayCommand) Run(s *surroundings) error {
	return runBench(s, "relay", bench.Relay, bench.Options{
		Works: c.Work, Systems: c.Systems, Rounds: c.Rounds, Duration: c.Duration, Viewers: c.Viewers, Seed: c.Seed, Out: c.Out, Keep: c.Keep,
	})
}

type benchHTTPCommand struct {
	Work     []string      `placeholder:"small,new,..." help:"What to measure: small, first, body64k, new, handshake, steady. By default all."`
	Systems  []string      `placeholder:"edge,haproxy,..." help:"What to measure it on: edge, edge-plain, haproxy, haproxy-plain, nginx, nginx-plain. By default those that make sense for the work."`
	Rounds   int           `default:"3" help:"How often each system has its turn."`
	Duration time.Duration `default:"5s" help:"How long each measurement lasts, without its warm-up; whole seconds."`
	Clients  int           `default:"${benchClients}" help:"Connections at once."`
	Rate     int           `default:"${benchRate}" help:"Requests a second in steady, the same for every system."`
	Out      string        `default:"bench-report" placeholder:"DIR" help:"Folder of the report, http.html and http.json."`
	Keep     bool          `help:"Keep the folder with the configs that were used."`
}

// Help is what --help tells beside the flags.
func (benchHTTPCommand) Help() string {
	return `Each system is started anew for each measurement, with a config that bench writes, on free ports of 127.0.0.1, in
front of the same upstreams: one nginx. wrk asks as fast as answers come; in steady our own load generator asks at a
fixed rate, and in handshake it makes a whole handshake for each request. Neither's CPU counts. Any error of a connection or an answer makes a measurement a failed one.

Examples:
  streamspace bench http
  streamspace bench http --work small --systems edge,haproxy --duration 10s
  streamspace bench http --work steady --rate 2000`
}

// Run measures and writes the report.
func (c *benchHTTPCommand) Run(s *surroundings) error {
	return runBench(s, "http", bench.HTTP, bench.Options{
		Works: c.Work, Systems: c.Systems, Rounds: c.Rounds, Duration: c.Duration, Clients: c.Clients, Rate: c.Rate, Out: c.Out, Keep: c.Keep,
	})
}

func runBench(s *surroundings, verb string, run func(context.Context, bench.Options) error, o bench.Options) (err error) {
	if o.Program, err = os.Executable(); err != nil {
		return fmt.Errorf("bench has to start this program again, and can't find it: %w", err)
	}
	o.Version, o.Progress, o.Table = version+revision(), s.stderr, s.stdout
	ctx, stop := untilSignalOrHangup()
	defer stop()
	err = run(ctx, o)
	var usage *bench.UsageError
	if errors.As(err, &usage) {
		return &configError{File: "streamspace bench " + verb, Faults: []fault{{Text: usage.Text}}}
	}
	return err
}

type benchWorkerCommand struct {
	Role string `arg:"" enum:"servers,viewers,clients" help:"servers, viewers or clients."`
}

// Run obeys the orders that come on standard input until it ends.
func (c *benchWorkerCommand) Run(s *surroundings) error {
	ctx, stop := untilSignalOrHangup()
	defer stop()
	return bench.Work(ctx, c.Role, os.Stdin, s.stdout)
}
