package chaos

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"
	"time"
)

// Step is one fault, or two that overlap.
type Step struct {
	Faults []Choice
	Hold   time.Duration // how long each lasts
	Shift  time.Duration // how much later the second begins
}

// Choice is a fault by its name, and a number by which it chooses its victims.
type Choice struct {
	Name string
	Pick uint64
}

func (s Step) String() string {
	var names []string
	for _, c := range s.Faults {
		names = append(names, c.Name)
	}
	text := fmt.Sprintf("%s, for %s", strings.Join(names, " and "), s.Hold.Round(time.Millisecond))
	if len(s.Faults) > 1 {
		text += fmt.Sprintf(", %s apart", s.Shift.Round(time.Millisecond))
	}
	return text
}

// Schedule is what happens in a run with that seed: first every fault by itself,
// in the order of names, then pairs of different ones without end. The same
// seed and names give the same steps. A fault lasts from hold to twice that.
func Schedule(seed uint64, names []string, hold time.Duration) iter.Seq[Step] {
	return func(yield func(Step) bool) {
		random := rand.New(rand.NewPCG(seed, 0))
		step := func(names ...string) bool {
			s := Step{Hold: hold + upTo(random, hold), Shift: upTo(random, hold)}
			for _, name := range names {
				s.Faults = append(s.Faults, Choice{name, random.Uint64()})
			}
			return yield(s)
		}
		for _, name := range names {
			if !step(name) {
				return
			}
		}
		for len(names) > 1 {
			first := random.IntN(len(names))
			second := (first + 1 + random.IntN(len(names)-1)) % len(names)
			if !step(names[first], names[second]) {
				return
			}
		}
	}
}

func upTo(random *rand.Rand, below time.Duration) time.Duration {
	return time.Duration(random.Int64N(int64(below)))
}
