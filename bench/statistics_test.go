package bench

import (
	"slices"
	"strings"
	"testing"
)

func TestSummariesAreMediansWithTheirSpread(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   Summary
	}{
		{nil, Summary{}},
		{[]float64{3}, Summary{3, 3, 3, 1}},
		{[]float64{3, 1}, Summary{2, 1, 3, 2}},
		{[]float64{9, 1, 2}, Summary{2, 1, 9, 3}},
	} {
		if got := summarize(c.values); got != c.want {
			t.Errorf("%v: %v", c.values, got)
		}
	}
}

func measured(work, system string, round int, key string, value float64) Measurement {
	return Measurement{Work: work, System: system, Round: round, Viewers: 1, Seconds: 1, Values: map[string]float64{key: value}}
}

func TestRatiosCompareRoundByRound(t *testing.T) {
	all := []Measurement{
		measured(workBulk, edge, 1, keyPerGB, 1), measured(workBulk, haproxy, 1, keyPerGB, 2),
		measured(workBulk, edge, 2, keyPerGB, 10), measured(workBulk, haproxy, 2, keyPerGB, 10), // the machine was busy
		measured(workBulk, edge, 3, keyPerGB, 3), measured(workBulk, haproxy, 3, keyPerGB, 4),
		measured(workBulk, edge, 4, keyPerGB, 100),                                              // without a partner
		measured(workEcho, edge, 1, keyPerGB, 100), measured(workEcho, haproxy, 1, keyPerGB, 1), // other work
		{Work: workBulk, System: haproxy, Round: 4, Error: "failed", Values: map[string]float64{keyPerGB: 1}}, // counts for nothing
	}
	if got := ratioOf(all, workBulk, edge, keyPerGB, haproxy, keyPerGB); got != (Summary{0.75, 0.5, 1, 3}) {
		t.Errorf("%+v", got)
	}
}

func TestVerdictsFollowTheMedian(t *testing.T) {
	find := func(all []Measurement, work, key string) Verdict {
		for i, g := range relayGoals() {
			if g.work == work && g.key == key {
				return relayComparison().verdicts(all)[i]
			}
		}
		t.Fatalf("no goal for %s of %s", key, work)
		return Verdict{}
	}
	for _, c := range []struct {
		work, key    string
		ours, theirs float64
		reached      bool
	}{
		{workBulk, keyPerGB, 0.7, 1, true},
		{workBulk, keyPerGB, 0.71, 1, false},
		{workStorm, keyPerCPU, 2, 1, true},
		{workStorm, keyPerCPU, 0.9, 1, false},
	} {
		v := find([]Measurement{measured(c.work, edge, 1, c.key, c.ours), measured(c.work, haproxy, 1, c.key, c.theirs)}, c.work, c.key)
		if v.Reached != c.reached || v.Ratio.Rounds != 1 {
			t.Errorf("%s %g/%g: %+v", c.key, c.ours, c.theirs, v)
		}
	}
	if v := find(nil, workBulk, keyPerGB); v.Reached || v.word() != "not measured" {
		t.Errorf("without a measurement: %+v", v)
	}
}

func TestValuesThatCanNotBeAreNoneOfAVerdict(t *testing.T) {
	for _, c := range []struct{ ours, theirs float64 }{{0, 1}, {-3, 19}, {1, 0}, {1, -1}, {-1, -1}} {
		all := []Measurement{measured(workIdle, edge, 1, keyMemory, c.ours), measured(workIdle, haproxy, 1, keyMemory, c.theirs)}
		for _, v := range relayComparison().verdicts(all) {
			if v.Reached || v.Ratio.Rounds != 0 {
				t.Errorf("%g/%g: %+v", c.ours, c.theirs, v)
			}
		}
	}
}

func TestAVerdictOfFewRoundsSaysSo(t *testing.T) {
	for rounds, want := range map[int]string{1: "reached (of 1 round)", 2: "reached (of 2 rounds)", 3: "reached", 4: "reached"} {
		var all []Measurement
		for round := 1; round <= rounds; round++ {
			all = append(all, measured(workIdle, edge, round, keyMemory, 1), measured(workIdle, haproxy, round, keyMemory, 2))
		}
		all = append(all, measured(workIdle, edge, 9, keyMemory, -1), measured(workIdle, haproxy, 9, keyMemory, 2))
		for _, v := range relayComparison().verdicts(all) {
			if v.Ratio.Rounds > 0 && v.word() != want {
				t.Errorf("of %d rounds: %q", rounds, v.word())
			}
		}
	}
}

// held is a measurement of hold by its edge's samples.
func held(round int, samples ...Sample) Measurement {
	m := Measurement{Work: workHold, System: edge, Round: round, Values: map[string]float64{}, Samples: samples}
	m.recordHeld()
	return m
}

func TestWhatGrowsWhileItIsHeldIsNoSuccess(t *testing.T) {
	start, middle, end := Sample{0, 100 << 20, 900, 40, 0}, Sample{150, 200 << 20, 900, 40, 0}, Sample{300, 200 << 20, 900, 40, 0}
	for _, c := range []struct {
		name   string
		change func(start, middle, end *Sample)
		want   [3]string // files, goroutines, memory
	}{
		{"steady", func(_, _, _ *Sample) {}, [3]string{"reached", "reached", "reached"}},
		{"a file more", func(_, _, end *Sample) { end.Files++ }, [3]string{"not reached", "reached", "reached"}},
		{"a goroutine more", func(_, _, end *Sample) { end.Goroutines++ }, [3]string{"reached", "not reached", "reached"}},
		{"5% of memory", func(_, _, end *Sample) { end.PSS = 210 << 20 }, [3]string{"reached", "reached", "reached"}},
		{"6% of memory", func(_, _, end *Sample) { end.PSS = 212 << 20 }, [3]string{"reached", "reached", "not reached"}},
		{"less of all", func(_, _, end *Sample) { *end = Sample{300, 100 << 20, 800, 30, 0} }, [3]string{"reached", "reached", "reached"}},
		{"too short for its memory", func(_, middle, end *Sample) { middle.At, end.At = 5, 10 }, [3]string{"reached", "reached", "not measured"}},
		{"another system's goroutines", func(a, b, c *Sample) { a.Goroutines, b.Goroutines, c.Goroutines = 0, 0, 0 }, [3]string{"reached", "not measured", "reached"}},
	} {
		a, b, z := start, middle, end
		c.change(&a, &b, &z)
		all := []Measurement{held(1, start, middle, end), held(2, start, middle, end), held(3, a, b, z), held(4, start, middle, end)}
		if strings.Contains(c.want[1]+c.want[2], "not measured") {
			all = []Measurement{held(1, a, b, z), held(2, a, b, z), held(3, a, b, z)}
		}
		var got []string
		for i, g := range relayGoals() {
			if g.work == workHold {
				got = append(got, relayComparison().verdicts(all)[i].word())
			}
		}
		if !slices.Equal(got, c.want[:]) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestEveryGoalIsMeasuredByDefault(t *testing.T) {
	everyGoalIsMeasured(t, relayComparison())
	everyGoalIsMeasured(t, httpComparison())
}

func everyGoalIsMeasured(t *testing.T, c comparison) {
	t.Helper()
	for _, g := range c.goals {
		chosen, err := c.chooseWorks([]string{g.work})
		if err != nil {
			t.Fatal(err)
		}
		w := chosen[0]
		has := map[string]bool{}
		for _, name := range w.systems {
			has[name] = true
		}
		for _, m := range w.metrics {
			has[m.key] = true
		}
		if g.base != "" {
			values := held(1, Sample{At: 0}, Sample{At: 200}, Sample{At: 400}).Values
			_, has[g.key] = values[g.key]
			_, has[g.peer] = values[g.base]
		}
		if !has[g.ours] || !has[g.peer] || !has[g.key] {
			t.Errorf("%s: %s measures %v with %v", g.text, w.name, w.systems, w.metrics)
		}
	}
}
