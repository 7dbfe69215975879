package balancer

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

// judged is the outliers of a pool in a time of its own. Without jitter unless
// random is changed.
type judged struct {
	*outliers
	t   *testing.T
	now time.Time
}

func judge(t *testing.T, c PassiveConfig, ids ...string) *judged {
	j := &judged{newOutliers(c, ids), t, time.Unix(1_000_000, 0)}
	j.random = func() float64 { return 0 }
	return j
}

func (j *judged) pass(d time.Duration) { j.now = j.now.Add(d) }

// results notes + for good and - for bad, and returns for how long the last of
// them ejected, 0 when it didn't. None before it may.
func (j *judged) results(id, results string) time.Duration {
	j.t.Helper()
	for i, result := range results {
		ejected, until := j.note(id, result == '+', j.now)
		switch {
		case ejected && i < len(results)-1:
			j.t.Fatalf("%s was ejected by the first %d of %s", id, i+1, results)
		case ejected:
			return until.Sub(j.now)
		}
	}
	return 0
}

func (j *judged) want(id, results string, want time.Duration) {
	j.t.Helper()
	if got := j.results(id, results); got != want {
		j.t.Errorf("%s after %s is out for %s, want %s", id, results, got, want)
	}
}

func TestARunOfFailuresEjects(t *testing.T) {
	j := judge(t, PassiveConfig{}, "a", "b")
	j.want("a", "----", 0)
	j.want("b", "----", 0)
	j.want("a", "+----", 0)
	j.want("a", "-", 10*time.Second)
	j.want("unknown", "----------", 0)

	j = judge(t, PassiveConfig{Failures: 1, Eject: time.Minute}, "a", "b")
	j.want("a", "++-", time.Minute)
}

func TestWhatIsOutIsNotJudged(t *testing.T) {
	j := judge(t, PassiveConfig{}, "a", "b")
	j.want("a", "-----", 10*time.Second)
	j.pass(10*time.Second - 1)
	j.want("a", "-------+-------", 0)
	if _, until := j.note("a", false, j.now); until.Sub(j.now) != 1 {
		t.Errorf("it returns in %s, want 1ns", until.Sub(j.now))
	}
	j.pass(1)
	j.want("a", "----", 0)
	j.want("a", "-", 20*time.Second)
}

func TestEachEjectionInARowLastsLonger(t *testing.T) {
	j := judge(t, PassiveConfig{Failures: 2, Eject: 10 * time.Second, MaxEject: 35 * time.Second}, "a", "b")
	for _, want := range []time.Duration{10, 20, 30, 35, 35} {
		j.want("a", "--", want*time.Second)
		j.pass(want * time.Second)
	}
}

func TestAfterServingWellForAsLongAsItWasOutItStartsAnew(t *testing.T) {
	j := judge(t, PassiveConfig{Failures: 2}, "a", "b")
	j.want("a", "--", 10*time.Second)
	j.pass(10 * time.Second)
	j.want("a", "--", 20*time.Second)

	j.pass(20*time.Second + 20*time.Second - 1)
	j.want("a", "+", 0) // too early by a nanosecond
	j.want("a", "--", 30*time.Second)

	j.pass(30*time.Second + 30*time.Second)
	j.want("a", "--", 40*time.Second) // long enough, but nothing good came of it

	j.pass(40*time.Second + 40*time.Second)
	j.want("a", "-+", 0)
	j.want("a", "--", 10*time.Second)
}

func TestJitterAddsUpToATenth(t *testing.T) {
	config := PassiveConfig{Failures: 1, Eject: 10 * time.Second, MaxEject: 10 * time.Second}
	for random, want := range map[float64]time.Duration{0: 10 * time.Second, 0.5: 10500 * time.Millisecond, math.Nextafter(1, 0): 11 * time.Second} {
		j := judge(t, config, "a", "b")
		j.random = func() float64 { return random }
		if got := j.results("a", "-"); got > want || got < want-time.Microsecond {
			t.Errorf("out for %s with %g, want %s", got, random, want)
		}
	}
	distinct := map[time.Duration]bool{}
	for range 20 {
		j := judge(t, config, "a", "b")
		j.random = newOutliers(config, nil).random
		distinct[j.results("a", "-")] = true
	}
	if len(distinct) < 2 {
		t.Errorf("twenty ejections all last %v", distinct)
	}
}

func TestNeverMoreThanTheCapIsOut(t *testing.T) {
	for _, test := range []struct {
		pool int
		most float64
		want int
	}{
		{1, 0.5, 0}, {2, 0.5, 1}, {3, 0.5, 1}, {4, 0.5, 2}, {5, 0.5, 2}, {2, 0.01, 1}, {10, 0.3, 3}, {100, 0.29, 29}, {3, 1, 3}, {0, 1, 0}, {4, 0, 2},
	} {
		var ids []string
		for i := range test.pool {
			ids = append(ids, fmt.Sprint(i))
		}
		j := judge(t, PassiveConfig{Failures: 1, MaxOut: test.most}, ids...)
		out := 0
		for range 3 {
			for _, id := range ids {
				if j.results(id, "-") > 0 {
					out++
				}
			}
		}
		if out != test.want {
			t.Errorf("%d of %d are out with a cap of %g, want %d", out, test.pool, test.most, test.want)
		}
	}
}

func TestWhoWaitsForTheCapIsOutAtTheNextFailureThatMay(t *testing.T) {
	j := judge(t, PassiveConfig{Failures: 3}, "a", "b")
	j.want("a", "---", 10*time.Second)
	j.want("b", "-----", 0)
	j.pass(10 * time.Second)
	j.want("b", "-", 10*time.Second)
	j.want("a", "---", 0)
	j.pass(10 * time.Second)
	j.want("a", "-", 20*time.Second)
}

func TestAReloadKeepsTheRecordOfWhoStays(t *testing.T) {
	j := judge(t, PassiveConfig{Failures: 3}, "a", "b", "c")
	j.want("a", "---", 10*time.Second)
	j.want("b", "--", 0)
	j.update(PassiveConfig{Failures: 3, Eject: time.Second, MaxOut: 1}, []string{"a", "b", "d"})
	if _, until := j.note("a", true, j.now); until.Sub(j.now) != 10*time.Second {
		t.Errorf("a is out for %s after the reload, want 10s", until.Sub(j.now))
	}
	j.want("b", "-", time.Second)
	j.want("c", "------", 0)
	j.want("d", "---", time.Second)
	j.update(PassiveConfig{Failures: 3}, []string{"b"})
	j.update(PassiveConfig{Failures: 3}, []string{"a", "b"})
	if _, until := j.note("a", true, j.now); !until.IsZero() {
		t.Errorf("a was removed and is new, and yet out for %s", until.Sub(j.now))
	}
}

func TestAnEndlessRunOfEjectionsStaysAtTheLongest(t *testing.T) {
	o := newOutliers(PassiveConfig{Eject: time.Hour, MaxEject: math.MaxInt64 / 2}, nil)
	for _, n := range []int{1, 1000, math.MaxInt32, math.MaxInt} {
		if got := o.ejection(n); got < time.Hour {
			t.Errorf("ejection %d lasts %s", n, got)
		}
	}
}

func TestPanicIsBelowTheShareOnly(t *testing.T) {
	for _, test := range []struct {
		threshold   float64
		usable, all int
		want        bool
	}{
		{0.5, 2, 4, false}, {0.5, 1, 4, true}, {0.5, 1, 2, false}, {0.5, 0, 1, true}, {0.5, 1, 1, false}, {0.5, 2, 5, true}, {0.5, 0, 0, false},
		{0, 0, 4, false}, {0, 0, 0, false}, {1, 3, 4, true}, {1, 4, 4, false},
	} {
		if got := (PassiveConfig{Panic: test.threshold}).panics(test.usable, test.all); got != test.want {
			t.Errorf("%d of %d usable panic at %g: %v", test.usable, test.all, test.threshold, got)
		}
	}
}

func TestPassiveFaultsNameTheKeyAndTheValue(t *testing.T) {
	for name, config := range map[string]PassiveConfig{
		"defaults":                  {},
		"all":                       {Failures: 1, Eject: time.Second, MaxEject: time.Second, MaxOut: 1, Panic: 1},
		"longer than the default's": {Eject: time.Hour},
	} {
		if faults := config.Validate(); len(faults) > 0 {
			t.Errorf("%s: %v", name, faults)
		}
	}
	for name, test := range map[string]struct {
		config    PassiveConfig
		key, text string
	}{
		"failures":             {PassiveConfig{Failures: -1}, "failures", "-1"},
		"eject":                {PassiveConfig{Eject: -time.Second}, "eject", "-1s"},
		"max_eject":            {PassiveConfig{MaxEject: -time.Second}, "max_eject", "-1s"},
		"less than the first":  {PassiveConfig{Eject: time.Minute, MaxEject: time.Second}, "max_eject", "1m0s"},
		"less than a default":  {PassiveConfig{MaxEject: time.Second}, "max_eject", "10s"},
		"a share of more":      {PassiveConfig{MaxOut: 50}, "max_out", "50"},
		"a negative share":     {PassiveConfig{MaxOut: -0.1}, "max_out", "-0.1"},
		"no number":            {PassiveConfig{MaxOut: math.NaN()}, "max_out", "NaN"},
		"panic at more":        {PassiveConfig{Panic: 50}, "panic", "50"},
		"panic at less than 0": {PassiveConfig{Panic: -0.5}, "panic", "-0.5"},
		"panic at no number":   {PassiveConfig{Panic: math.NaN()}, "panic", "NaN"},
	} {
		faults := test.config.Validate()
		if len(faults) != 1 || faults[0].Key != test.key || !strings.Contains(faults[0].Text, test.text) {
			t.Errorf("%s: faults %v, want one of %s that says %s", name, faults, test.key, test.text)
		}
	}
}

// What a request pays for being judged, many at once.
func BenchmarkNoteOfAGoodRequest(b *testing.B) {
	var ids []string
	for i := range 16 {
		ids = append(ids, fmt.Sprintf("10.0.0.%d:8080", i))
	}
	o := newOutliers(PassiveConfig{}, ids)
	now := time.Unix(1_000_000, 0)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			o.note(ids[i%len(ids)], true, now)
		}
	})
}
