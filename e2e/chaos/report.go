package chaos

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Gap is a time in which a viewer had no picture, from when something was due
// that did not come, or its stream's end, to the first answer after it.
type Gap struct {
	Viewer int
	At     string // the edge at which it began
	Told   string // what ended the stream; empty: it stood still and went on
	From   time.Time
	Took   time.Duration
	// Spared: the fault was nothing that this viewer's stream goes through.
	Spared bool
}

// Figures are what one step of a run came to; durations are in seconds.
type Figures struct {
	Step      string  `json:"step"`
	Hit       int     `json:"viewers_hit"`    // those with a gap who were not spared
	P50       float64 `json:"gap_p50"`        // of the ones hit
	P99       float64 `json:"gap_p99"`        //
	Max       float64 `json:"gap_max"`        //
	Spared    int     `json:"spared_cut"`     // streams that ended though the fault was elsewhere
	Stood     int     `json:"spared_stood"`   // streams elsewhere that stood still for more than a quarter of a second
	StoodMax  float64 `json:"spared_max"`     //
	WritesGap float64 `json:"api_writes_gap"` // between two acknowledged writes, at most
	// Resumed is from the moment that the cluster could take writes again to the
	// first one; 0: the step has no such moment.
	Resumed float64 `json:"api_writes_resumed,omitempty"`
	Goals   []Goal  `json:"goals,omitempty"`
}

// Goal is a figure beside what it should be at most.
type Goal struct {
	What string  `json:"what"`
	Is   float64 `json:"is"`
	Goal float64 `json:"goal"`
	Met  bool    `json:"met"`
}

// Below makes a Goal.
func Below(what string, is, goal float64) Goal { return Goal{what, is, goal, is <= goal} }

// Add sets the figures of the viewers' gaps.
func (f *Figures) Add(gaps []Gap) {
	var hit []float64
	viewers := map[int]bool{}
	for _, g := range gaps {
		switch took := g.Took.Seconds(); {
		case !g.Spared:
			hit = append(hit, took)
			viewers[g.Viewer] = true
		case g.Told != "":
			f.Spared++
			f.StoodMax = max(f.StoodMax, took)
		default:
			f.Stood++
			f.StoodMax = max(f.StoodMax, took)
		}
	}
	f.Hit = len(viewers)
	slices.Sort(hit)
	f.P50, f.P99, f.Max = Percentile(hit, 50), Percentile(hit, 99), Percentile(hit, 100)
}

// Percentile is the smallest of sorted values that p percent of them do not
// exceed (nearest rank); 0 of none.
func Percentile(sorted []float64, p int) float64 {
	if len(sorted) == 0 {
		return 0
	}
	rank := (p*len(sorted) + 99) / 100
	return sorted[max(rank, 1)-1]
}

// Longest is the longest time between two of these moments, the first and the
// last being the bounds.
func Longest(moments []time.Time, from, to time.Time) (longest time.Duration) {
	last := from
	for _, at := range moments {
		if at.After(from) && at.Before(to) {
			longest, last = max(longest, at.Sub(last)), at
		}
	}
	return max(longest, to.Sub(last))
}

// Report is what a run came to.
type Report struct {
	Seed       uint64    `json:"seed"`
	Redis      string    `json:"redis"`
	Edges      int       `json:"edges"`
	Agents     int       `json:"agents"`
	Sessions   int       `json:"sessions"`
	Viewers    int       `json:"viewers"`
	Cores      int       `json:"cores"`
	Load       string    `json:"load"` // of the machine at the end, as /proc/loadavg tells it
	Steps      []Figures `json:"steps"`
	Churned    int       `json:"sessions_created_and_ended"`
	Tickets    int       `json:"tickets_tried_twice"`
	Violations []string  `json:"violations"`
}

// Table is the report for people.
func (r *Report) Table() string {
	var text strings.Builder
	fmt.Fprintf(&text, "seed %d, Redis: %s, %d edges, %d agents, %d sessions, %d viewers, all on %d cores with a load of %s\n",
		r.Seed, r.Redis, r.Edges, r.Agents, r.Sessions, r.Viewers, r.Cores, r.Load)
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "fault\thit\tgap p50\tp99\tmax\telsewhere cut\tstood >0.25 s\tat most\twrites' gap\tresumed\tgoals")
	for _, f := range r.Steps {
		var goals []string
		for _, g := range f.Goals {
			goals = append(goals, g.String())
		}
		fmt.Fprintf(table, "%s\t%d\t%.2f\t%.2f\t%.2f\t%d\t%d\t%.2f\t%.2f\t%.2f\t%s\n",
			f.Step, f.Hit, f.P50, f.P99, f.Max, f.Spared, f.Stood, f.StoodMax, f.WritesGap, f.Resumed, strings.Join(goals, "; "))
	}
	_ = table.Flush() // into memory
	fmt.Fprintf(&text, "sessions created and ended meanwhile: %d; tickets tried at two edges at once: %d\n", r.Churned, r.Tickets)
	fmt.Fprintf(&text, "violations: %d\n", len(r.Violations))
	for _, v := range r.Violations {
		fmt.Fprintln(&text, "  "+v)
	}
	return text.String()
}

func (g Goal) String() string {
	verdict := "met"
	if !g.Met {
		verdict = "MISSED"
	}
	return fmt.Sprintf("%s %.2f of %.2f %s", g.What, g.Is, g.Goal, verdict)
}
