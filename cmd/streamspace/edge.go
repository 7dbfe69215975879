package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/valyala/fasthttp"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/streamspace-dev/streamspace-edge/accesslog"
	"github.com/streamspace-dev/streamspace-edge/api/auth"
	"github.com/streamspace-dev/streamspace-edge/balancer"
	"github.com/streamspace-dev/streamspace-edge/cluster"
	"github.com/streamspace-dev/streamspace-edge/listen"
	"github.com/streamspace-dev/streamspace-edge/proxy"
	"github.com/streamspace-dev/streamspace-edge/proxy/hop"
	"github.com/streamspace-dev/streamspace-edge/proxy/reactor"
	"github.com/streamspace-dev/streamspace-edge/proxy/tunnel"
	"github.com/streamspace-dev/streamspace-edge/session"
	"github.com/streamspace-dev/streamspace-edge/store"
)

type edgeCommand struct {
	Config string `required:"" placeholder:"FILE" help:"The config file, see docs/config.md."`
	Check  bool   `help:"Validate the config, tell every fault with its line and column, and exit."`
}

// Run runs an edge until SIGTERM or SIGINT, then drains. SIGHUP reloads the
// certificates.
func (c *edgeCommand) Run(s *surroundings) error {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP) // first of all: one that comes during the start waits for its end
	defer signal.Stop(hangups)
	config := defaultEdgeConfig()
	if err := loadConfig(c.Config, config); err != nil {
		return err
	}
	if c.Check {
		_, err := fmt.Fprintf(s.stdout, "%s is valid\n", c.Config)
		return err
	}
	ctx, stop := untilSignal()
	defer stop()
	e, err := openEdge(ctx, config, s.log, s.processors)
	if err != nil {
		return err
	}
	if err := e.writeFirstKeys(ctx); err != nil {
		return errors.Join(err, e.close())
	}
	e.file = c.Config
	stopReload := e.reloadOn(hangups)
	defer stopReload()
	return e.serve(ctx)
}

// edge is one running edge: opened, served, drained, closed, in this order.
type edge struct {
	config     *edgeConfig
	file       string // that the config is from; empty: there is none
	log        *zap.Logger
	processors *processors

	reloading sync.Mutex
	balances  balancer.Config // the latest one of balancer; guarded by reloading once the edge serves

	registry     *prometheus.Registry
	certificates *certificates // nil when TLS is off
	lock         io.Closer     // of the database; nil before it is taken
	store        store.Store
	coord        store.Coord
	endEvents    context.CancelFunc // ends the clients' event streams
	auth         *auth.Auth
	hub          *tunnel.Hub
	loops        *reactor.Reactor
	viewers      *proxy.Proxy
	direct       *proxy.Direct
	balancer     *balancer.Balancer
	sessions     *session.Manager
	cluster      *cluster.Cluster // nil: this edge is the only one
	hop          *hop.Hop         // of a cluster's edge
	homePicker   *balancer.Picker // of the home that a viewer of another edge gets
	nodeCookie   *nodeCookie      // nil: there is one edge
	sharedPlaces *sharedPlaces    // nil: there is one edge
	places       *places          // of a cluster's edge; of one alone, viewers has the bound
	access       *accesslog.Log   // nil: off

	databaseHealth databaseHealth

	arrivals  *arrivals
	lingering listen.Lingering // of all public listeners
	public    []net.Listener
	admin     net.Listener
	server    *fasthttp.Server
	http2     *listen.HTTP2    // nil: not served
	inside    *fasthttp.Server // of its requests
	adminWeb  *http.Server
	redirect  net.Listener // plain HTTP that only points to HTTPS; nil when there is none
	draining  atomic.Bool  // it leaves
	drained   atomic.Bool  // an operator has drained it; it stays
	drains    drainedNodes

	connections atomic.Int64 // that server has
}

// openEdge opens everything that can fail, so that an edge that was opened can
// serve; listeners first, so that a start that fails for a taken port leaves
// nothing behind. The caller calls serve or close.
func openEdge(ctx context.Context, config *edgeConfig, log *zap.Logger, p *processors) (*edge, error) {
	e := &edge{config: config, log: log, processors: p, registry: prometheus.NewRegistry(), coord: store.NewLocal()}
	e.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "streamspace_api_pods_available", Help: "Edges that take new work, as this one knows: itself unless it drains or was drained.",
		}, func() float64 {
			if e.standsAside() {
				return 0
			}
			return 1
		}))
	e.arrivals = newArrivals(log.Named("accept"), e.registry)
	for _, step := range []func(context.Context) error{
		e.listen, e.openCertificates, e.secure, e.openStore, e.openCoord, e.openAuth, e.openAccessLog, e.openDataPath, e.openCluster, e.openBalancer, e.openSessions, e.openDrains, e.openServers,
	} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, e.close())
		}
	}
	return e, nil
}

func (e *edge) openCertificates(context.Context) (err error) {
	t := e.config.TLS
	switch {
	case t.Off:
		return nil
	case t.SelfSigned:
		if e.certificates, err = selfSigned(e.config.dataDir(), selfSignedHosts(e.config.names()...)); err != nil {
			err = fmt.Errorf("%s: %w", e.config.dataKey(), err)
		}
	default:
		e.certificates, err = openCertificates(t.CertFile, t.KeyFile)
	}
	return err
}

// names are the hosts that the config itself mentions.
func (c *edgeConfig) names() []string {
	var names []string
	if host, _, err := net.SplitHostPort(c.Listen.HTTPS); err == nil {
		names = append(names, host)
	}
	if u, err := url.Parse(c.Node.Advertise); err == nil {
		names = append(names, u.Hostname())
	}
	return names
}

func (e *edge) openDataPath(context.Context) (err error) {
	if e.direct, err = proxy.NewDirect(e.config.Direct.options()); err != nil {
		return err
	}
	if e.loops, err = e.processors.openLoops(); err != nil {
		return err
	}
	options := tunnel.HubOptions{
		Node:    e.config.Node.ID,
		Log:     e.log.Named("tunnel"),
		Metrics: tunnel.NewMetrics(e.registry),
		Admit:   e.admitAgent,
		Up:      e.agentUp,
		State:   e.agentState,
		Beat:    func(id string, generation uint64) { e.sessions.AgentBeat(id, generation) },
		Down:    e.agentDown,
		Lease:   func() time.Duration { return e.sessions.Lease() },
	}
	if e.config.clustered() {
		options.Homes, options.URL, options.Pin = e.wantedHomes, e.config.peerURL(), e.pin()
	}
	e.hub = tunnel.NewHub(options)
	e.viewers = proxy.New(proxy.Options{
		Log:            e.log.Named("viewer"),
		Metrics:        proxy.NewMetrics(e.registry),
		Authorize:      e.authorizeViewer,
		Node:           e.nodeOf,
		Dial:           e.dialSession,
		Activity:       func(id string, viewers int) { e.sessions.Viewers(id, viewers) },
		Input:          func(id string) { e.sessions.Input(id, time.Now()) },
		Ended:          e.viewerEnded,
		AllowedOrigins: e.config.allowedOrigins(),
		MaxStreams:     e.config.maxViewers(),
		Reactor:        e.loops,

		MaxStreamsPerSession: e.config.VNC.MaxStreamsPerSession,
		MaxStreamsPerUser:    e.config.VNC.MaxStreamsPerUser,
		Bandwidth:            proxy.NewBandwidth(int64(e.config.VNC.Bandwidth.PerStream), int64(e.config.VNC.Bandwidth.PerNode)),
		BlockClipboardIn:     !e.config.VNC.ClipboardIn,
	})
	return nil
}

func (e *edge) openSessions(context.Context) error {
	o := session.Options{
		Store:         e.store,
		Coord:         e.coord,
		Log:           e.log.Named("session"),
		Metrics:       session.NewMetrics(e.registry),
		Strategy:      e.config.Agents.Strategy,
		Headroom:      e.config.Agents.Headroom,
		LostAfter:     e.config.Agents.LostAfter.std(),
		RestartLost:   e.config.Agents.Lost == lostRestart,
		PerUser:       e.config.Limits.SessionsPerUser,
		Node:          e.config.Node.ID,
		Start:         e.startSession,
		Stop:          e.stopSession,
		EndViewers:    func(id, reason string) { e.viewers.End(id, proxy.Reason(reason)) },
		ProbeEndpoint: e.probeEndpoint,
		Disconnect: func(agentID string) {
			e.hub.Disconnect(agentID, tunnel.Errorf(tunnel.CodeAgentRemoved, "an operator removed this agent; started again it joins anew, as long as its join token is valid"))
		},
	}
	if e.cluster != nil {
		o.Drives = func(s *store.Session) bool { return e.cluster.Drives(s.ID, s.AgentID) }
		o.Reachable = func(agentID string) bool { return len(e.cluster.Homes(agentID)) > 0 }
		o.Alive = e.cluster.Alive
		o.Announced = e.cluster.Announced
	}
	e.sessions = session.New(o)
	return nil
}

// serve runs the edge until ctx ends or a part fails, then drains and closes
// it.
func (e *edge) serve(ctx context.Context) error {
	background, stopBackground := context.WithCancel(context.Background())
	defer stopBackground()
	var parts errgroup.Group
	failed := make(chan error, 8) // one place for each part that can fail
	start := func(part string, run func() error) {
		parts.Go(func() error {
			if err := run(); err != nil {
				failed <- fmt.Errorf("%s: %w", part, err)
			}
			return nil
		})
	}
	start("sessions", func() error { return e.sessions.Run(background) })
	following, stopFollowing := context.WithCancel(background)
	defer stopFollowing()
	followed := make(chan struct{})
	start("drains", func() error {
		defer close(followed)
		return e.followDrains(following)
	})
	start("clock", func() error { return e.followClock(background) })
	gone := make(chan struct{}) // closed when the other edges have been told
	if e.cluster != nil {
		start("cluster", func() error {
			defer close(gone)
			return e.cluster.Run(background)
		})
		start("limits", func() error { return e.sharedPlaces.run(background) })
	} else {
		close(gone)
	}
	for _, l := range e.public {
		start("server", func() error { return e.server.Serve(l) })
	}
	if e.http2 != nil {
		start("http2", e.http2.Serve)
		start("http2 requests", func() error { return e.inside.Serve(reactor.Lend(e.http2.Inside())) })
	}
	if e.redirect != nil {
		start("redirect", func() error { return closedIsNil(e.serveRedirect()) })
	}
	if e.admin != nil {
		start("admin", func() error { return closedIsNil(e.adminWeb.Serve(e.admin)) })
	}
	e.log.Info("serving", e.serving()...)

	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
		e.log.Error("a part of the edge failed; leaving", zap.Error(err))
	}
	stopFollowing()
	<-followed // nobody resumes an edge that leaves
	err = errors.Join(err, e.drain())
	stopBackground()
	<-gone // by the Redis that is closed next
	err = errors.Join(err, e.close(), parts.Wait())
	e.log.Info("left", zap.String("node", e.config.Node.ID))
	return err
}

func closedIsNil(err error) error {
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// drain hands the viewers over and lets requests end, for at most the
// configured time. It runs under its own clock: the context that told the edge
// to leave has ended already.
func (e *edge) drain() error {
	ctx, cancel := context.WithTimeout(context.Background(), e.config.Drain.Timeout.std())
	defer cancel()
	e.log.Info("draining", append(e.inWork().fields(), zap.Duration("timeout", e.config.Drain.Timeout.std()))...)
	defer tellDrain(e.log, e.inWork)()
	began := time.Now()
	e.draining.Store(true)
	e.leaveCluster(ctx)
	for _, l := range e.public {
		_ = l.Close() // nothing new; an error here can't be acted on
	}
	e.handOver(ctx, e.config.Drain.Timeout.std()/6) // a sixth of the time to spread the reconnects, the rest for stragglers
	e.endEvents()
	e.spareIdle(ctx, began)
	var requests errgroup.Group
	requests.Go(func() error { return e.server.ShutdownWithContext(ctx) })
	if e.http2 != nil {
		requests.Go(func() error { return errors.Join(e.http2.Shutdown(ctx), e.inside.ShutdownWithContext(ctx)) })
	}
	if err := requests.Wait(); err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("draining requests: %w", err)
	}
	e.balancer.Drain(ctx)
	e.lingering.Close() // these have their answers
	return nil
}

// close ends whatever openEdge opened, streams before tunnels before the
// store, under a time of its own.
func (e *edge) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var errs []error
	for _, l := range e.public {
		_ = l.Close()
	}
	if e.redirect != nil {
		_ = e.redirect.Close()
	}
	e.lingering.Close()
	if e.viewers != nil {
		errs = append(errs, e.viewers.Close(ctx))
	}
	if e.http2 != nil { // has ended, unless the edge never served
		errs = append(errs, e.http2.Shutdown(ctx))
	}
	if e.balancer != nil {
		errs = append(errs, e.balancer.Close(ctx))
	}
	if e.hop != nil {
		errs = append(errs, e.hop.Close(ctx))
	}
	if e.loops != nil {
		e.loops.Close()
	}
	if e.hub != nil {
		errs = append(errs, e.hub.Close(ctx))
	}
	if e.adminWeb != nil {
		errs = append(errs, e.adminWeb.Shutdown(ctx))
	}
	if e.admin != nil {
		_ = e.admin.Close()
	}
	errs = append(errs, e.access.Close(), e.coord.Close())
	if e.store != nil {
		errs = append(errs, e.store.Close())
	}
	if e.lock != nil {
		errs = append(errs, e.lock.Close())
	}
	return errors.Join(errs...)
}
