package bench

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"slices"
	"strings"
	"time"
)

var (
	//go:embed page.html
	pageText string
	//go:embed style.html
	styleText string
	//go:embed how_relay.html
	howRelay string
	//go:embed how_http.html
	howHTTP string
)

// pageWork is what the page tells of one work.
type pageWork struct {
	Name, About string
	Metrics     []string
	Rows        []pageRow
	Plots       []pagePlot
	Faults      []string
}

type pageRow struct {
	System string
	Ours   bool
	Values []string
}

type pagePlot struct {
	Title string
	SVG   template.HTML
}

// html is the report for a browser: one file that needs no other.
func (r *Report) html() ([]byte, error) {
	return render(pageText, map[string]string{"how": r.how}, map[string]any{
		"Report": r, "Name": r.name, "Title": r.title, "Works": r.pageWorks(), "Goals": template.HTML(goalBars(r.Verdicts)), "Verdicts": r.pageVerdicts(),
		"Began": moment(r.Began), "Took": span(r.Took),
		"Peers": r.peers(), "Missing": strings.Join(r.Missing, " "), "Noise": r.noise(), "Rounds": rounds(r.Rounds), "Otherwise": r.otherwise(), "Held": r.held(),
	})
}

// render fills in the text of a page, which may include the style of all pages
// and the other parts by their names.
func render(text string, parts map[string]string, values map[string]any) ([]byte, error) {
	page, err := template.New("page").Funcs(template.FuncMap{"number": number}).Parse(text)
	if err == nil {
		_, err = page.New("style").Parse(styleText)
	}
	for name, part := range parts {
		if err == nil {
			_, err = page.New(name).Parse(part)
		}
	}
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = page.Execute(&b, values)
	return b.Bytes(), err
}

func moment(t time.Time) string { return t.Format("2006-01-02 15:04 MST") }

func span(seconds float64) string { return (time.Duration(seconds) * time.Second).String() }

func (r *Report) peers() string {
	var list []string
	for _, version := range r.Peers {
		list = append(list, version)
	}
	slices.Sort(list)
	return strings.Join(list, "; ")
}

// noise is what share of the machine others took while something was measured.
func (r *Report) noise() string {
	var shares []float64
	for _, m := range r.Measurements {
		if m.Seconds > 0 && m.Error == "" {
			shares = append(shares, 100*m.Others/m.Seconds/float64(r.Cores))
		}
	}
	s := summarize(shares)
	return fmt.Sprintf("%.0f %% (%.0f to %.0f %%)", s.Median, s.Min, s.Max)
}

// held tells how those goals are judged that compare ours with itself.
func (r *Report) held() string {
	if !slices.ContainsFunc(r.goals, func(g goal) bool { return g.base != "" }) {
		return ""
	}
	return " What is held is compared with what it was before, and judged by the highest."
}

type pageVerdict struct{ Goal, Ours, Peer, Ratio, Limit, Word, Class string }

func (r *Report) pageVerdicts() (list []pageVerdict) {
	for _, v := range r.Verdicts {
		class := strings.ReplaceAll(v.class(), " ", "-")
		list = append(list, pageVerdict{v.Goal, v.Ours, v.Peer, v.Ratio.String(), v.goal(), v.word(), class})
	}
	return list
}

func (r *Report) pageWorks() (list []pageWork) {
	for _, w := range r.works {
		names := r.systemsOf(w.name)
		if len(names) == 0 {
			continue
		}
		p := pageWork{Name: w.name, About: w.about}
		for _, m := range w.metrics {
			p.Metrics = append(p.Metrics, m.label+" "+m.unit)
			p.plot(m.label+", "+m.unit+better(m), bars(r.Measurements, w.name, m, names))
		}
		p.plot("delay by percentile, all rounds together", percentiles(r.Measurements, w.name, names))
		for _, name := range names {
			row := pageRow{System: name, Ours: side(name) == "ours"}
			for _, m := range w.metrics {
				row.Values = append(row.Values, summaryOf(r.Measurements, w.name, name, m.key).String())
			}
			p.Rows = append(p.Rows, row)
		}
		for _, m := range r.Measurements {
			if m.Work != w.name {
				continue
			}
			if m.Error != "" {
				p.Faults = append(p.Faults, fmt.Sprintf("%s, round %d: %s", m.System, m.Round, m.Error))
			}
			if len(m.Samples) > 1 {
				of := fmt.Sprintf("%s, round %d", m.System, m.Round)
				p.plot(of, overTime("memory, MiB", m.Samples, func(s Sample) float64 { return float64(s.PSS) / (1 << 20) }))
				p.plot("", overTime("open files", m.Samples, func(s Sample) float64 { return float64(s.Files) }))
				p.plot("", overTime("goroutines", m.Samples, func(s Sample) float64 { return float64(s.Goroutines) }))
			}
		}
		list = append(list, p)
	}
	return list
}

func (p *pageWork) plot(title, svg string) {
	if svg != "" {
		p.Plots = append(p.Plots, pagePlot{title, template.HTML(svg)}) // made here, of escaped text
	}
}

func better(m metric) string {
	if m.more {
		return " (more is better)"
	}
	return " (less is better)"
}
