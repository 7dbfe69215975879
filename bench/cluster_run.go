package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"
)

// ClusterOptions are those of one simulation.
type ClusterOptions struct {
	Program  string // the streamspace binary
	Version  string // of it, for the report
	Edges    int    // at least 2: one is ended while another goes on
	Agents   int
	Sessions int
	Viewers  int           // each of another session; at most as many as there are sessions
	Duration time.Duration // of each phase in which nothing happens; at least 100ms
	Seed     uint64        // of the desktops' bytes
	Out      string        // folder of the report
	Keep     bool          // the folder with configs
	Progress io.Writer     // a line for each step
	Table    io.Writer     // the result

	drain   time.Duration // tests only: of an edge that leaves; 0: defaultDrain
	corrupt int64         // tests only: serverPlan.Corrupt
}

// What ClusterOptions are by themselves.
const (
	DefaultEdges    = 3
	DefaultAgents   = 100
	DefaultSessions = 10_000
	DefaultViewers  = 500

	defaultDrain = 30 * time.Second // an edge's own default

	atOnce = 32 // requests under way, and viewers that come, at the same time
)

const (
	mostEdges    = 9
	mostAgents   = 1_000
	mostSessions = 100_000

	// Descriptors of this process: a viewer has one, its desktop two, and an agent
	// a tunnel with its spares to each of two homes, twice while it moves.
	filesOfViewer, filesOfAgent, filesOfBench = 3, 20, 200
)

func (o *ClusterOptions) check() error {
	for _, n := range []struct {
		flag            string
		value, low, top int
	}{
		{"edges", o.Edges, 2, mostEdges},
		{"agents", o.Agents, 1, mostAgents},
		{"sessions", o.Sessions, 1, mostSessions},
		{"viewers", o.Viewers, 0, o.Sessions},
	} {
		if n.value < n.low || n.value > n.top {
			return &UsageError{fmt.Sprintf("--%s: %d is out of range; %d to %d", n.flag, n.value, n.low, n.top)}
		}
	}
	if o.Duration < 100*time.Millisecond {
		return &UsageError{fmt.Sprintf("--duration: %s is too short; at least 100ms", o.Duration)}
	}
	return nil
}

// fits tells whether one process may open as many files as the viewers and agents
// need.
func (o *ClusterOptions) fits(files uint64) error {
	need := filesOfBench + filesOfAgent*o.Agents + filesOfViewer*o.Viewers
	if uint64(need) <= files {
		return nil
	}
	return &UsageError{fmt.Sprintf("--viewers: %d viewers and %d agents need about %d open files, and a process may have %d here; take at most %d viewers, or raise the limit (ulimit -Hn)",
		o.Viewers, o.Agents, need, files, max(0, (int(files)-filesOfBench-filesOfAgent*o.Agents)/filesOfViewer))}
}

// clusterRun is one simulation while it runs.
type clusterRun struct {
	options  ClusterOptions
	cluster  *cluster
	gauge    *gauge
	desktops *vncServer
	agents   *simAgents
	starts   startTimes
	viewers  *audience
	sessions map[string]string // that were acknowledged and not ended: id, agent once it is known
	report   *ClusterReport
	lost     int        // sessions that were acknowledged and do not run
	surplus  int        // that run or are listed, and nobody was told of them
	broken   chan error // what the desktops found wrong first
	watch    *stopwatch // of the phase that goes on
}

// Cluster lets several edges on one PostgreSQL and one Redis serve simulated
// agents, sessions and viewers, ends edges in between, and writes what it cost and
// what viewers saw. What a *UsageError says is for the command line's user to
// mend. A wrong byte or something left behind makes the run fail; a lost session
// or a goal that is not reached is a result.
func Cluster(ctx context.Context, o ClusterOptions) (err error) {
	if err := supported(); err != nil {
		return err
	}
	if err := o.check(); err != nil {
		return err
	}
	if err := databasesInstalled(databasePlan{}); err != nil {
		return err
	}
	files, err := raiseFileLimit()
	if err != nil {
		return err
	}
	if err := o.fits(files); err != nil {
		return err
	}
	if o.drain == 0 {
		o.drain = defaultDrain
	}
	dir, err := os.MkdirTemp("", "streamspace-bench-")
	if err != nil {
		return err
	}
	r := &clusterRun{options: o, sessions: map[string]string{}, broken: make(chan error, 1), report: &ClusterReport{
		Databases: databaseVersions(false),
		Began:     time.Now(), Version: o.Version, Machine: machine(), Cores: runtime.NumCPU(), OpenFiles: files,
		Edges: o.Edges, Agents: o.Agents, Sessions: o.Sessions, Viewers: o.Viewers, Duration: o.Duration.Seconds(), Seed: o.Seed,
	}}
	if o.Keep {
		r.say("configs are kept in %s", dir)
	} else {
		defer func() { _ = os.RemoveAll(dir) }()
	}
	defer r.close()
	err = r.all(ctx, dir)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if len(r.report.Phases) == 0 {
		return err
	}
	if err != nil {
		r.report.Error = err.Error()
	}
	r.report.Took = time.Since(r.report.Began).Seconds()
	r.report.conclude(r.lost, r.surplus)
	r.report.write(o.Table)
	saved, saveErr := save(o.Out, "cluster", r.report)
	if saveErr == nil {
		fmt.Fprintf(o.Table, "\nReport: %s\n", saved)
	}
	return errors.Join(err, saveErr)
}

func (r *clusterRun) say(format string, args ...any) {
	fmt.Fprintf(r.options.Progress, format+"\n", args...)
}

// all is every phase in turn.
func (r *clusterRun) all(ctx context.Context, dir string) error {
	if err := r.open(ctx, dir); err != nil {
		return err
	}
	last, other := r.cluster.edges[len(r.cluster.edges)-1], r.cluster.edges[len(r.cluster.edges)-2]
	for _, p := range []struct {
		name, text string
		do         func(context.Context, *Phase) error
	}{
		{phaseAgents, fmt.Sprintf("%s connect, each to two of the edges", count(r.options.Agents, "agent")), r.connect},
		{phaseCreate, fmt.Sprintf("%d sessions are created, %d requests at a time, and run", r.options.Sessions, atOnce), r.create},
		{phaseIdle, "all run and nobody looks", r.rest},
		{phaseViewers, fmt.Sprintf("%d viewers come, %d at a time", r.options.Viewers, atOnce), r.invite},
		{phaseWatched, "they look at small changes, one a second", r.rest},
		{phaseLeave, last.name + " gets SIGTERM, and is started again when it has left", func(ctx context.Context, p *Phase) error { return r.restart(ctx, p, last, false) }},
		{phaseKill, other.name + " is killed with SIGKILL, and started again", func(ctx context.Context, p *Phase) error { return r.restart(ctx, p, other, true) }},
		{phaseEnd, "the viewers leave and all sessions are ended", r.end},
	} {
		if err := r.phase(ctx, p.name, p.text, p.do); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

// The phases.
const (
	phaseAgents  = "agents"
	phaseCreate  = "create"
	phaseIdle    = "idle"
	phaseViewers = "viewers"
	phaseWatched = "watched"
	phaseLeave   = "sigterm"
	phaseKill    = "kill"
	phaseEnd     = "end"
)

// open starts the databases, the edges and the desktops' VNC server.
func (r *clusterRun) open(ctx context.Context, dir string) (err error) {
	r.say("starting PostgreSQL, Redis and %s", count(r.options.Edges, "edge"))
	cert, err := makeCertificate(dir)
	if err != nil {
		return err
	}
	plan := clusterPlan{Program: r.options.Program, Folder: dir, Edges: r.options.Edges, Certificate: &cert, Drain: r.options.drain}
	if r.cluster, err = startCluster(ctx, plan); err != nil {
		return err
	}
	if r.gauge, err = openGauge(ctx, r.cluster); err != nil {
		return err
	}
	fail := func(err error) {
		select {
		case r.broken <- err:
		default: // one tells enough
		}
	}
	r.desktops, err = startVNCServer(serverPlan{Work: workCluster, Seed: r.options.Seed, Breaks: true, Corrupt: r.options.corrupt}, fail)
	return err
}

// phase measures one, with what it is called.
func (r *clusterRun) phase(ctx context.Context, name, text string, do func(context.Context, *Phase) error) (err error) {
	r.say("%s: %s", name, text)
	p := &Phase{Name: name, Text: text, Values: map[string]float64{}, Delays: map[string]*delays{}}
	if r.watch, err = r.gauge.measure(ctx, p); err != nil {
		return err
	}
	if err := errors.Join(do(ctx, p), r.fault()); err != nil {
		return err
	}
	if err := r.watch.stop(ctx); err != nil {
		return err
	}
	r.report.Phases = append(r.report.Phases, p)
	r.say("        %s", p.brief())
	return nil
}

// fault is what should never be: wrong bytes, an agent that is refused, an edge
// that has ended by itself.
func (r *clusterRun) fault() error {
	var errs []error
	select {
	case err := <-r.broken:
		errs = append(errs, err)
	default:
	}
	if r.viewers != nil {
		errs = append(errs, r.viewers.fault())
	}
	if r.agents != nil {
		errs = append(errs, r.agents.alive())
	}
	return errors.Join(append(errs, r.cluster.alive())...)
}

func (r *clusterRun) close() {
	if r.viewers != nil {
		r.viewers.close()
	}
	if r.agents != nil {
		r.agents.close()
	}
	if r.desktops != nil {
		r.desktops.close()
	}
	if r.gauge != nil {
		r.gauge.close()
	}
	if r.cluster != nil {
		r.cluster.close()
	}
}
