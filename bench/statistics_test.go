package bench

import "testing"

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
	if got := ratioOf(all, workBulk, keyPerGB, edge, haproxy); got != (Summary{0.75, 0.5, 1, 3}) {
		t.Errorf("%+v", got)
	}
}

func TestVerdictsFollowTheMedian(t *testing.T) {
	find := func(all []Measurement, work, key string) Verdict {
		for i, g := range goals() {
			if g.work == work && g.key == key {
				return verdicts(all)[i]
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

func TestEveryGoalIsMeasuredByDefault(t *testing.T) {
	for _, g := range goals() {
		chosen, err := chooseWorks([]string{g.work})
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
		if !has[g.ours] || !has[g.peer] || !has[g.key] {
			t.Errorf("%s: %s measures %v with %v", g.text, w.name, w.systems, w.metrics)
		}
	}
}
