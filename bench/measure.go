package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Measurement is one system at one work in one round, as measured.
type Measurement struct {
	Work    string             `json:"work"`
	System  string             `json:"system"`
	Round   int                `json:"round"` // from 1
	Viewers int                `json:"viewers"`
	Clients int                `json:"clients,omitempty"` // connections of HTTP at once
	Seconds float64            `json:"seconds"`           // measured
	Bytes   int64              `json:"bytes"`             // of RFB that viewers got and checked meanwhile, or of HTTP that clients got
	Updates int64              `json:"updates"`
	Inputs  int64              `json:"inputs"`            // that VNC servers got and checked, from the start
	Answers int64              `json:"answers,omitempty"` // that clients of HTTP got
	CPU     map[string]float64 `json:"cpu_s"`             // of the system under test, by program
	Load    float64            `json:"load_s"`            // CPU of the load generator
	Others  float64            `json:"other_s"`           // CPU of everything else on the machine
	Values  map[string]float64 `json:"values"`
	Samples []Sample           `json:"samples,omitempty"` // hold only
	Error   string             `json:"error,omitempty"`   // nothing else counts then

	Delays *delays `json:"delays_ns,omitempty"` // as HdrHistogram writes them, compressed
}

// stage is one measurement while it runs.
type stage struct {
	*run
	work    work
	system  system
	site    *site
	servers *crew
	viewers *crew
	result  *Measurement
}

// place makes the folder and the empty result of one measurement.
func (r *run) place(w work, sys system, round int) (*site, Measurement, error) {
	result := Measurement{Work: w.name, System: sys.name, Round: round, Values: map[string]float64{}, CPU: map[string]float64{}}
	dir := filepath.Join(r.folder, fmt.Sprintf("%s-%d-%s", w.name, round, strings.ReplaceAll(sys.name, "+", "-")))
	return &site{dir: dir, program: r.options.Program, certificate: r.certificate}, result, os.Mkdir(dir, 0o700)
}

// measureRelay runs one system at one work. An error is that of the measurement,
// which is over, or of ctx.
func measureRelay(ctx context.Context, r *run, w work, sys system, round int) (result Measurement, err error) {
	place, result, err := r.place(w, sys, round)
	if err != nil {
		return result, err
	}
	result.Viewers = r.viewersOf(w)
	place.viewers = result.Viewers
	st := &stage{run: r, work: w, system: sys, result: &result, site: place}
	defer st.close()
	if err := st.open(ctx); err != nil {
		return result, err
	}
	switch w.name {
	case workStorm:
		err = st.storm(ctx)
	case workIdle:
		err = st.idle(ctx)
	case workHold:
		err = st.hold(ctx)
	default:
		err = st.traffic(ctx)
	}
	if gone := st.site.alive(); gone != nil {
		err = errors.Join(err, gone)
	}
	return result, err
}

func (s *stage) close() {
	if s.viewers != nil {
		s.viewers.close()
	}
	if s.servers != nil {
		s.servers.close()
	}
	s.site.close()
}

// open starts the VNC servers, the system and the process of the viewers.
func (s *stage) open(ctx context.Context) (err error) {
	if s.servers, err = startCrew(s.site, RoleServers); err != nil {
		return err
	}
	plan := serverPlan{Work: s.work.name, Seed: s.options.Seed, WebSocket: s.system.webSocket, Rates: s.work.rates, Corrupt: s.options.corrupt}
	if s.system.name == edgeAgent {
		plan.Ports = agentEndpoints
	}
	a, err := s.servers.tell(ctx, order{Do: doBegin, Servers: &plan})
	if err != nil {
		return err
	}
	s.site.servers = a.Addresses
	const long = 2000
	if s.system.ours && s.result.Viewers >= long {
		s.say("        making %d sessions and tickets first", s.result.Viewers)
	}
	if err := s.system.start(ctx, s.site); err != nil {
		return err
	}
	s.viewers, err = startCrew(s.site, RoleViewers)
	return err
}

func (s *stage) plan() *fleetPlan {
	return &fleetPlan{Door: s.site.door, Work: s.work.name, Seed: s.options.Seed, Viewers: s.result.Viewers, AtOnce: defaultStorm}
}

func (s *stage) tellViewers(ctx context.Context, do string) (fleetCounts, error) {
	a, err := s.viewers.tell(ctx, order{Do: do})
	if err != nil {
		return fleetCounts{}, err
	}
	if _, err := s.serverCounts(ctx); err != nil {
		return fleetCounts{}, err
	}
	return *a.Viewers, nil
}

func (s *stage) serverCounts(ctx context.Context) (serverCounts, error) {
	a, err := s.servers.tell(ctx, order{Do: doCount})
	if err != nil {
		return serverCounts{}, err
	}
	return *a.Servers, nil
}

// begin brings all viewers in, lets them warm up, and starts the measurement.
func (s *stage) begin(ctx context.Context) (*clock, error) {
	if _, err := s.viewers.tell(ctx, order{Do: doBegin, Viewers: s.plan()}); err != nil {
		return nil, err
	}
	if _, err := s.tellViewers(ctx, doStart); err != nil {
		return nil, err
	}
	if !sleep(ctx, min(s.work.warmUp, s.options.Duration)) {
		return nil, context.Cause(ctx)
	}
	if _, err := s.tellViewers(ctx, doMark); err != nil {
		return nil, err
	}
	return s.startClock()
}

// traffic is bulk, echo and desktop.
func (s *stage) traffic(ctx context.Context) error {
	clock, err := s.begin(ctx)
	if err != nil {
		return err
	}
	if err := s.wait(ctx, s.options.Duration); err != nil {
		return err
	}
	counts, err := s.tellViewers(ctx, doCount)
	if err != nil {
		return err
	}
	if err := clock.stop(); err != nil {
		return err
	}
	s.record(counts)
	return s.finish(ctx)
}

// wait watches for errors meanwhile.
func (s *stage) wait(ctx context.Context, d time.Duration) error {
	for end := time.Now().Add(d); ; {
		left := time.Until(end)
		if left <= 0 {
			return nil
		}
		if !sleep(ctx, min(left, 10*time.Second)) {
			return context.Cause(ctx)
		}
		if time.Until(end) > time.Second {
			if _, err := s.tellViewers(ctx, doCount); err != nil {
				return err
			}
		}
	}
}

// finish lets the traffic end and checks that both sides had all of it.
func (s *stage) finish(ctx context.Context) error {
	counts, err := s.tellViewers(ctx, doStop)
	if err != nil {
		return err
	}
	servers, err := s.serverCounts(ctx)
	if err != nil {
		return err
	}
	s.result.Inputs = servers.Inputs
	if servers.Inputs != counts.Inputs {
		return &workError{fmt.Sprintf("WRONG BYTES: viewers sent %d inputs, the VNC servers got %d", counts.Inputs, servers.Inputs)}
	}
	return nil
}

// record turns counts into values.
func (s *stage) record(c fleetCounts) {
	r, v := s.result, s.result.Values
	r.Bytes, r.Updates = c.Bytes, c.Updates
	cpu := r.totalCPU()
	v[keyCores] = cpu / r.Seconds
	if c.Bytes > 0 {
		v[keyPerGB] = cpu / (float64(c.Bytes) / 1e9)
		v[keyThrough] = float64(c.Bytes) / 1e9 / r.Seconds
		v[keyUpdates] = float64(c.Updates) / r.Seconds
	}
	r.recordDelays(c.Delays)
}

func (m *Measurement) recordDelays(d *delays) {
	if d.TotalCount() == 0 {
		return
	}
	m.Delays = d
	v := m.Values
	v[keyP50] = float64(d.ValueAtQuantile(50)) / 1e3
	v[keyP99] = float64(d.ValueAtQuantile(99)) / 1e3
	v[keyMax] = float64(d.Max()) / 1e3
}

func (m *Measurement) totalCPU() (seconds float64) {
	for _, s := range m.CPU {
		seconds += s
	}
	return seconds
}

// settle waits until the system is at rest after its start: what it does and
// allocates then is not the viewers'. At least it waits for a second, or enough
// if that is less.
func (s *site) settle(ctx context.Context, enough time.Duration) error {
	const least, look, limit = time.Second, 250 * time.Millisecond, 20 * time.Second
	const rest = look / 20 // of CPU
	var last time.Duration
	for began := time.Now(); time.Since(began) < limit; {
		each, err := used(s.processes)
		if err != nil {
			return err
		}
		var used time.Duration
		for _, u := range each {
			used += u
		}
		if used-last <= rest && time.Since(began) >= min(least, enough) {
			return nil
		}
		last = used
		if !sleep(ctx, look) {
			return context.Cause(ctx)
		}
	}
	return nil // its figures tell of it
}

// idle measures what a viewer's stream takes in memory while nothing moves.
func (s *stage) idle(ctx context.Context) error {
	if err := s.site.settle(ctx, s.options.Duration); err != nil {
		return err
	}
	before, err := memory(s.site.leaders())
	if err != nil {
		return err
	}
	if _, err := s.viewers.tell(ctx, order{Do: doBegin, Viewers: s.plan()}); err != nil {
		return err
	}
	clock, err := s.startClock()
	if err != nil {
		return err
	}
	if err := s.wait(ctx, s.options.Duration); err != nil {
		return err
	}
	after, err := memory(s.site.leaders())
	if err != nil {
		return err
	}
	if err := clock.stop(); err != nil {
		return err
	}
	s.result.Values[keyMemory] = float64(after-before) / 1024 / float64(s.result.Viewers)
	return s.finish(ctx)
}

func (s *stage) storm(ctx context.Context) error {
	if err := s.site.settle(ctx, s.options.Duration); err != nil {
		return err
	}
	clock, err := s.startClock()
	if err != nil {
		return err
	}
	a, err := s.viewers.tell(ctx, order{Do: doStorm, Viewers: s.plan()})
	if err != nil {
		return err
	}
	if err := clock.stop(); err != nil {
		return err
	}
	n := float64(s.result.Viewers)
	s.result.Values[keyAccepted] = n / a.Took.Seconds()
	if cpu := s.result.totalCPU(); cpu > 0 {
		s.result.Values[keyPerCPU] = n / cpu
	}
	s.result.recordDelays(a.Viewers.Delays)
	return nil
}

func (s *stage) startClock() (*clock, error) {
	return (&clock{result: s.result, system: s.site.processes, generator: []*process{s.viewers.process, s.servers.process}}).start()
}
