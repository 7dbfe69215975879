package chaos

import (
	"strings"
	"testing"
	"time"
)

func TestFiguresTellTheHitFromTheSpared(t *testing.T) {
	var f Figures
	f.Add([]Gap{
		{Viewer: 1, Told: "-1", Took: time.Second},
		{Viewer: 1, Told: "-1", Took: 3 * time.Second},
		{Viewer: 2, Took: 2 * time.Second},
		{Viewer: 3, Told: "4501", Took: 5 * time.Second, Spared: true},
		{Viewer: 4, Took: 300 * time.Millisecond, Spared: true},
	})
	f.Step = "" // what Add has no part in
	if f.Hit != 2 || f.P50 != 2 || f.P99 != 3 || f.Max != 3 || f.Spared != 1 || f.Stood != 1 || f.StoodMax != 5 {
		t.Errorf("%+v", f)
	}
}

func TestPercentileIsTheNearestRank(t *testing.T) {
	var hundred []float64
	for i := range 100 {
		hundred = append(hundred, float64(i+1))
	}
	for p, want := range map[int]float64{1: 1, 50: 50, 99: 99, 100: 100} {
		if got := Percentile(hundred, p); got != want {
			t.Errorf("%d: %g", p, got)
		}
	}
	if Percentile(nil, 99) != 0 || Percentile([]float64{7}, 1) != 7 {
		t.Error("of none, or one")
	}
}

func TestLongestCountsTheBounds(t *testing.T) {
	for _, c := range []struct {
		moments []time.Time
		want    time.Duration
	}{
		{nil, 10 * time.Second},
		{[]time.Time{at(4)}, 6 * time.Second},
		{[]time.Time{at(1), at(8)}, 7 * time.Second},
		{[]time.Time{at(-5), at(5), at(20)}, 5 * time.Second},
	} {
		if got := Longest(c.moments, at(0), at(10)); got != c.want {
			t.Errorf("%v: %s", c.moments, got)
		}
	}
}

func TestTableHasVerdicts(t *testing.T) {
	r := Report{Seed: 7, Steps: []Figures{{Step: "an edge is killed", Goals: []Goal{Below("p99", 1, 1.5), Below("p99", 2, 1.5)}}}, Violations: []string{"it broke"}}
	var missing []string
	for _, part := range []string{"seed 7", "an edge is killed", "p99 1.00 of 1.50 met", "p99 2.00 of 1.50 MISSED", "it broke"} {
		if !strings.Contains(r.Table(), part) {
			missing = append(missing, part)
		}
	}
	if len(missing) > 0 {
		t.Errorf("no %q in\n%s", missing, r.Table())
	}
}
