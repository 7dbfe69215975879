package balancer

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
)

// turns is the ids of n picks, one after another.
func turns(p *Picker, candidates []Candidate, n int) string {
	var ids strings.Builder
	for range n {
		ids.WriteString(candidates[p.Pick(candidates, 0)].ID)
	}
	return ids.String()
}

func TestRoundRobinSpreadsTheTurnsOfTheHeavy(t *testing.T) {
	tests := map[string]struct {
		candidates []Candidate
		want       string
	}{
		"equal weights":       {[]Candidate{{"a", 0, 0, 4}, {"b", 0, 0, 4}, {"c", 0, 0, 4}}, "abcabc"},
		"in the order of ids": {[]Candidate{{"c", 0, 0, 1}, {"a", 0, 0, 1}, {"b", 0, 0, 0}}, "abcabc"},
		"five, one and one":   {[]Candidate{{"a", 0, 0, 5}, {"b", 0, 0, 1}, {"c", 0, 0, 1}}, "aabacaaaabacaa"},
		"two and one":         {[]Candidate{{"b", 0, 0, 1}, {"a", 0, 0, 2}}, "abaaba"},
		"the heavy is full":   {[]Candidate{{"a", 1, 1, 9}, {"b", 0, 0, 1}, {"c", 0, 0, 1}}, "bcbc"},
		"the heavy is out":    {[]Candidate{{"a", 0, -1, 9}, {"b", 0, 0, 2}, {"c", 0, 0, 1}}, "bcbbcb"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := turns(NewPicker(RoundRobin), test.candidates, len(test.want)); got != test.want {
				t.Errorf("turns %s, want %s", got, test.want)
			}
		})
	}
}

// Whatever the weights, n candidates are never n turns ahead of their shares or
// behind, and have exactly those after as many turns as the weights add up to.
func TestRoundRobinGivesSharesByWeightAtAllTimes(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 50 {
		candidates := many(2+random.IntN(9), func(int) int { return 1 + random.IntN(100) })
		total := 0
		for _, c := range candidates {
			total += c.Weight
		}
		p, picks := NewPicker(RoundRobin), make([]int, len(candidates))
		for n := 1; n <= 2*total; n++ {
			picks[p.Pick(candidates, 0)]++
			for i, c := range candidates {
				share := float64(n*c.Weight) / float64(total)
				if off := float64(picks[i]) - share; off <= -float64(len(candidates)) || off >= float64(len(candidates)) {
					t.Fatalf("after %d turns %d of %v has %d, want about %.1f", n, i, candidates, picks[i], share)
				}
			}
			if n%total == 0 {
				for i, c := range candidates {
					if picks[i] != n/total*c.Weight {
						t.Fatalf("after %d turns %d has %d, want exactly %d", n, i, picks[i], n/total*c.Weight)
					}
				}
			}
		}
	}
}

// Who leaves when just served takes along what it owes, and what is owed to
// the others no longer adds up to nothing. A newcomer must not wait until it has
// caught up with that.
func TestANewcomerGetsItsShareAfterManyHaveLeft(t *testing.T) {
	candidates := []Candidate{{"heavy", 0, 0, 10}, {"light", 0, 0, 1}}
	for i := range 30 {
		candidates = append(candidates, Candidate{fmt.Sprintf("leaver-%02d", i), 0, 0, 1})
	}
	p := NewPicker(RoundRobin)
	for len(candidates) > 2 {
		if i := p.Pick(candidates, 0); i >= 2 {
			candidates = slices.Delete(candidates, i, i+1)
		}
	}
	candidates = append(candidates, Candidate{"new", 0, 0, 1})
	picks := map[string]int{}
	for range 24 {
		picks[candidates[p.Pick(candidates, 0)].ID]++
	}
	for id, want := range map[string]int{"heavy": 20, "light": 2, "new": 2} {
		if off := picks[id] - want; off < -1 || off > 1 {
			t.Errorf("%s had %d of 24 turns, want about %d", id, picks[id], want)
		}
	}
}

func TestWhoStaysHasNoLessThanItsShareHoweverOftenOthersComeAndGo(t *testing.T) {
	p, picks := NewPicker(RoundRobin), map[string]int{}
	for n := range 3000 {
		candidates := []Candidate{{fmt.Sprintf("guest-%d", n), 0, 0, 1}, {"b", 0, 0, 1}, {"a", 0, 0, 2}}
		picks[candidates[p.Pick(candidates, 0)].ID]++
	}
	if a, b := picks["a"], picks["b"]; a < 1500 || b < 750 {
		t.Errorf("a had %d of 3000 turns and b %d, want at least 1500 and 750", a, b)
	}
}

func TestWhoWasOutHasNotSavedUpTurns(t *testing.T) {
	candidates := []Candidate{{"a", 0, 0, 2}, {"b", 0, 0, 1}, {"c", 0, 0, 1}}
	p := NewPicker(RoundRobin)
	candidates[2].Capacity = -1
	turns(p, candidates, 3000)
	candidates[2].Capacity = 0
	if n := strings.Count(turns(p, candidates, 40), "c"); n < 9 || n > 11 {
		t.Errorf("c had %d of 40 turns, want about 10", n)
	}
}

// Whatever comes and goes in between, nobody who stays is picked twice before
// everybody else who stays was picked once.
func TestRoundRobinIsFairWhileTheListChanges(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	stay := []string{"b", "d", "f", "h"}
	p := NewPicker(RoundRobin)
	picks := map[string]int{}
	for range 5000 {
		var candidates []Candidate
		for _, id := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i"} {
			if slices.Contains(stay, id) || random.IntN(2) == 0 {
				candidates = append(candidates, Candidate{ID: id})
			}
		}
		random.Shuffle(len(candidates), func(i, j int) { candidates[i], candidates[j] = candidates[j], candidates[i] })
		picks[candidates[p.Pick(candidates, 0)].ID]++
		low, high := picks[stay[0]], picks[stay[0]]
		for _, id := range stay {
			low, high = min(low, picks[id]), max(high, picks[id])
		}
		if high-low > 1 {
			t.Fatalf("unfair: %v", picks)
		}
	}
}

func TestConcurrentPicksShareTheTurns(t *testing.T) {
	candidates := make([]Candidate, 8)
	for i := range candidates {
		candidates[i].ID = fmt.Sprint(i)
	}
	p := NewPicker(RoundRobin)
	var (
		wait  sync.WaitGroup
		mu    sync.Mutex
		picks = make([]int, len(candidates))
	)
	for range 8 {
		wait.Go(func() {
			for range 100 {
				i := p.Pick(candidates, 0)
				mu.Lock()
				picks[i]++
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	for i, n := range picks {
		if n != 100 {
			t.Errorf("%d was picked %d times, want 100", i, n)
		}
	}
}
