package balancer

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func clientKey(i int) uint64 { return KeyOf(fmt.Appendf(nil, "client-%d", i)) }

// homes is where each of n keys goes when nobody has any load.
func homes(candidates []Candidate, n int) []string {
	p, ids := NewPicker(Hash), make([]string, n)
	for i := range ids {
		ids[i] = candidates[p.Pick(candidates, clientKey(i))].ID
	}
	return ids
}

func TestKeyOfIsTheSameForever(t *testing.T) {
	// xxHash64 with seed 0: what its reference implementation gives.
	for text, want := range map[string]uint64{"": 0xef46db3751d8e999, "a": 0xd24ec4f1a98c6e5b, "abc": 0x44bc2cf5ad770999} {
		if got := KeyOf([]byte(text)); got != want {
			t.Errorf("KeyOf(%q) = %#x, want %#x", text, got, want)
		}
	}
}

// A change here would send every client elsewhere while edges of two versions run.
func TestHashSendsAKeyToTheSamePlaceForever(t *testing.T) {
	candidates := []Candidate{{"10.0.0.1:80", 0, 0, 1}, {"10.0.0.2:80", 0, 0, 2}, {"10.0.0.3:80", 0, 0, 1}, {"10.0.0.4:80", 0, 0, 4}}
	got := ""
	for _, id := range homes(candidates, 24) {
		got += id[7:8]
	}
	if want := "441444434444424224321411"; got != want {
		t.Errorf("keys went to %s, want %s", got, want)
	}
}

func TestHashSharesTheKeysByWeight(t *testing.T) {
	weights := []int{1, 2, 3, 10, 1000, 1500}
	candidates, total := many(len(weights), func(i int) int { return weights[i] }), 0
	for _, w := range weights {
		total += w
	}
	const keys = 100000
	got := map[string]int{}
	for _, id := range homes(candidates, keys) {
		got[id]++
	}
	for _, c := range candidates {
		share := float64(c.Weight) / float64(total)
		if off := math.Abs(float64(got[c.ID]) - keys*share); off > 5*math.Sqrt(keys*share*(1-share)) {
			t.Errorf("weight %d has %d keys of %d, want about %.0f", c.Weight, got[c.ID], keys, keys*share)
		}
	}
}

func TestHashMovesNoKeysButThoseItMust(t *testing.T) {
	all := many(10, func(i int) int { return 1 + i%3 })
	before := homes(all, 5000)
	tests := map[string]struct {
		which  int // the one that changes
		change func(c []Candidate) []Candidate
		leave  bool // keys may leave it; they stay where they are otherwise
		come   bool // keys may come to it
	}{
		"removed":     {3, func(c []Candidate) []Candidate { return slices.Delete(c, 3, 4) }, true, false},
		"out":         {3, func(c []Candidate) []Candidate { c[3].Capacity = -1; return c }, true, false},
		"full":        {3, func(c []Candidate) []Candidate { c[3].Active, c[3].Capacity = 2, 2; return c }, true, false},
		"lighter":     {5, func(c []Candidate) []Candidate { c[5].Weight = 1; return c }, true, false},
		"heavier":     {3, func(c []Candidate) []Candidate { c[3].Weight = 5; return c }, false, true},
		"other order": {0, func(c []Candidate) []Candidate { slices.Reverse(c); return c }, false, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			id, moved := all[test.which].ID, 0
			for i, after := range homes(test.change(slices.Clone(all)), len(before)) {
				if after == before[i] {
					continue
				}
				moved++
				if !(test.leave && before[i] == id) && !(test.come && after == id) {
					t.Fatalf("key %d went from %s to %s", i, before[i], after)
				}
			}
			if (moved > 0) != (test.leave || test.come) {
				t.Errorf("%d keys moved", moved)
			}
		})
	}
}

func TestTheKeysOfAFailedOneGoToAllOthers(t *testing.T) {
	candidates := many(5, func(int) int { return 1 })
	before := homes(candidates, 10000)
	failed := candidates[2].ID
	candidates[2].Capacity = -1
	heirs := map[string]int{}
	for i, after := range homes(candidates, len(before)) {
		if before[i] == failed {
			heirs[after]++
		}
	}
	for _, c := range candidates {
		if n := heirs[c.ID]; c.ID != failed && (n < 400 || n > 600) {
			t.Errorf("%s took over %d of about 2000 keys, want about 500", c.ID, n)
		}
	}
}

// However few the keys are, nobody has more than LoadFactor times its share,
// rounded up.
func TestHashBoundsTheLoad(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for _, keys := range []int{1, 3, 1000000} {
		candidates := many(8, func(i int) int { return 1 + i%4 })
		p, active := NewPicker(Hash), 0
		for range 4000 {
			if active > 0 && random.IntN(3) == 0 { // somebody leaves
				i := random.IntN(len(candidates))
				if candidates[i].Active > 0 {
					candidates[i].Active--
					active--
				}
				continue
			}
			i := p.Pick(candidates, clientKey(random.IntN(keys)))
			candidates[i].Active++
			active++
			bound := math.Ceil(LoadFactor * float64(active) * float64(candidates[i].Weight) / 20)
			if float64(candidates[i].Active) > bound {
				t.Fatalf("%d keys: %v was picked with %d active, the bound is %v", keys, candidates[i], active, bound)
			}
		}
	}
}

func TestAKeyComesHomeWhenItsPlaceHasRoomAgain(t *testing.T) {
	candidates := many(4, func(int) int { return 1 })
	for i := range candidates {
		candidates[i].Active = 10
	}
	p := NewPicker(Hash)
	home := p.Pick(candidates, clientKey(1))
	candidates[home].Active = 20
	away := p.Pick(candidates, clientKey(1))
	if away == home || p.Pick(candidates, clientKey(1)) != away {
		t.Error("a key did not go to one other place while its own was overloaded")
	}
	candidates[home].Active = 12
	if p.Pick(candidates, clientKey(1)) != home {
		t.Error("a key did not come back to a place that is a fifth above the mean")
	}
}
