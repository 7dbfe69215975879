package bench

import (
	"math"
	"slices"
)

// Summary is several rounds of one value.
type Summary struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	Rounds int     `json:"rounds"`
}

// summarize returns the zero Summary of no values.
func summarize(values []float64) Summary {
	if len(values) == 0 {
		return Summary{}
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	median := sorted[middle]
	if len(sorted)%2 == 0 {
		median = (sorted[middle-1] + sorted[middle]) / 2
	}
	return Summary{Median: median, Min: sorted[0], Max: sorted[len(sorted)-1], Rounds: len(sorted)}
}

// valuesOf is one metric of one system by round; rounds that lack it are left
// out.
func valuesOf(all []Measurement, work, system, key string) map[int]float64 {
	values := map[int]float64{}
	for _, m := range all {
		if v, ok := m.Values[key]; ok && m.Work == work && m.System == system && m.Error == "" {
			values[m.Round] = v
		}
	}
	return values
}

func summaryOf(all []Measurement, work, system, key string) Summary {
	var values []float64
	for _, v := range valuesOf(all, work, system, key) {
		values = append(values, v)
	}
	return summarize(values)
}

// ratioOf compares one key of one system with one of another, or of the same,
// round by round, since what disturbs the machine for a while disturbs both, and
// summarizes the ratios. A value of 0 or below is none: a CPU too short for the
// clock's ticks, or memory that something else gave back meanwhile.
func ratioOf(all []Measurement, work, ours, key, peer, peerKey string) Summary {
	theirs := valuesOf(all, work, peer, peerKey)
	var ratios []float64
	for round, v := range valuesOf(all, work, ours, key) {
		if t := theirs[round]; v > 0 && t > 0 && !math.IsInf(v/t, 0) {
			ratios = append(ratios, v/t)
		}
	}
	return summarize(ratios)
}
