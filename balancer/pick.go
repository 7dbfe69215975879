// Package balancer picks one of several places to send work to: the agent for
// a session, the upstream for a request.
package balancer

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
)

// Strategy is the rule by which a Picker chooses. Of all of them only
// candidates with room are taken.
type Strategy string

const (
	// RoundRobin takes the candidates in turn, in the order of their ids. Of
	// different weights each gets its share of the turns, spread evenly: 5, 1
	// and 1 make aabacaa, not aaaaabc.
	RoundRobin Strategy = "round_robin"
	// WeightedLeastConnections takes the candidate with the lowest score:
	// active / (capacity * weight). Equal scores are taken in turn.
	WeightedLeastConnections Strategy = "weighted_least_connections"
	// LeastConnections is what pools call WeightedLeastConnections.
	LeastConnections Strategy = "least_connections"
	// P2C takes the one with the lower score of two different candidates drawn
	// at random: edges that don't know of each other's picks don't all run to
	// the same one.
	P2C Strategy = "p2c"
	// Random draws by weight.
	Random Strategy = "random"
	// Hash takes the same candidate for the same key while its load allows
	// it, see LoadFactor. Work without a key goes to the lowest score.
	Hash Strategy = "hash"
)

// Strategies lists every strategy for agents, the default first.
func Strategies() []Strategy { return []Strategy{WeightedLeastConnections, RoundRobin} }

// PoolStrategies lists every strategy for pools of upstreams.
func PoolStrategies() []Strategy {
	return []Strategy{RoundRobin, LeastConnections, P2C, Random, Hash}
}

// ParseStrategy is the strategy for agents of that name; the error lists the
// valid words.
func ParseStrategy(name string) (Strategy, error) {
	return parseStrategy("strategy", name, Strategies())
}

// ParsePoolStrategy is the strategy for pools of that name; the error lists
// the valid words.
func ParsePoolStrategy(name string) (Strategy, error) {
	return parseStrategy("policy", name, PoolStrategies())
}

func parseStrategy(what, name string, valid []Strategy) (Strategy, error) {
	if s := Strategy(name); slices.Contains(valid, s) {
		return s, nil
	}
	words := make([]string, len(valid))
	for i, s := range valid {
		words[i] = string(s)
	}
	return "", fmt.Errorf("%q is not a %s; use one of: %s", name, what, strings.Join(words, ", "))
}

// Candidate is one place that work can go to.
type Candidate struct {
	ID       string // unique in a list
	Active   int    // what it has now
	Capacity int    // what it may have; 0: no limit, and the score is active / weight; below 0: nothing, it is out
	Weight   int    // its share against others of the same capacity; below 1 counts as 1
}

// Full tells whether c can take no more.
func (c *Candidate) Full() bool { return c.Capacity != 0 && c.Active >= c.Capacity }

func (c *Candidate) weight() int { return max(c.Weight, 1) }

// score is the share of c that is used. Two equal shares give the same number:
// the product is exact below 2^53 and a division rounds the same way for both.
func (c *Candidate) score() float64 {
	return float64(c.Active) / (float64(max(c.Capacity, 1)) * float64(c.weight()))
}

// Picker chooses among candidates and remembers whose turn it was. Safe for
// concurrent use.
type Picker struct {
	strategy Strategy

	mu      sync.Mutex
	last    string // id of the latest pick; turns go on from it however the list changes
	credits []credit
	random  *rand.Rand
}

// NewPicker makes a Picker for a strategy that ParseStrategy or
// ParsePoolStrategy returned.
func NewPicker(s Strategy) *Picker {
	return &Picker{strategy: s, random: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))}
}

// Pick returns the index of the chosen candidate, or -1 when all are full. It
// does not count the pick: the caller raises Active before the next one. key
// is of KeyOf and matters to Hash only; 0: there is none.
//
// Who is out for a while, or for one pick, should stay in the list with a
// Capacity below 0. Turns by weight are counted while the list has the same
// ids in the same order; who comes to it anew begins with a middling claim.
func (p *Picker) Pick(candidates []Candidate, key uint64) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	best := -1
	switch {
	case p.strategy == RoundRobin:
		best = p.inTurn(candidates)
	case p.strategy == P2C:
		best = p.ofTwo(candidates)
	case p.strategy == Random:
		best = p.draw(candidates)
	case p.strategy == Hash && key != 0:
		best = byKey(candidates, key)
	default:
		best = p.leastLoaded(candidates)
	}
	if best >= 0 {
		p.last = candidates[best].ID
	}
	return best
}

func (p *Picker) leastLoaded(candidates []Candidate) int {
	best, lowest := -1, 0.0
	for i := range candidates {
		c := &candidates[i]
		if c.Full() {
			continue
		}
		score := c.score()
		if best < 0 || score < lowest || (score == lowest && p.sooner(c.ID, candidates[best].ID)) {
			best, lowest = i, score
		}
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

func (p *Picker) ofTwo(candidates []Candidate) int {
	room := 0
	for i := range candidates {
		if !candidates[i].Full() {
			room++
		}
	}
	if room == 0 {
		return -1
	}
	first, second := p.random.IntN(room), 0
	if room > 1 {
		second = (first + 1 + p.random.IntN(room-1)) % room
	}
	a, b := -1, -1
	for i, nth := 0, 0; i < len(candidates); i++ {
		if candidates[i].Full() {
			continue
		}
		if nth == first {
			a = i
		}
		if nth == second {
			b = i
		}
		nth++
	}
	if candidates[b].score() < candidates[a].score() {
		return b
	}
	return a
}

func (p *Picker) draw(candidates []Candidate) int {
	total := 0
	for i := range candidates {
		if c := &candidates[i]; !c.Full() {
			total += c.weight()
		}
	}
	if total == 0 {
		return -1
	}
	ticket := p.random.IntN(total)
	for i := range candidates {
		c := &candidates[i]
		if c.Full() {
			continue
		}
		if ticket -= c.weight(); ticket < 0 {
			return i
		}
	}
	panic("balancer: a ticket above the sum of the weights")
}
