package redis

import (
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
)

func of(id string, generation uint64, left time.Duration) entry {
	return entry{Lease: store.Lease{Kind: "node", ID: id, Generation: generation}, left: left}
}

func released(e entry) entry {
	e.released = true
	return e
}

func wantHeld(t *testing.T, got []store.Lease, want ...string) {
	t.Helper()
	var ids []string
	for _, l := range got {
		ids = append(ids, l.ID)
	}
	if !slices.Equal(ids, want) {
		t.Errorf("%v are held, want %v", ids, want)
	}
}

func TestALeaseThatRedisLostStaysUntilItsOwnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSeen()
		wantHeld(t, s.merge("node", []entry{of("b", 1, 10*time.Second), of("a", 1, 3*time.Second)}), "a", "b")
		wantHeld(t, s.merge("home", nil))
		time.Sleep(2 * time.Second)
		wantHeld(t, s.merge("node", []entry{of("c", 1, time.Hour)}), "a", "b", "c")
		time.Sleep(time.Second)
		wantHeld(t, s.merge("node", nil), "b", "c")
		time.Sleep(time.Second)
		wantHeld(t, s.merge("node", []entry{released(of("b", 1, time.Minute))}), "c")
		wantHeld(t, s.merge("node", nil), "c")
	})
}

func TestWhatAFailoverBringsBackIsNotBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSeen()
		s.merge("node", []entry{of("a", 2, 10*time.Second)})
		for what, old := range map[string]entry{"held": of("a", 1, time.Hour), "released": released(of("a", 1, time.Hour))} {
			got := s.merge("node", []entry{old})
			if len(got) != 1 || got[0].Generation != 2 {
				t.Errorf("an older generation that is %s: %+v", what, got)
			}
		}
		time.Sleep(10 * time.Second)
		if got := s.merge("node", []entry{of("a", 1, time.Hour)}); len(got) != 1 || got[0].Generation != 1 {
			t.Errorf("after the end of the newer one: %+v", got)
		}
	})
}

func TestTimeWithoutRedisEndsNoLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSeen()
		s.merge("node", []entry{of("a", 1, 10*time.Second)})
		for range 60 {
			time.Sleep(5 * time.Second)
			s.hold("node")
		}
		time.Sleep(9 * time.Second)
		wantHeld(t, s.merge("node", nil), "a")
		time.Sleep(time.Second)
		wantHeld(t, s.merge("node", nil))
	})
}

func TestLeasesAreReadAsTheyWereWritten(t *testing.T) {
	answer := []any{"a", int64(1500), "18446744073709551615", "hvalue", "b", int64(math.MaxInt64), "00000000000000000007", "r"}
	got, err := parseEntries("node", answer)
	if err != nil || len(got) != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	if a := got[0]; a.ID != "a" || a.Generation != math.MaxUint64 || string(a.Value) != "value" || a.left != 1500*time.Millisecond || a.released {
		t.Errorf("%+v", a)
	}
	if b := got[1]; b.ID != "b" || b.Generation != 7 || len(b.Value) != 0 || b.left <= 0 || !b.released {
		t.Errorf("%+v", b)
	}
}

func FuzzLeases(f *testing.F) {
	f.Add("edge-1", int64(3000), "00000000000000000001", "hvalue")
	f.Add("", int64(-1), "-1", "")
	f.Fuzz(func(t *testing.T, id string, left int64, generation, rest string) {
		got, err := parseEntries("node", []any{id, left, generation, rest})
		if err == nil && (len(got) != 1 || got[0].ID != id || string(got[0].Value) != rest[1:]) {
			t.Errorf("%+v", got)
		}
		if _, err := parseEntries("node", []any{id, left, generation}); err == nil {
			t.Error("a part is missing and nobody says so")
		}
		if _, err := parseEntries("node", []any{left, id, generation, rest}); err == nil {
			t.Error("parts are exchanged and nobody says so")
		}
	})
}
