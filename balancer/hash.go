package balancer

import (
	"math"

	"github.com/cespare/xxhash/v2"
)

// LoadFactor bounds how uneven Hash may make the load: a candidate takes
// work only while it has less than LoadFactor times its share, by weight, of all
// that those with room have, the new work included. Beyond it a key goes to its
// next candidate (Mirrokni, Thorup, Zadimoghaddam: Consistent Hashing with
// Bounded Loads, 2016, whose 1 + epsilon this is). More keeps keys together
// better, less spreads them better; at 1.25 a candidate that is up to a quarter
// above the mean still keeps its keys.
const LoadFactor = 1.25

// KeyOf is the key of what Hash goes by: an address, a header's or a cookie's
// value. It is the same on all edges and in all versions (xxHash64 without a
// seed), and never 0.
func KeyOf(value []byte) uint64 { return max(xxhash.Sum64(value), 1) }

// byKey is Hash by weighted rendezvous: each candidate throws a dice that key and
// id decide, and the best throw among those that may take more wins. So nothing
// is kept between picks, all edges agree, a candidate that leaves or fails moves
// its own keys and no others, evenly to all, and so does a weight that changes
// for the difference.
//
// A throw is exponentially distributed with the weight as its rate; the least of
// them is each candidate's with the probability of its share of the weights.
func byKey(candidates []Candidate, key uint64) int {
	active, weights := 0.0, 0.0
	for i := range candidates {
		if c := &candidates[i]; !c.Full() {
			active += float64(c.Active)
			weights += float64(c.weight())
		}
	}
	// Not all can be at their bound: the bounds add up to more than active.
	perWeight := LoadFactor * (active + 1) / weights
	best, least := -1, 0.0
	for i := range candidates {
		c := &candidates[i]
		weight := float64(c.weight())
		if c.Full() || float64(c.Active) >= perWeight*weight {
			continue
		}
		throw := -math.Log(uniform(key^xxhash.Sum64String(c.ID))) / weight
		if best < 0 || throw < least || (throw == least && c.ID < candidates[best].ID) {
			best, least = i, throw
		}
	}
	return best
}

// uniform spreads hashes over the numbers between 0 and 1, both excluded: the
// last steps of MurmurHash3, after which each bit of the input has changed half of
// the output's bits, and the upper 52 bits of it, with which the half is exact.
func uniform(h uint64) float64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	h ^= h >> 33
	return (float64(h>>12) + 0.5) / (1 << 52)
}
