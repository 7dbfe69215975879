package bench

import (
	"context"
	"time"
)

// Sample is a look at a system that holds many viewers.
type Sample struct {
	At         float64 `json:"at_s"`
	PSS        int64   `json:"pss_bytes"`
	Files      int     `json:"files"`
	Goroutines int     `json:"goroutines"` // of the edge; 0 for others
	Bytes      int64   `json:"bytes"`
}

// hold keeps very many viewers for the duration, with looks at what the system
// holds at the start, at the end and in between.
func (s *stage) hold(ctx context.Context) error {
	clock, err := s.begin(ctx)
	if err != nil {
		return err
	}
	const looks = 10
	began := time.Now()
	var counts fleetCounts
	for i := range looks + 1 {
		if i > 0 && !sleep(ctx, time.Until(began.Add(s.options.Duration*time.Duration(i)/looks))) {
			return context.Cause(ctx)
		}
		if counts, err = s.tellViewers(ctx, doCount); err != nil {
			return err
		}
		if err := s.look(ctx, time.Since(began), counts.Bytes); err != nil {
			return err
		}
	}
	if err := clock.stop(); err != nil {
		return err
	}
	s.record(counts)
	s.result.recordHeld()
	return s.finish(ctx)
}

// plateau is how long an edge under the traffic of hold takes until its memory
// stays where it is: about two minutes, measured with 8,000 viewers on two cores.
const plateau = 2 * time.Minute

// recordHeld turns the samples, in order of time, into values. What memory grew
// to before the plateau is no base to compare with, so a run whose middle is
// before it has none.
func (m *Measurement) recordHeld() {
	first, middle, last := m.Samples[0], m.Samples[len(m.Samples)/2], m.Samples[len(m.Samples)-1]
	v := m.Values
	for key, sample := range map[string]Sample{keyStartMiB: first, keyMiddleMiB: middle, keyEndMiB: last} {
		v[key] = float64(sample.PSS) / (1 << 20)
	}
	if middle.At >= plateau.Seconds() {
		v[keyPlateauMiB] = v[keyMiddleMiB]
	}
	v[keyStartFiles], v[keyEndFiles] = float64(first.Files), float64(last.Files)
	v[keyFiles] = v[keyEndFiles] - v[keyStartFiles]
	v[keyStartRoutines], v[keyEndRoutines] = float64(first.Goroutines), float64(last.Goroutines)
	v[keyRoutines] = v[keyEndRoutines] - v[keyStartRoutines]
}

func (s *stage) look(ctx context.Context, at time.Duration, bytes int64) error {
	pss, err := memory(s.site.leaders())
	if err != nil {
		return err
	}
	files, err := openFiles(s.site.leaders())
	if err != nil {
		return err
	}
	sample := Sample{At: at.Seconds(), PSS: pss, Files: files, Bytes: bytes}
	if s.site.admin != "" {
		if sample.Goroutines, err = s.site.goroutines(ctx); err != nil {
			return err
		}
	}
	s.result.Samples = append(s.result.Samples, sample)
	s.say("        %3.0f s: %d viewers, %.1f MiB, %d files, %d goroutines, %.2f GB checked", sample.At, s.result.Viewers, float64(pss)/(1<<20), files, sample.Goroutines, float64(bytes)/1e9)
	return nil
}
