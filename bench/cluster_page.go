package bench

import (
	_ "embed"
	"fmt"
	"html"
	"html/template"
	"strings"
)

//go:embed cluster.html
var clusterText string

// html is the report for a browser: one file that needs no other.
func (r *ClusterReport) html() ([]byte, error) {
	type cost struct{ Name, Value string }
	var costs []cost
	for _, c := range r.Costs {
		costs = append(costs, cost{c.Name, number(c.Value) + " " + c.Unit})
	}
	type verdict struct{ Goal, Measured, Limit, Word, Class string }
	var verdicts []verdict
	for _, v := range r.Verdicts {
		verdicts = append(verdicts, verdict{v.Goal, v.measured(), "≤ " + strings.TrimSpace(number(v.Limit)+" "+v.Unit), v.word(), strings.ReplaceAll(v.word(), " ", "-")})
	}
	type phase struct {
		Name, Text, Brief string
		Notes             []string
	}
	var phases []phase
	var rows [][]string
	for _, p := range r.Phases {
		phases = append(phases, phase{p.Name, p.Text, p.brief(), p.Notes})
		rows = append(rows, p.row())
	}
	return render(clusterText, nil, map[string]any{
		"Report": r, "Began": moment(r.Began), "Took": span(r.Took),
		"Databases": strings.Join(r.Databases, ", "), "Verdicts": verdicts, "Costs": costs, "Columns": phaseColumns(), "Rows": rows, "Phases": phases,
		"Gaps": template.HTML(r.gapPlot()), "CPU": template.HTML(r.cpuBars()), // made here, of escaped text
	})
}

// gapPlot draws the gaps after the two ways in which an edge went.
func (r *ClusterReport) gapPlot() string {
	var all []Measurement
	var names []string
	for _, p := range r.Phases {
		if d := p.Delays[delayGap]; d != nil {
			all = append(all, Measurement{Work: delayGap, System: p.Name, Delays: d})
			names = append(names, p.Name)
		}
	}
	return percentiles(all, delayGap, names)
}

// cpuBars draws how many cores each phase took, by whom.
func (r *ClusterReport) cpuBars() string {
	highest := 0.0
	shares := func(p *Phase) []float64 {
		return []float64{p.cores(p.edgeCPU()), p.cores(p.CPU["postgres"]), p.cores(p.CPU["redis"]), p.cores(p.Load)}
	}
	for _, p := range r.Phases {
		total := 0.0
		for _, s := range shares(p) {
			total += s
		}
		highest = max(highest, total)
	}
	if highest == 0 {
		return ""
	}
	scale := (plotWidth - labelWidth - 120) / highest
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="plot" viewBox="0 0 %.0f %.0f" role="img" aria-label="cores by phase">`, plotWidth, barHeight*float64(len(r.Phases)+1)+4)
	for i, p := range r.Phases {
		y := float64(i)*barHeight + 4
		fmt.Fprintf(&b, `<text class="name" x="%.0f" y="%.1f">%s</text>`, labelWidth-10, y+14, html.EscapeString(p.Name))
		x, total := labelWidth, 0.0
		for j, s := range shares(p) {
			fmt.Fprintf(&b, `<rect class="c%d share" x="%.1f" y="%.1f" width="%.1f" height="16"/>`, j, x, y+1, s*scale)
			x, total = x+s*scale, total+s
		}
		fmt.Fprintf(&b, `<text class="value" x="%.1f" y="%.1f">%s cores</text>`, x+8, y+14, number(total))
	}
	x, y := labelWidth, float64(len(r.Phases))*barHeight+4
	for j, name := range []string{"edges", "PostgreSQL", "Redis", "bench"} {
		fmt.Fprintf(&b, `<rect class="c%d share" x="%.0f" y="%.1f" width="12" height="12"/><text class="axis" x="%.0f" y="%.1f">%s</text>`, j, x, y+4, x+18, y+14, name)
		x += 110
	}
	b.WriteString(`</svg>`)
	return b.String()
}
