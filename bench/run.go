package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Options are those of one comparison.
type Options struct {
	Program  string        // the streamspace binary, also of the load generator
	Version  string        // of it, for the report
	Works    []string      // empty: those of the comparison that take no special wish
	Systems  []string      // empty: those that make sense for the work
	Rounds   int           // at least 1
	Duration time.Duration // of each measurement, without its warm-up; at least 100ms
	Viewers  int           // of a relay; 0: as many as the work has by itself
	Seed     uint64        // of a relay's bytes and rhythms
	Clients  int           // of HTTP: connections at once
	Rate     int           // of HTTP: requests a second where all systems get the same
	Awake    bool          // of HTTP: no core sleeps meanwhile
	Out      string        // folder of the report
	Keep     bool          // the folder with configs
	Progress io.Writer     // a line for each measurement
	Table    io.Writer     // the result

	corrupt int64 // tests only: serverPlan.Corrupt
}

// comparison is what is measured on which systems, and what for.
type comparison struct {
	name     string // of the verb and of the report's files
	title    string
	systems  []system
	works    []work
	defaults []string // works that are measured unless somebody chooses
	goals    []goal
	how      string // it is measured: HTML
	check    func(*Options) error
	measure  func(context.Context, *run, work, system, int) (Measurement, error)
}

type run struct {
	comparison
	options     Options
	folder      string
	certificate certificate
	began       time.Time
	awake       []*process // of Options.Awake
}

// Relay measures every work of viewers on every system, in turn, and writes the
// report. What a *UsageError says is for the command line's user to mend. Wrong
// bytes end the run at once; a measurement of ours that fails makes the run fail
// at its end, one of a peer's is reported.
func Relay(ctx context.Context, o Options) error { return relayComparison().run(ctx, o) }

// HTTP is Relay for requests that a pool's upstreams answer.
func HTTP(ctx context.Context, o Options) error { return httpComparison().run(ctx, o) }

func (c comparison) run(ctx context.Context, o Options) error {
	if err := supported(); err != nil {
		return err
	}
	if err := o.check(); err != nil {
		return err
	}
	if err := c.check(&o); err != nil {
		return err
	}
	chosen, err := c.chooseWorks(o.Works)
	if err != nil {
		return err
	}
	named, err := choose(c.systems, o.Systems)
	if err != nil {
		return err
	}
	here, missing := installed(named)
	r := &run{comparison: c, options: o, began: time.Now()}
	if len(missing) > 0 {
		r.say("left out, because they are not installed: %s; to get them: apt-get install -y --no-install-recommends %s", missingSystems(named, here), strings.Join(missing, " "))
	}
	if len(here) == 0 {
		return &UsageError{"--systems: none of them can run here"}
	}
	files, err := raiseFileLimit()
	if err != nil {
		return err
	}
	if r.folder, err = os.MkdirTemp("", "streamspace-bench-"); err != nil {
		return err
	}
	if o.Keep {
		r.say("configs are kept in %s", r.folder)
	} else {
		defer func() { _ = os.RemoveAll(r.folder) }()
	}
	if r.certificate, err = makeCertificate(r.folder); err != nil {
		return err
	}
	if o.Awake {
		r.awake, err = keepAwake(r.folder)
		defer func() {
			for _, p := range r.awake {
				p.kill()
			}
		}()
		if err != nil {
			return err
		}
	}
	report := &Report{comparison: c, Began: r.began, Version: o.Version, Machine: machine(), Cores: runtime.NumCPU(), OpenFiles: files,
		Rounds: o.Rounds, Duration: o.Duration.Seconds(), Seed: o.Seed, Viewers: o.Viewers, Clients: o.Clients, Rate: o.Rate, Awake: o.Awake, Peers: peerVersions(here), Missing: missing}
	err = r.all(ctx, chosen, here, report)
	if len(report.Measurements) == 0 {
		return err
	}
	report.Took = time.Since(r.began).Seconds()
	report.Verdicts = c.verdicts(report.Measurements)
	writeTable(o.Table, report)
	saved, saveErr := save(o.Out, report.name, report)
	if saveErr == nil {
		fmt.Fprintf(o.Table, "\nReport: %s\n", saved)
	}
	return errors.Join(err, saveErr)
}

func (o *Options) check() error {
	switch {
	case o.Rounds < 1:
		return &UsageError{fmt.Sprintf("--rounds: %d is too few; at least 1, and 3 for a median that means something", o.Rounds)}
	case o.Duration < 100*time.Millisecond:
		return &UsageError{fmt.Sprintf("--duration: %s is too short; at least 100ms", o.Duration)}
	}
	return nil
}

func checkViewers(o *Options) error {
	if o.Viewers < 0 || o.Viewers > 100_000 {
		return &UsageError{fmt.Sprintf("--viewers: %d is out of range; 1 to 100000", o.Viewers)}
	}
	return nil
}

func missingSystems(named, here []system) string {
	var names []string
	for _, s := range named {
		if !slices.Contains(systemNames(here), s.name) {
			names = append(names, s.name)
		}
	}
	return strings.Join(names, ", ")
}

// all measures each work, round by round, the systems in turn.
func (r *run) all(ctx context.Context, chosen []work, here []system, report *Report) error {
	var ourFaults []error
	type turn struct {
		work  work
		round int
		sys   system
	}
	var turns []turn
	for _, w := range chosen {
		for round := 1; round <= r.options.Rounds; round++ {
			for _, s := range here {
				if len(r.options.Systems) > 0 || slices.Contains(w.systems, s.name) {
					turns = append(turns, turn{w, round, s})
				}
			}
		}
	}
	for i, t := range turns {
		r.say("[%d/%d] %s, round %d of %d: %s%s", i+1, len(turns), t.work.name, t.round, r.options.Rounds, t.sys.name, r.remaining(i, len(turns)))
		m, err := r.measure(ctx, r, t.work, t.sys, t.round)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			m.Error = err.Error()
			err = fmt.Errorf("%s on %s, round %d: %w", t.work.name, t.sys.name, t.round, err)
			if strings.Contains(m.Error, "WRONG BYTES") {
				report.Measurements = append(report.Measurements, m)
				return err
			}
			r.say("        FAILED: %s", m.Error)
			if t.sys.ours {
				ourFaults = append(ourFaults, err)
			}
		} else {
			r.say("        %s", brief(t.work, m))
		}
		report.Measurements = append(report.Measurements, m)
	}
	return errors.Join(ourFaults...)
}

func (r *run) remaining(done, total int) string {
	if done == 0 {
		return ""
	}
	left := time.Since(r.began) / time.Duration(done) * time.Duration(total-done)
	return fmt.Sprintf(" (about %s left)", left.Round(time.Second))
}

func (r *run) viewersOf(w work) int {
	switch {
	case r.options.Viewers > 0:
		return r.options.Viewers
	case w.name == workStorm:
		return max(1, int(r.options.Duration.Seconds()*stormPerSec))
	default:
		return w.viewers
	}
}

func (r *run) say(format string, args ...any) { fmt.Fprintf(r.options.Progress, format+"\n", args...) }

// brief is one measurement in one line.
func brief(w work, m Measurement) string {
	var parts []string
	for _, metric := range w.metrics {
		if v, ok := m.Values[metric.key]; ok {
			parts = append(parts, fmt.Sprintf("%s %s %s", metric.label, number(v), metric.unit))
		}
	}
	cores := float64(runtime.NumCPU())
	return fmt.Sprintf("%s  (of the machine: load generator %.0f%%, others %.0f%%)", strings.Join(parts, ", "),
		100*m.Load/m.Seconds/cores, 100*m.Others/m.Seconds/cores)
}

// peerVersions asks the peers for theirs.
func peerVersions(here []system) map[string]string {
	versions := map[string]string{}
	for _, s := range here {
		for _, program := range s.programs {
			if versions[program] != "" {
				continue
			}
			flag := "-v"
			if program == websockify {
				flag = "--version" // it has none: its package knows
			}
			out, _ := exec.Command(findProgram(program), flag).CombinedOutput()
			first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
			if program == websockify {
				out, _ = exec.Command("dpkg-query", "-W", "-f", "${Version}", "websockify").Output()
				first = "websockify " + string(out)
			}
			versions[program] = first
		}
	}
	return versions
}
