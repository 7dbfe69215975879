package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// APIOptions are those of a measurement of the API.
type APIOptions struct {
	Program   string        // the streamspace binary
	Version   string        // of it, for the report
	Edges     int           // of the cluster
	Agents    int           // simulated ones
	Sessions  int           // that run all the time
	Rate      int           // requests a second, of all kinds together
	Duration  time.Duration // without the warm-up
	PgBouncer bool          // before PostgreSQL
	Seed      uint64        // of the order of requests
	Out       string        // folder of the report
	Keep      bool          // the folder with configs
	Progress  io.Writer
	Table     io.Writer // the result
}

// What APIOptions are by themselves: the load that the goals are for.
const (
	DefaultAPIRate     = 500
	DefaultAPISessions = 10_000
	DefaultAPIAgents   = 200
)

const (
	apiWarmUp    = 2 * time.Second
	apiFillers   = 32  // creates at once before the measurement
	apiUserOwns  = 100 // sessions, of each user
	apiConns     = 1000
	apiPassShare = 10 // of a hundred sessions, that may be deleted
	apiSettled   = 30 * time.Second
)

func (o *APIOptions) check() error {
	for _, n := range []struct {
		flag             string
		value, low, high int
	}{
		{"--edges", o.Edges, 1, 9},
		{"--agents", o.Agents, 1, 5000},
		{"--sessions", o.Sessions, 20, 200_000},
		{"--rate", o.Rate, 10, 100_000},
	} {
		if n.value < n.low || n.value > n.high {
			return &UsageError{fmt.Sprintf("%s: %d is out of range; %d to %d", n.flag, n.value, n.low, n.high)}
		}
	}
	if o.Duration < time.Second {
		return &UsageError{fmt.Sprintf("--duration: %s is too short; at least 1s", o.Duration)}
	}
	return nil
}

// API measures how fast edges on PostgreSQL and Redis answer, with many sessions on
// many simulated agents, and writes the report. A request that fails makes the run
// fail at its end, as does a session that is lost or runs twice. What a *UsageError says is for the command line's user
// to mend.
func API(ctx context.Context, o APIOptions) (err error) {
	if err := errors.Join(supported(), o.check()); err != nil {
		return err
	}
	if err := databasesInstalled(databasePlan{PgBouncer: o.PgBouncer}); err != nil {
		return err
	}
	b := &apiBench{o: o, began: time.Now(), acks: newAcks()}
	if b.files, err = raiseFileLimit(); err != nil {
		return err
	}
	if b.folder, err = os.MkdirTemp("", "streamspace-bench-"); err != nil {
		return err
	}
	if o.Keep {
		b.say("configs are kept in %s", b.folder)
	} else {
		defer func() { _ = os.RemoveAll(b.folder) }()
	}
	defer b.close()
	if err := b.prepare(ctx); err != nil {
		return b.because(ctx, err)
	}
	report, err := b.measure(ctx)
	if err != nil {
		return b.because(ctx, err)
	}
	report.writeTable(o.Table)
	page, err := save(o.Out, "api", report)
	if err == nil {
		fmt.Fprintf(o.Table, "\nReport: %s\n", page)
	}
	return errors.Join(err, report.fault())
}

// apiBench is one measurement while it runs.
type apiBench struct {
	o       APIOptions
	began   time.Time
	folder  string
	files   uint64
	cluster *cluster
	agents  *simAgents
	web     *http.Client // of those who ask
	users   []apiUser
	acks    *acks
	all     []apiSession
}

func (b *apiBench) say(format string, args ...any) {
	fmt.Fprintf(b.o.Progress, format+"\n", args...)
}

// because adds what ended before it should have.
func (b *apiBench) because(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if b.cluster != nil {
		err = errors.Join(err, b.cluster.alive())
	}
	return err
}

func (b *apiBench) close() {
	if b.web != nil {
		b.web.CloseIdleConnections()
	}
	if b.agents != nil {
		b.agents.close()
	}
	if b.cluster != nil {
		b.cluster.close()
	}
}

// prepare brings up all that is measured, with its sessions.
func (b *apiBench) prepare(ctx context.Context) (err error) {
	with := ""
	if b.o.PgBouncer {
		with = ", PgBouncer"
	}
	b.say("starting PostgreSQL%s, Redis and %s", with, count(b.o.Edges, "edge"))
	if b.cluster, err = startCluster(ctx, clusterPlan{Program: b.o.Program, Folder: b.folder, Edges: b.o.Edges, PgBouncer: b.o.PgBouncer, Drain: time.Second}); err != nil {
		return err
	}
	b.web = &http.Client{Timeout: answerLimit, Transport: &http.Transport{MaxConnsPerHost: apiConns, MaxIdleConnsPerHost: apiConns, DisableCompression: true}}
	b.say("connecting %s", count(b.o.Agents, "agent"))
	b.agents, err = startSimAgents(simPlan{
		Edges: b.cluster.urls(), Token: b.cluster.join,
		Capacity: b.capacity(), Started: b.acks.note,
	}, b.o.Agents)
	if err != nil {
		return err
	}
	if err := b.cluster.agentsOnline(ctx, b.agents); err != nil {
		return err
	}
	if err := b.enrolUsers(ctx); err != nil {
		return err
	}
	return b.fill(ctx)
}

// capacity leaves room for sessions that end while others begin.
func (b *apiBench) capacity() int { return 2 * (b.o.Sessions/b.o.Agents + 1) }

func (b *apiBench) enrolUsers(ctx context.Context) error {
	b.users = make([]apiUser, (b.o.Sessions+apiUserOwns-1)/apiUserOwns)
	return inParallel(ctx, 8, len(b.users), func(ctx context.Context, i int) error {
		var made struct {
			Secret string `json:"secret"`
		}
		key := map[string]string{"name": "bench", "org": "bench", "owner": fmt.Sprintf("user-%d", i), "role": "user"}
		if err := b.cluster.admin.call(ctx, "POST", "/api/v1/keys", key, &made); err != nil {
			return err
		}
		b.users[i] = apiUser{authorization: "Bearer " + made.Secret, edge: b.cluster.urls()[i%b.o.Edges]}
		return nil
	})
}

// fill makes the sessions and waits until they run.
func (b *apiBench) fill(ctx context.Context) error {
	b.all = make([]apiSession, b.o.Sessions)
	began := time.Now()
	filling, stop := context.WithCancel(ctx)
	told := make(chan struct{})
	go func() {
		defer close(told)
		for sleep(filling, 5*time.Second) {
			n := b.agents.sessions()
			left := time.Duration(float64(time.Since(began)) / float64(max(n, 1)) * float64(b.o.Sessions-n))
			b.say("%d of %d sessions run (about %s left)", n, b.o.Sessions, left.Round(time.Second))
		}
	}()
	err := inParallel(ctx, apiFillers, b.o.Sessions, func(ctx context.Context, i int) error {
		user := i % len(b.users)
		client := apiClient{b.users[user].edge, strings.TrimPrefix(b.users[user].authorization, "Bearer "), b.cluster.web}
		var made struct {
			ID string `json:"id"`
		}
		if err := client.call(ctx, "POST", "/api/v1/sessions", map[string]string{"name": fmt.Sprintf("desk-%d", i)}, &made); err != nil {
			return err
		}
		b.all[i] = apiSession{made.ID, user}
		_, err := b.acks.wait(made.ID)
		return err
	})
	stop()
	<-told
	if err != nil {
		return fmt.Errorf("making the sessions: %w", err)
	}
	took := time.Since(began)
	b.say("%d sessions run after %s, %.0f/s", b.o.Sessions, took.Round(100*time.Millisecond), float64(b.o.Sessions)/took.Seconds())
	return b.allRun(ctx, b.o.Sessions, b.o.Sessions)
}

// allRun waits until between least and most sessions run at agents, and the
// edges know no other.
func (b *apiBench) allRun(ctx context.Context, least, most int) error {
	return until(ctx, b.cluster.edges[0].process, apiSettled, "has not the sessions that it should have", func() error {
		there := b.agents.sessions()
		known := 0
		for cursor := ""; ; {
			var page struct {
				Sessions []struct {
					State string `json:"state"`
				} `json:"sessions"`
				Next string `json:"next_cursor"`
			}
			path := "/api/v1/sessions?state=pending,starting,running,unreachable,stopping&limit=1000&cursor=" + cursor
			if cursor == "" {
				path = strings.TrimSuffix(path, "&cursor=")
			}
			if err := b.cluster.admin.call(ctx, "GET", path, nil, &page); err != nil {
				return err
			}
			for _, s := range page.Sessions {
				if s.State != "running" {
					return fmt.Errorf("a session is %s", s.State)
				}
			}
			known += len(page.Sessions)
			if cursor = page.Next; cursor == "" {
				break
			}
		}
		if known != there || known < least || known > most {
			return fmt.Errorf("the edges have %d sessions and the agents run %d, where it should be %d to %d", known, there, least, most)
		}
		return nil
	})
}

// measure lets the load run.
func (b *apiBench) measure(ctx context.Context) (*APIReport, error) {
	load := newAPILoad(b.web, b.users, b.acks, b.o.Seed)
	pass := len(b.all) * apiPassShare / 100
	load.pass, load.stay = slices.Clone(b.all[:pass]), b.all[pass:]
	b.say("asking %d times a second for %s, after %s of warm-up", b.o.Rate, b.o.Duration, apiWarmUp)
	asking, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		load.run(asking, b.o.Rate)
	}()
	defer func() {
		stop()
		<-done
	}()
	if !sleep(ctx, apiWarmUp) {
		return nil, context.Cause(ctx)
	}
	load.mark()
	clock, err := startAPIClock(b.cluster)
	if err != nil {
		return nil, err
	}
	for left := b.o.Duration; left > 0; left -= 10 * time.Second {
		if !sleep(ctx, min(left, 10*time.Second)) {
			return nil, context.Cause(ctx)
		}
		b.say("%s left, %d requests wait", max(0, left-10*time.Second).Round(time.Second), len(load.waiting))
	}
	used, err := clock.stop()
	if err != nil {
		return nil, err
	}
	stop()
	<-done
	report := &APIReport{
		Began: b.began, Version: b.o.Version, Machine: machine(), Cores: runtime.NumCPU(), Edges: b.o.Edges, Agents: b.o.Agents, Sessions: b.o.Sessions,
		Rate: b.o.Rate, Duration: b.o.Duration.Seconds(), PgBouncer: b.o.PgBouncer, Seed: b.o.Seed, Use: used, Databases: databaseVersions(b.o.PgBouncer),
	}
	report.take(load)
	want := b.o.Sessions + load.created - load.deleted
	if err := b.allRun(ctx, want-load.uncertain, want+load.uncertain); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		report.Error = err.Error()
	}
	report.Took = time.Since(b.began).Seconds()
	return report, nil
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
