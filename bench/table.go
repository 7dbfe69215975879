package bench

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"
)

// number writes three figures that count.
func number(v float64) string {
	switch a := math.Abs(v); {
	case a == 0:
		return "0"
	case a >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case a >= 1:
		return strconv.FormatFloat(v, 'f', 2, 64)
	default:
		return strconv.FormatFloat(v, 'f', 3, 64)
	}
}

func (s Summary) String() string {
	if s.Rounds == 0 {
		return "-"
	}
	if s.Rounds == 1 {
		return number(s.Median)
	}
	return fmt.Sprintf("%s (%s-%s)", number(s.Median), number(s.Min), number(s.Max))
}

// writeTable writes the results for a terminal. A failure to write shows
// nowhere else, so it is left alone.
func writeTable(out io.Writer, r *Report) {
	for _, w := range r.works {
		names := r.systemsOf(w.name)
		if len(names) == 0 {
			continue
		}
		fmt.Fprintf(out, "\n%s: %s\n", w.name, w.about)
		table := tabwriter.NewWriter(out, 2, 0, 2, ' ', 0)
		head := []string{"  system"}
		for _, m := range w.metrics {
			head = append(head, m.label+" "+m.unit)
		}
		fmt.Fprintln(table, strings.Join(head, "\t"))
		for _, name := range names {
			row := []string{"  " + name}
			for _, m := range w.metrics {
				row = append(row, summaryOf(r.Measurements, w.name, name, m.key).String())
			}
			fmt.Fprintln(table, strings.Join(row, "\t"))
		}
		_ = table.Flush()
		for _, m := range r.Measurements {
			if m.Work == w.name && m.Error != "" {
				fmt.Fprintf(out, "  %s, round %d FAILED: %s\n", m.System, m.Round, m.Error)
			}
		}
	}
	fmt.Fprintf(out, "\nours/peer, median of %s (lowest-highest)%s\n", rounds(r.Rounds), r.otherwise())
	table := tabwriter.NewWriter(out, 2, 0, 2, ' ', 0)
	fmt.Fprintln(table, "  work\tours\tagainst\tratio\tgoal\t")
	for _, v := range r.Verdicts {
		fmt.Fprintf(table, "  %s\t%s\t%s\t%s\t%s\t%s\n", v.Goal, v.Ours, v.Peer, v.Ratio, v.goal(), v.word())
	}
	_ = table.Flush()
}

func rounds(n int) string {
	if n == 1 {
		return "1 round"
	}
	return fmt.Sprintf("%d rounds", n)
}

// otherwise tells what makes a run another one than the goals mean.
func (r *Report) otherwise() string {
	text := ""
	if r.Viewers > 0 {
		text += fmt.Sprintf(", with %d viewers at every work", r.Viewers)
	}
	if r.Clients > 0 && r.Clients != DefaultClients {
		text += fmt.Sprintf(", with %d clients", r.Clients)
	}
	if r.Rate > 0 && r.Rate != DefaultRate {
		text += fmt.Sprintf(", with %d requests a second in %s", r.Rate, workSteady)
	}
	if r.Awake {
		text += ", with cores that do not sleep"
	}
	return text
}

func (v Verdict) goal() string {
	if v.AtLeast {
		return fmt.Sprintf(">= %.2f", v.Limit)
	}
	return fmt.Sprintf("<= %.2f", v.Limit)
}

// word is the verdict, with the number of its rounds when they are few.
func (v Verdict) word() string {
	if v.Ratio.Rounds == 0 || v.Ratio.Rounds >= leastRounds {
		return v.class()
	}
	return fmt.Sprintf("%s (of %s)", v.class(), rounds(v.Ratio.Rounds))
}

func (v Verdict) class() string {
	switch {
	case v.Ratio.Rounds == 0:
		return "not measured"
	case v.Reached:
		return "reached"
	default:
		return "not reached"
	}
}
