package e2e

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/streamspace-dev/streamspace-edge/e2e/chaos"
)

// chaosRun is a fleet that suffers one step after the other.
type chaosRun struct {
	t      *testing.T
	f      *fleet
	d      desktops
	a      *audience
	w      *witnesses
	agents map[string]string // of each session: its agent's name
	report chaos.Report
}

// chaosPlan is how long a run is, as the environment says it.
type chaosPlan struct {
	seed     uint64
	duration time.Duration // of the steps together; 0: every fault once, and shortPairs
	folder   string        // of the report; empty: only the log has it
	redis    string
	faults   string // only those with this in their names
}

func readChaosPlan(t *testing.T) (p chaosPlan) {
	t.Helper()
	var err error
	p.seed, p.redis, p.folder, p.faults = 1, redisSentinels, os.Getenv("CHAOS_OUT"), os.Getenv("CHAOS_FAULTS")
	if text := os.Getenv("CHAOS_SEED"); text != "" {
		p.seed, err = strconv.ParseUint(text, 10, 64)
	}
	if text := os.Getenv("CHAOS_DURATION"); text != "" && err == nil {
		p.duration, err = time.ParseDuration(text)
	}
	if text := os.Getenv("CHAOS_REDIS"); text != "" {
		p.redis = text
	}
	if err != nil || !slices.Contains([]string{redisAlone, redisSentinels, redisCluster}, p.redis) {
		t.Fatalf("CHAOS_SEED is a number, CHAOS_DURATION a time like 10m, CHAOS_REDIS one of alone, sentinels and cluster (%v)", err)
	}
	return p
}

// shortPairs is how many steps of two faults the run of `make test` has.
const shortPairs = 4

// TestChaos has a cluster of three edges, three agents, 60 sessions and 200
// viewers suffer: every fault by itself, then pairs. With CHAOS_DURATION there
// are pairs until it is over. A program that watches for data races suffers the faults
// that happen to every installation, one by one: it is too slow for all.
func TestChaos(t *testing.T) {
	plan := readChaosPlan(t)
	faults, hold, pairs := chosenFaults(plan), 4*time.Second, math.MaxInt
	if len(faults) == 0 {
		t.Fatalf("CHAOS_FAULTS=%q leaves no fault for this run; docs/chaos.md has their names", plan.faults)
	}
	if plan.duration == 0 {
		hold, pairs = 1500*time.Millisecond, shortPairs
		if watchedShare > 1 {
			hold, pairs = 500*time.Millisecond, 0
		}
	}
	if !slices.ContainsFunc(faults, func(f fault) bool { return f.part != faults[0].part }) {
		pairs = 0 // none are of different parts
	}
	names := make([]string, len(faults))
	for i, f := range faults {
		names[i] = f.name
	}
	t.Logf("CHAOS_SEED=%d CHAOS_REDIS=%s", plan.seed, plan.redis)
	r := startChaos(t, plan)
	end := time.Now().Add(plan.duration)
	for step := range chaos.Schedule(plan.seed, names, hold) {
		var both []fault
		for _, c := range step.Faults {
			both = append(both, faults[slices.Index(names, c.Name)])
		}
		if len(both) > 1 && pairs == 0 || plan.duration > 0 && time.Now().After(end) {
			break
		}
		if len(both) > 1 {
			if both[0].part == both[1].part {
				continue
			}
			pairs--
		}
		if !r.suffer(step, both) {
			break
		}
	}
	r.judge(plan)
}

// chosenFaults are those that happen in a run.
func chosenFaults(plan chaosPlan) []fault {
	faults := chaosFaults()
	if watchedShare > 1 {
		faults = slices.DeleteFunc(faults, func(f fault) bool { return strings.Contains(f.name, "clock") }) // which such a fleet has not
		if plan.duration == 0 {
			faults = faults[:5]
		}
	}
	return slices.DeleteFunc(faults, func(f fault) bool {
		// The nodes of a Redis Cluster tell each other's own addresses, which no link has.
		return !strings.Contains(f.name, plan.faults) || plan.redis == redisCluster && strings.HasSuffix(f.name, "and Redis")
	})
}

func startChaos(t *testing.T, plan chaosPlan) *chaosRun {
	t.Helper()
	size := fleetPlan{consoles: 18, desktops: 2, viewers: 200 / watchedShare, picture: 32 << 10, pace: 200 * time.Millisecond, check: time.Second, linked: true, clocks: watchedShare == 1, redis: plan.redis}
	r := &chaosRun{t: t, f: startFleetOf(t, size), agents: map[string]string{}}
	r.d = r.f.populate()
	hosts, err := r.f.edges[0].hosts()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range r.all() {
		r.agents[s.ID] = hosts[slices.IndexFunc(hosts, func(h host) bool { return h.ID == s.AgentID })].Name
	}
	r.a = r.f.watch(r.d)
	r.w = r.f.witness(r.d, plan.seed)
	r.report = chaos.Report{Seed: plan.seed, Redis: plan.redis, Edges: fleetSize, Agents: fleetSize, Sessions: len(r.all()), Viewers: len(r.a.watchers)}
	return r
}

func (r *chaosRun) all() []desktop { return slices.Concat(r.d.consoles, r.d.real) }

// suffer has a step's faults happen and end, waits until all is well, and writes
// down what it came to. It is false when something has gone wrong that must not.
func (r *chaosRun) suffer(step chaos.Step, faults []fault) bool {
	r.t.Helper()
	r.a.spread()
	r.t.Logf("%s: %s", time.Now().Format(time.TimeOnly), step)
	began, carriers := time.Now(), r.f.carriers()
	var troubles []trouble
	for i, f := range faults {
		if i > 0 {
			time.Sleep(step.Shift)
		}
		tr, err := f.begin(r, step.Faults[i].Pick)
		if err != nil {
			r.t.Fatalf("%s: %v", f.name, err)
		}
		troubles = append(troubles, tr)
	}
	time.Sleep(step.Hold)
	for _, tr := range slices.Backward(troubles) {
		tr.heal()
	}
	r.f.settled()
	r.running()
	r.a.allSee()
	ended := time.Now()
	figures := chaos.Figures{Step: step.String(), WritesGap: chaos.Longest(r.w.written(), began, ended).Seconds()}
	figures.Add(r.gaps(began, ended, troubles, carriers))
	for _, tr := range troubles {
		if !tr.resumed.IsZero() {
			for _, at := range r.w.written() {
				if at.After(tr.resumed) {
					figures.Resumed = at.Sub(tr.resumed).Seconds()
					break
				}
			}
		}
	}
	if len(troubles) == 1 { // pairs have no goals but that nothing is lost
		figures.Goals = troubles[0].goals(figures)
		figures.Step += ": " + troubles[0].victim
	}
	r.t.Logf("well again after %s", ended.Sub(began).Round(time.Millisecond))
	r.report.Steps = append(r.report.Steps, figures)
	right := true
	r.w.Write(func(h *chaos.History) { right = len(chaos.CheckSeen(h)) == 0 })
	return right
}

// running waits until every session that was there before runs.
func (r *chaosRun) running() {
	r.t.Helper()
	edges := r.f.working()
	for i, s := range r.all() {
		edges[i%len(edges)].becomes(s.ID, "running")
	}
}

// gaps are those of all viewers in a time, and whether they were spared.
func (r *chaosRun) gaps(from, to time.Time, troubles []trouble, carriers carriers) (all []chaos.Gap) {
	paths := carriers.paths()
	for _, w := range r.a.watchers {
		for _, gap := range w.gapsWithin(from, to) {
			gap.Spared = true
			for _, path := range paths(w.id, gap.At, r.agents[w.id]) {
				for _, tr := range troubles {
					touched := path.through(tr.victim)
					if tr.touches != nil {
						touched = tr.touches(path)
					}
					gap.Spared = gap.Spared && !touched
				}
			}
			all = append(all, gap)
		}
	}
	return all
}

// judge ends the run: it checks the history, and writes the report.
func (r *chaosRun) judge(plan chaosPlan) {
	t := r.t
	t.Helper()
	r.w.end()
	r.running()
	r.f.settled()
	r.a.allSee()
	gauges := r.gauges()
	r.a.leave()
	r.a.owner.Wait()
	r.f.gaugesAreZero()
	r.w.Write(func(h *chaos.History) {
		for _, w := range r.a.watchers {
			if w.wrong != nil {
				h.Wrong = append(h.Wrong, fmt.Sprintf("viewer %d of %s: %v", w.number, w.id, w.wrong))
				w.wrong = nil
			}
		}
		h.Final = r.final(h)
		h.Final.Gauges = gauges
	})
	history := r.w.History()
	for _, v := range chaos.Check(history) {
		t.Error(v)
		r.report.Violations = append(r.report.Violations, v.String())
	}
	r.report.Churned, r.report.Tickets = len(history.Sessions)-len(r.all()), len(history.Uses)/2
	took := slices.ContainsFunc(history.Uses, func(u chaos.Use) bool { return u.Took })
	if r.report.Churned == 0 || !took || len(history.Samples) < 2 {
		t.Errorf("nothing was tried: %d sessions, %d tickets, a stream was opened: %v, %d samples", r.report.Churned, r.report.Tickets, took, len(history.Samples))
	}
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		t.Fatal(err)
	}
	r.report.Cores, r.report.Load = runtime.NumCPU(), strings.TrimSpace(string(load))
	t.Log("\n" + r.report.Table())
	if plan.folder != "" {
		r.write(plan.folder)
	}
	r.f.endAll(r.d)
}

// gauges waits until each edge counts the viewers that are there, or has had its
// time to.
func (r *chaosRun) gauges() (all []chaos.Gauge) {
	r.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		all = all[:0]
		off := false
		for i, in := range r.f.edges {
			n := 0
			for _, w := range r.a.watchers {
				w.mu.Lock()
				if w.isOpen && w.at == i {
					n++
				}
				w.mu.Unlock()
			}
			g := chaos.Gauge{Node: edgeName(i), Name: "streamspace_vnc_connections_active", Told: int(in.metric("streamspace_vnc_connections_active")), Actual: n}
			s := chaos.Gauge{Node: edgeName(i), Name: "streamspace_sessions", Told: int(in.metric("streamspace_sessions")), Actual: len(r.all())}
			off = off || g.Told != g.Actual || s.Told != s.Actual
			all = append(all, g, s)
		}
		if !off || time.Now().After(end) {
			return all
		}
	}
}

// final waits until agents have what is running and nothing else, or have had 30 s
// since the last fault.
func (r *chaosRun) final(h *chaos.History) (final chaos.Final) {
	r.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		final = chaos.Final{States: map[string]chaos.State{}, Holdings: r.f.holdings()}
		for id := range h.Sessions {
			var s desktop
			if err := r.f.edges[0].get("/api/v1/sessions/"+id, &s); err == nil {
				final.States[id] = chaos.State{State: s.State, Reason: s.Reason}
			}
		}
		calm := &chaos.History{Sessions: h.Sessions, Final: final}
		if len(chaos.CheckFinal(calm)) == 0 || time.Now().After(end) {
			return final
		}
	}
}

func (r *chaosRun) write(folder string) {
	r.t.Helper()
	text, err := json.MarshalIndent(r.report, "", "  ")
	if err != nil {
		r.t.Fatal(err)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		r.t.Fatal(err)
	}
	writeText(r.t, filepath.Join(folder, "report.json"), string(text)+"\n")
	writeText(r.t, filepath.Join(folder, "report.txt"), r.report.Table())
}
