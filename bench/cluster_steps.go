package bench

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// startTimes is when sessions were asked for and when their agents took them,
// which may be noted in either order.
type startTimes struct {
	mu           sync.Mutex
	asked, taken map[string]time.Time
}

func (s *startTimes) ask(session string, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked[session] = at
}

func (s *startTimes) take(session string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken[session] = time.Now()
}

// delays are those of all that were taken.
func (s *startTimes) delays() *delays {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := newDelays()
	for session, taken := range s.taken {
		if asked, ok := s.asked[session]; ok {
			d.add(taken.Sub(asked))
		}
	}
	return d
}

// Limits of waiting, only so that a hang becomes a failure. Edges that begin
// anew, and sessions by their number, have longer.
const (
	settleLimit    = 2 * time.Minute
	patienceOf1000 = time.Minute
)

func (r *clusterRun) patience() time.Duration {
	return settleLimit + patienceOf1000*time.Duration(r.options.Sessions)/1000
}

// connect lets the agents come.
func (r *clusterRun) connect(ctx context.Context, p *Phase) (err error) {
	r.starts = startTimes{asked: map[string]time.Time{}, taken: map[string]time.Time{}}
	plan := simPlan{
		Edges: r.cluster.urls(), Token: r.cluster.join, VNC: r.desktops.addresses()[0], Started: r.starts.take,
		Capacity: max(1, (r.options.Sessions+r.options.Agents-1)/r.options.Agents*5/4), // a quarter more than there will be
	}
	began := time.Now()
	if r.agents, err = startSimAgents(plan, r.options.Agents); err != nil {
		return err
	}
	if err := r.settled(ctx); err != nil {
		return err
	}
	p.Values[valueSettled] = time.Since(began).Seconds()
	return nil
}

// wait asks until there is no error, or limit is over, and says every ten seconds
// what it waits for.
func (r *clusterRun) wait(ctx context.Context, limit time.Duration, ready func() error) error {
	began, said := time.Now(), time.Now()
	for {
		err := ready()
		if err == nil {
			return nil
		}
		if fault := r.fault(); fault != nil {
			return fault
		}
		if time.Since(began) > limit {
			return fmt.Errorf("not after %s: %w", limit, err)
		}
		if time.Since(said) > 10*time.Second {
			said = time.Now()
			r.say("        %3.0f s: %s", time.Since(began).Seconds(), err)
		}
		if !sleep(ctx, 100*time.Millisecond) {
			return context.Cause(ctx)
		}
	}
}

// settled waits until every edge sees all edges and every agent at two of them.
func (r *clusterRun) settled(ctx context.Context) error {
	for _, e := range r.cluster.edges {
		err := r.wait(ctx, settleLimit, func() error {
			return errors.Join(r.cluster.knowsEdges(ctx, e), r.cluster.hasAgents(ctx, e, r.options.Agents, 2))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// create makes all sessions, at one edge after the other, and waits until they
// run.
func (r *clusterRun) create(ctx context.Context, p *Phase) error {
	var mu sync.Mutex
	answers, failures := newDelays(), map[string]int{}
	began := time.Now()
	progress := r.progress("created", r.options.Sessions, func() int { mu.Lock(); defer mu.Unlock(); return len(r.sessions) })
	defer progress()
	err := inParallel(ctx, atOnce, r.options.Sessions, func(ctx context.Context, i int) error {
		var made struct{ ID string }
		asked := time.Now()
		err := r.cluster.call(ctx, r.cluster.edges[i%len(r.cluster.edges)], "POST", "/api/v1/sessions", map[string]string{"name": fmt.Sprintf("desk-%d", i)}, &made)
		took := time.Since(asked)
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			failures[strings.TrimSpace(err.Error())]++
			return ctx.Err()
		}
		r.starts.ask(made.ID, asked)
		r.sessions[made.ID] = ""
		answers.add(took)
		return nil
	})
	if err != nil {
		return err
	}
	took := time.Since(began)
	for text, n := range failures {
		p.Values[valueErrors] += float64(n)
		p.Notes = append(p.Notes, fmt.Sprintf("%d times: %s", n, text))
	}
	if len(r.sessions) == 0 {
		return fmt.Errorf("no session could be created: %s", strings.Join(p.Notes, "; "))
	}
	p.Values[valueRate] = float64(len(r.sessions)) / took.Seconds()
	if err := r.allRun(ctx); err != nil {
		return err
	}
	p.Values[valueSettled] = time.Since(began).Seconds()
	p.Delays[delayAnswer], p.Delays[delayStart] = answers, r.starts.delays()
	if err := r.compare(ctx, p); err != nil {
		return err
	}
	r.placement(p)
	return nil
}

// progress says every ten seconds how many are done, until what it returns is
// called.
func (r *clusterRun) progress(what string, of int, done func() int) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var telling sync.WaitGroup
	telling.Go(func() {
		for sleep(ctx, 10*time.Second) {
			r.say("        %d of %d %s", done(), of, what)
		}
	})
	return func() {
		cancel()
		telling.Wait()
	}
}

// allRun waits until every edge counts all sessions as running.
func (r *clusterRun) allRun(ctx context.Context) error {
	return r.wait(ctx, r.patience(), func() error { return r.counts(ctx, `streamspace_sessions{state="running"}`, float64(len(r.sessions))) })
}

// counts asks every edge for a metric.
func (r *clusterRun) counts(ctx context.Context, metric string, want float64) error {
	for _, e := range r.cluster.edges {
		all, err := r.cluster.metrics(ctx, e)
		if err != nil {
			return err
		}
		if got := sum(all, metric); got != want {
			return fmt.Errorf("%s counts %g of %s, not %g", e.name, got, metric, want)
		}
	}
	return nil
}

// rest lets time pass.
func (r *clusterRun) rest(ctx context.Context, p *Phase) error {
	if r.viewers != nil {
		r.viewers.takeGaps()
	}
	for end := time.Now().Add(r.options.Duration); time.Now().Before(end); {
		if !sleep(ctx, min(time.Until(end), time.Second)) {
			return context.Cause(ctx)
		}
		if err := r.fault(); err != nil {
			return err
		}
	}
	if r.viewers != nil {
		r.viewed(p, time.Time{})
	}
	return nil
}

// invite lets the viewers come.
func (r *clusterRun) invite(ctx context.Context, p *Phase) error {
	r.viewers = newAudience(r.cluster, r.options.Seed)
	if r.options.Viewers == 0 {
		return nil
	}
	ids := slices.Sorted(maps.Keys(r.sessions))
	n := min(r.options.Viewers, len(ids))
	var some []string
	for i := range n { // spread over all, and so over the agents
		some = append(some, ids[i*len(ids)/n])
	}
	defer r.progress("viewers see their desktop", n, func() int { return int(r.viewers.opens.Load()) })()
	began := time.Now()
	if err := r.viewers.come(ctx, some); err != nil {
		return err
	}
	p.Values[valueRate] = float64(n) / time.Since(began).Seconds()
	p.Delays[delayPicture] = r.viewers.takePictures()
	r.balance(p)
	return nil
}

// balance tells how many viewers each edge has.
func (r *clusterRun) balance(p *Phase) {
	for i, n := range r.viewers.perEdge() {
		p.Values[valueViewersOf+r.cluster.edges[i].name] = float64(n)
	}
}

// viewed tells what viewers saw: of a fault at an edge, the gaps that began since.
func (r *clusterRun) viewed(p *Phase, since time.Time) {
	gaps, stalls := r.viewers.takeGaps()
	gaps = slices.DeleteFunc(gaps, func(g gap) bool { return g.began.Before(since) })
	p.Values[valueGaps], p.Values[valueStalls] = float64(len(gaps)), float64(len(stalls))
	if len(stalls) > 0 {
		p.Values[valueLongestStall] = slices.Max(stalls)
	}
	if len(gaps) > 0 {
		p.Delays[delayGap] = gapsOf(gaps)
		p.Notes = append(p.Notes, endings(gaps)...)
	}
}

// restart ends an edge, by a signal that lets it leave in order or by one that
// does not, waits until all see their desktops again, and starts it anew.
func (r *clusterRun) restart(ctx context.Context, p *Phase, e *clusterEdge, kill bool) error {
	r.viewers.takeGaps()
	r.balance(p)
	began := time.Now()
	if kill {
		e.process.kill()
	} else {
		signalGroup(e.process.pid(), syscall.SIGTERM)
		select {
		case <-e.process.exited:
		case <-time.After(r.options.drain + settleLimit):
			return fmt.Errorf("%s does not leave", e.name)
		}
		p.Values[valueLeft] = time.Since(began).Seconds()
		if code := e.process.cmd.ProcessState.ExitCode(); code != 0 {
			p.Notes = append(p.Notes, fmt.Sprintf("%s left with status %d: %s", e.name, code, e.process.output.String()))
		}
	}
	// A picture a second: who has had one since has a stream that goes on.
	if err := r.viewers.allSee(ctx, time.Now()); err != nil {
		return err
	}
	if err := r.cluster.start(ctx, e); err != nil {
		return err
	}
	r.watch.joins(e.process)
	back := time.Now()
	if err := errors.Join(r.settled(ctx), r.allRun(ctx)); err != nil {
		return err
	}
	p.Values[valueSettled] = time.Since(back).Seconds()
	if err := r.viewers.allSee(ctx, time.Now()); err != nil {
		return err
	}
	r.viewed(p, began)
	return r.compare(ctx, p)
}

// end lets the viewers leave, ends all sessions and looks at what is left.
func (r *clusterRun) end(ctx context.Context, p *Phase) error {
	r.balance(p)
	r.viewers.close()
	for _, gauge := range []string{"streamspace_vnc_connections_active", "streamspace_hop_streams_active", "streamspace_tunnel_streams_active"} {
		if err := r.wait(ctx, settleLimit, func() error { return r.counts(ctx, gauge, 0) }); err != nil {
			return fmt.Errorf("all viewers have left: %w", err)
		}
	}
	answers, ids := newDelays(), slices.Sorted(maps.Keys(r.sessions))
	var mu sync.Mutex
	began := time.Now()
	err := inParallel(ctx, atOnce, len(ids), func(ctx context.Context, i int) error {
		asked := time.Now()
		err := r.cluster.call(ctx, r.cluster.edges[i%len(r.cluster.edges)], "DELETE", "/api/v1/sessions/"+ids[i], nil, nil)
		mu.Lock()
		defer mu.Unlock()
		answers.add(time.Since(asked))
		return err
	})
	if err != nil {
		return err
	}
	p.Values[valueRate] = float64(len(ids)) / time.Since(began).Seconds()
	p.Delays[delayAnswer] = answers
	err = r.wait(ctx, r.patience(), func() error {
		if n := r.agents.sessions(); n != 0 {
			return fmt.Errorf("the agents still have %d sessions", n)
		}
		return r.counts(ctx, "streamspace_sessions", 0)
	})
	p.Values[valueSettled] = time.Since(began).Seconds()
	return err
}
