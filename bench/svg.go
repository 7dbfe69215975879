package bench

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// Pictures are inline SVG whose colours come from the page's style, so that
// they follow light and dark. Every number is ours; text from elsewhere is
// escaped.

const (
	plotWidth  = 760.0
	labelWidth = 170.0
	barHeight  = 24.0
)

// bars draws a bar for each system, with its spread as a line and its rounds
// as dots.
func bars(all []Measurement, work string, m metric, names []string) string {
	highest := 0.0
	for _, name := range names {
		highest = max(highest, summaryOf(all, work, name, m.key).Max)
	}
	if highest == 0 {
		return ""
	}
	scale := (plotWidth - labelWidth - 190) / highest
	var b strings.Builder
	height := barHeight*float64(len(names)) + 4
	fmt.Fprintf(&b, `<svg class="plot" viewBox="0 0 %.0f %.0f" role="img" aria-label="%s %s">`, plotWidth, height, html.EscapeString(m.label), html.EscapeString(m.unit))
	for i, name := range names {
		y := float64(i)*barHeight + 4
		s := summaryOf(all, work, name, m.key)
		fmt.Fprintf(&b, `<text class="name" x="%.0f" y="%.1f">%s</text>`, labelWidth-10, y+14, html.EscapeString(name))
		if s.Rounds == 0 {
			fmt.Fprintf(&b, `<text class="value" x="%.0f" y="%.1f">failed</text>`, labelWidth+4, y+14)
			continue
		}
		fmt.Fprintf(&b, `<rect class="%s" x="%.0f" y="%.1f" width="%.1f" height="16" rx="3"/>`, side(name), labelWidth, y+1, s.Median*scale)
		fmt.Fprintf(&b, `<line class="spread" x1="%.1f" x2="%.1f" y1="%.1f" y2="%[3]f"/>`, labelWidth+s.Min*scale, labelWidth+s.Max*scale, y+9)
		for _, v := range valuesOf(all, work, name, m.key) {
			fmt.Fprintf(&b, `<circle class="round" cx="%.1f" cy="%.1f" r="2.2"/>`, labelWidth+v*scale, y+9)
		}
		fmt.Fprintf(&b, `<text class="value" x="%.1f" y="%.1f">%s</text>`, labelWidth+s.Max*scale+8, y+14, s)
	}
	b.WriteString(`</svg>`)
	return b.String()
}

func side(name string) string {
	if slices.Contains([]string{edge, edgePlain, edgeAgent}, name) {
		return "ours"
	}
	return "peer"
}

// percentiles draws how long what share took: across, ever rarer cases; up,
// the time, both by magnitude.
func percentiles(all []Measurement, work string, names []string) string {
	const (
		left, right, top, bottom = 70.0, 150.0, 12.0, 40.0
		height                   = 280.0
		nines                    = 4.0 // to 99.99 %
	)
	merged := map[string]*delays{}
	low, high := math.Inf(1), 0.0
	for _, m := range all {
		if m.Work != work || m.Delays == nil || m.Error != "" {
			continue
		}
		if merged[m.System] == nil {
			merged[m.System] = newDelays()
		}
		merged[m.System].Merge(m.Delays.Histogram)
	}
	for _, h := range merged {
		low = min(low, float64(max(h.ValueAtQuantile(1), 1000)))
		high = max(high, float64(h.ValueAtQuantile(99.99)))
	}
	if len(merged) == 0 {
		return ""
	}
	low, high = math.Floor(math.Log10(low)), math.Ceil(math.Log10(high))
	x := func(rare float64) float64 { return left + rare/nines*(plotWidth-left-right) }
	y := func(ns float64) float64 {
		return top + (high-math.Log10(max(ns, 1000)))/(high-low)*(height-top-bottom)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="plot" viewBox="0 0 %.0f %.0f" role="img" aria-label="delay by percentile">`, plotWidth, height)
	for e := low; e <= high; e++ {
		at := y(math.Pow(10, e))
		fmt.Fprintf(&b, `<line class="grid" x1="%.0f" x2="%.0f" y1="%.1f" y2="%.1f"/><text class="axis" text-anchor="end" x="%.0f" y="%.1f">%s</text>`,
			left, plotWidth-right, at, at, left-8, at+4, timeLabel(math.Pow(10, e)))
	}
	for i, label := range []string{"0 %", "90 %", "99 %", "99.9 %", "99.99 %"} {
		fmt.Fprintf(&b, `<line class="grid" x1="%.1f" x2="%.1f" y1="%.0f" y2="%.0f"/><text class="axis" text-anchor="middle" x="%.1f" y="%.0f">%s</text>`,
			x(float64(i)), x(float64(i)), top, height-bottom, x(float64(i)), height-bottom+18, label)
	}
	shown := 0
	for _, name := range names {
		h := merged[name]
		if h == nil {
			continue
		}
		var points []string
		for step := 0.0; step <= nines; step += 0.05 {
			points = append(points, fmt.Sprintf("%.1f,%.1f", x(step), y(float64(h.ValueAtQuantile(100*(1-math.Pow(10, -step)))))))
		}
		fmt.Fprintf(&b, `<polyline class="line c%d" points="%s"/>`, shown%6, strings.Join(points, " "))
		fmt.Fprintf(&b, `<line class="line c%d" x1="%.0f" x2="%.0f" y1="%.0f" y2="%[4]f"/><text class="axis" x="%.0f" y="%.0f">%s</text>`, shown%6,
			plotWidth-right+12, plotWidth-right+30, top+10+float64(shown)*18, plotWidth-right+36, top+14+float64(shown)*18, html.EscapeString(name))
		shown++
	}
	b.WriteString(`</svg>`)
	return b.String()
}

func timeLabel(ns float64) string {
	switch {
	case ns >= 1e9:
		return fmt.Sprintf("%.0f s", ns/1e9)
	case ns >= 1e6:
		return fmt.Sprintf("%.0f ms", ns/1e6)
	default:
		return fmt.Sprintf("%.0f µs", ns/1e3)
	}
}

// overTime draws one value of a hold's samples.
func overTime(label string, samples []Sample, value func(Sample) float64) string {
	const left, right, top, bottom, height = 70.0, 20.0, 12.0, 34.0, 160.0
	highest := 0.0
	for _, s := range samples {
		highest = max(highest, value(s))
	}
	last := samples[len(samples)-1].At
	if highest == 0 || last == 0 {
		return ""
	}
	var points []string
	for _, s := range samples {
		points = append(points, fmt.Sprintf("%.1f,%.1f", left+s.At/last*(plotWidth-left-right), top+(1-value(s)/highest)*(height-top-bottom)))
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="plot" viewBox="0 0 %.0f %.0f" role="img" aria-label="%s">`, plotWidth, height, html.EscapeString(label))
	for _, share := range []float64{0, 0.5, 1} {
		at := top + (1-share)*(height-top-bottom)
		fmt.Fprintf(&b, `<line class="grid" x1="%.0f" x2="%.0f" y1="%.1f" y2="%.1f"/><text class="axis" text-anchor="end" x="%.0f" y="%.1f">%s</text>`,
			left, plotWidth-right, at, at, left-8, at+4, number(highest*share))
	}
	fmt.Fprintf(&b, `<polyline class="line c0" points="%s"/><text class="axis" x="%.0f" y="%.0f">%s</text><text class="axis" text-anchor="end" x="%.0f" y="%[3]f">%.0[6]f s</text></svg>`,
		strings.Join(points, " "), left, height-10, html.EscapeString(label), plotWidth-right, last)
	return b.String()
}

// goalBars draws each ratio beside its goal.
func goalBars(list []Verdict) string {
	measured := slices.DeleteFunc(slices.Clone(list), func(v Verdict) bool { return v.Ratio.Rounds == 0 })
	if len(measured) == 0 {
		return ""
	}
	const left, row = 330.0, 30.0
	highest := 1.0
	for _, v := range measured {
		highest = max(highest, v.Ratio.Max, v.Limit)
	}
	scale := (plotWidth - left - 150) / highest
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="plot" viewBox="0 0 %.0f %.0f" role="img" aria-label="ratios and goals">`, plotWidth, row*float64(len(measured))+8)
	for i, v := range measured {
		y := float64(i) * row
		class := "missed"
		if v.Reached {
			class = "reached"
		}
		fmt.Fprintf(&b, `<text class="name" x="%.0f" y="%.1f">%s</text><text class="sub" x="%.0f" y="%.1f">%s / %s</text>`, left-10, y+14, html.EscapeString(shorten(v.Goal, 52)), left-10, y+26, v.Ours, v.Peer)
		fmt.Fprintf(&b, `<rect class="%s" x="%.0f" y="%.1f" width="%.1f" height="16" rx="3"/>`, class, left, y+5, v.Ratio.Median*scale)
		fmt.Fprintf(&b, `<line class="spread" x1="%.1f" x2="%.1f" y1="%.1f" y2="%[3]f"/>`, left+v.Ratio.Min*scale, left+v.Ratio.Max*scale, y+13)
		fmt.Fprintf(&b, `<line class="goal" x1="%.1f" x2="%[1]f" y1="%.1f" y2="%.1f"/>`, left+v.Limit*scale, y+1, y+25)
		fmt.Fprintf(&b, `<text class="value" x="%.1f" y="%.1f">%s</text>`, left+max(v.Ratio.Max, v.Limit)*scale+8, y+18, v.Ratio)
	}
	b.WriteString(`</svg>`)
	return b.String()
}

func shorten(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return text[:most-1] + "…"
}
