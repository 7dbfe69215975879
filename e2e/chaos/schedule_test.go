package chaos

import (
	"slices"
	"testing"
	"time"
)

func steps(seed uint64, n int) (all []Step) {
	for s := range Schedule(seed, []string{"a", "b", "c"}, time.Second) {
		if all = append(all, s); len(all) == n {
			break
		}
	}
	return all
}

func TestScheduleIsTheSameForASeed(t *testing.T) {
	const n = 200
	one, again, other := steps(1, n), steps(1, n), steps(2, n)
	same := func(a, b Step) bool {
		return a.Hold == b.Hold && a.Shift == b.Shift && slices.Equal(a.Faults, b.Faults)
	}
	if !slices.EqualFunc(one, again, same) {
		t.Error("a seed has given two schedules")
	}
	if slices.EqualFunc(one, other, same) {
		t.Error("two seeds have given one schedule")
	}
	pairs := map[[2]string]bool{}
	for i, s := range one {
		if s.Hold < time.Second || s.Hold >= 2*time.Second || s.Shift < 0 || s.Shift >= time.Second {
			t.Errorf("%v", s)
		}
		switch {
		case i < 3:
			if len(s.Faults) != 1 || s.Faults[0].Name != string(rune('a'+i)) {
				t.Errorf("step %d is %v", i, s)
			}
		case len(s.Faults) != 2 || s.Faults[0].Name == s.Faults[1].Name:
			t.Errorf("step %d is %v", i, s)
		default:
			pairs[[2]string{s.Faults[0].Name, s.Faults[1].Name}] = true
		}
	}
	if len(pairs) != 6 {
		t.Errorf("only the pairs %v come", pairs)
	}
}
