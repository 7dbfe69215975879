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
	Relay   benchRelayCommand   `cmd:"" help:"Compare the relay with HAProxy, nginx and websockify on this machine."`
	HTTP    benchHTTPCommand    `cmd:"" name:"http" help:"Compare the balancer with HAProxy and nginx on this machine."`
	API     benchAPICommand     `cmd:"" name:"api" help:"Measure the API on PostgreSQL and Redis, with many sessions and simulated agents."`
	Cluster benchClusterCommand `cmd:"" help:"Simulate a cluster: edges, agents, sessions and viewers on this machine."`
	Worker  benchWorkerCommand  `cmd:"" hidden:"" help:"A process of the load generator; bench starts it itself."`
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
	Awake    bool          `help:"Keep all cores from going to sleep, by programs that run when nobody else wants to: to wake one is dear in a virtual machine, and the sender pays."`
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
		Works: c.Work, Systems: c.Systems, Rounds: c.Rounds, Duration: c.Duration, Clients: c.Clients, Rate: c.Rate, Awake: c.Awake, Out: c.Out, Keep: c.Keep,
	})
}

type benchAPICommand struct {
	Rate      int           `default:"${benchAPIRate}" help:"Requests a second, of all kinds together."`
	Duration  time.Duration `default:"30s" help:"How long the measurement lasts, without its warm-up."`
	Sessions  int           `default:"${benchAPISessions}" help:"Sessions that run all the time."`
	Agents    int           `default:"${benchAPIAgents}" help:"Simulated agents."`
	Edges     int           `default:"1" help:"Edges of the cluster."`
	PgBouncer bool          `name:"pgbouncer" help:"Put a PgBouncer in transaction mode before PostgreSQL."`
	Out       string        `default:"bench-report" placeholder:"DIR" help:"Folder of the report, api.html and api.json."`
	Seed      uint64        `default:"1" help:"Of the order of the requests; the same seed gives the same."`
	Keep      bool          `help:"Keep the folder with the configs that were used."`
}

// Help is what --help tells beside the flags.
func (benchAPICommand) Help() string {
	return `Starts a PostgreSQL, a Redis and edges, all fresh, on free ports of 127.0.0.1, connects simulated agents by the real tunnel, makes
the sessions, and then asks at a fixed rate whether answers come or not: lists, gets, creates to the agent's ack, deletes and tickets.
Tells p50, p95 and p99 of each, and the CPU of edges, PostgreSQL and Redis. A request that fails makes the run a failed one.

Examples:
  streamspace bench api
  streamspace bench api --duration 5m --edges 3 --pgbouncer
  streamspace bench api --sessions 1000 --agents 20 --duration 10s`
}

// Run measures and writes the report.
func (c *benchAPICommand) Run(s *surroundings) error {
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("bench has to start this program again, and can't find it: %w", err)
	}
	ctx, stop := untilSignalOrHangup()
	defer stop()
	return benchUsage("api", bench.API(ctx, bench.APIOptions{
		Program: program, Version: version + revision(), Edges: c.Edges, Agents: c.Agents, Sessions: c.Sessions, Rate: c.Rate, Duration: c.Duration,
		PgBouncer: c.PgBouncer, Seed: c.Seed, Out: c.Out, Keep: c.Keep, Progress: s.stderr, Table: s.stdout,
	}))
}

type benchClusterCommand struct {
	Edges    int           `default:"${benchEdges}" help:"Edges; at least 2."`
	Agents   int           `default:"${benchAgents}" help:"Simulated agents."`
	Sessions int           `default:"${benchSessions}" help:"Sessions on them."`
	Viewers  int           `default:"${benchViewers}" help:"Viewers, each of another session."`
	Duration time.Duration `default:"30s" help:"How long nothing happens, first with nobody looking, then with the viewers."`
	Out      string        `default:"bench-report" placeholder:"DIR" help:"Folder of the report, cluster.html and cluster.json."`
	Seed     uint64        `default:"1" help:"Of the desktops' bytes; the same seed gives the same."`
	Keep     bool          `help:"Keep the folder with the configs and the database."`
}

// Help is what --help tells beside the flags.
func (benchClusterCommand) Help() string {
	return `Starts PostgreSQL, Redis and the edges anew on free ports of 127.0.0.1, lets simulated agents connect by real
tunnels, creates the sessions, lets viewers come, ends one edge with SIGTERM and another with SIGKILL, and ends all
sessions. It tells what a session and a viewer cost, and how long viewers saw nothing. Every byte that they get is
checked; a wrong one fails the run.

Examples:
  streamspace bench cluster
  streamspace bench cluster --sessions 1000 --agents 20 --viewers 200 --duration 10s`
}

// Run simulates and writes the report.
func (c *benchClusterCommand) Run(s *surroundings) error {
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("bench has to start this program again, and can't find it: %w", err)
	}
	ctx, stop := untilSignalOrHangup()
	defer stop()
	return benchUsage("cluster", bench.Cluster(ctx, bench.ClusterOptions{
		Program: program, Version: version + revision(), Edges: c.Edges, Agents: c.Agents, Sessions: c.Sessions, Viewers: c.Viewers,
		Duration: c.Duration, Seed: c.Seed, Out: c.Out, Keep: c.Keep, Progress: s.stderr, Table: s.stdout,
	}))
}

func runBench(s *surroundings, verb string, run func(context.Context, bench.Options) error, o bench.Options) (err error) {
	if o.Program, err = os.Executable(); err != nil {
		return fmt.Errorf("bench has to start this program again, and can't find it: %w", err)
	}
	o.Version, o.Progress, o.Table = version+revision(), s.stderr, s.stdout
	ctx, stop := untilSignalOrHangup()
	defer stop()
	return benchUsage(verb, run(ctx, o))
}

// benchUsage gives what is for the command line's user to mend the form of a fault.
func benchUsage(verb string, err error) error {
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
