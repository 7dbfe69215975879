// Package balancer picks one of several places to send work to: the agent for
// a session now, upstreams and nodes in the same way.
package balancer

import (
	"fmt"
	"strings"
	"sync"
)

// Strategy is the rule by which a Picker chooses.
type Strategy string

const (
	// RoundRobin takes the candidates with room in turn, in the order of their
	// ids. Weights do not matter.
	RoundRobin Strategy = "round_robin"
	// WeightedLeastConnections takes the candidate with the lowest score:
	// active / (capacity * weight). Equal scores are taken in turn.
	WeightedLeastConnections Strategy = "weighted_least_connections"
)

// Strategies lists every strategy, the default first.
func Strategies() []Strategy { return []Strategy{WeightedLeastConnections, RoundRobin} }

// ParseStrategy is the strategy of that name; the error lists the valid words.
func ParseStrategy(name string) (Strategy, error) {
	var words []string
	for _, s := range Strategies() {
		if name == string(s) {
			return s, nil
		}
		words = append(words, string(s))
	}
	return "", fmt.Errorf("%q is not a strategy; use one of: %s", name, strings.Join(words, ", "))
}

// Candidate is one place that work can go to.
type Candidate struct {
	ID       string // unique in a list
	Active   int    // what it has now
	Capacity int    // what it may have; 0: no limit, and the score is active / weight
	Weight   int    // its share against others of the same capacity; below 1 counts as 1
}

// Full tells whether c can take no more.
func (c *Candidate) Full() bool { return c.Capacity > 0 && c.Active >= c.Capacity }

// score is the share of c that is used. Two equal shares give the same number:
// the product is exact below 2^53 and a division rounds the same way for both.
func (c *Candidate) score() float64 {
	return float64(c.Active) / (float64(max(c.Capacity, 1)) * float64(max(c.Weight, 1)))
}

// Picker chooses among candidates and remembers whose turn it was. Safe for
// concurrent use.
type Picker struct {
	strategy Strategy

	mu   sync.Mutex
	last string // id of the latest pick; turns go on from it however the list changes
}

// NewPicker makes a Picker for a strategy that ParseStrategy returned.
func NewPicker(s Strategy) *Picker { return &Picker{strategy: s} }

// Pick returns the index of the chosen candidate, or -1 when all are full. It
// does not count the pick: the caller raises Active before the next one.
func (p *Picker) Pick(candidates []Candidate) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	best, lowest := -1, 0.0
	for i := range candidates {
		c := &candidates[i]
		if c.Full() {
			continue
		}
		score := 0.0
		if p.strategy == WeightedLeastConnections {
			score = c.score()
		}
		if best < 0 || score < lowest || (score == lowest && p.sooner(c.ID, candidates[best].ID)) {
			best, lowest = i, score
		}
	}
	if best >= 0 {
		p.last = candidates[best].ID
	}
	return best
}

// sooner tells whether a's turn comes before b's: ids take turns in their
// order, beginning after the latest pick.
func (p *Picker) sooner(a, b string) bool {
	if aWaits, bWaits := a > p.last, b > p.last; aWaits != bWaits {
		return aWaits
	}
	return a < b
}
