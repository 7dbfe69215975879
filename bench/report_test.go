package bench

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// example is a report with every kind of thing in it.
func example(of comparison) *Report {
	r := &Report{comparison: of, Began: time.Now(), Took: 60, Version: "1.2.3", Machine: "a <fast> one", Cores: 2, Rounds: 2, Duration: 1,
		Peers: map[string]string{"haproxy": "HAProxy version 9"}, Missing: []string{"nginx-light"}, Clients: DefaultClients, Rate: DefaultRate}
	for _, w := range of.works {
		for _, system := range w.systems {
			for round := 1; round <= 2; round++ {
				m := Measurement{Work: w.name, System: system, Round: round, Seconds: 1, Values: map[string]float64{}, Delays: newDelays()}
				for i, metric := range w.metrics {
					m.Values[metric.key] = float64(10*(i+1) + round)
				}
				for i := range 1000 {
					m.Delays.add(time.Duration(i*i) * time.Microsecond)
				}
				if w.name == workHold {
					m.Samples = []Sample{{At: 0, PSS: 1 << 30, Files: 10, Goroutines: 5}, {At: 10, PSS: 1 << 30, Files: 10, Goroutines: 5}}
				}
				r.Measurements = append(r.Measurements, m)
			}
		}
	}
	r.Measurements = append(r.Measurements, Measurement{Work: of.works[0].name, System: nginx, Round: 3, Error: "it <b>broke</b>"})
	r.Verdicts = of.verdicts(r.Measurements)
	return r
}

func TestThePageShowsAllAndNeedsNothingElse(t *testing.T) {
	for _, c := range []struct {
		of    comparison
		words []string
		plots int
	}{
		{relayComparison(), []string{"The relay", "goroutines", "Every byte was compared", "What is held"}, 20},
		{httpComparison(), []string{"The balancer", "5000 requests a second", "wrk"}, 20},
	} {
		t.Run(c.of.name, func(t *testing.T) { pageShowsAll(t, example(c.of), c.words, c.plots) })
	}
}

func pageShowsAll(t *testing.T, r *Report, words []string, least int) {
	text, err := r.html()
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	for _, w := range r.works {
		if !strings.Contains(page, "<h2>"+w.name+"</h2>") {
			t.Errorf("the page lacks %s", w.name)
		}
	}
	for _, s := range r.systems {
		if !strings.Contains(page, "<td>"+strings.ReplaceAll(s.name, "+", "&#43;")) {
			t.Errorf("the page lacks %s", s.name)
		}
	}
	for _, want := range append(words, "a &lt;fast&gt; one", "it &lt;b&gt;broke&lt;/b&gt;", "prefers-color-scheme: dark", "reached", "nginx-light") {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if found := regexp.MustCompile(`(?i)(src|href)\s*=|url\(|@import|<script`).FindString(page); found != "" {
		t.Errorf("the page asks for something else: %q", found)
	}
	plots := regexp.MustCompile(`(?s)<svg.*?</svg>`).FindAllString(page, -1)
	if len(plots) < least {
		t.Errorf("%d plots", len(plots))
	}
	for _, plot := range plots {
		wellFormed(t, plot)
		if strings.Contains(plot, "NaN") || strings.Contains(plot, "Inf") || strings.Contains(plot, "%!") {
			t.Errorf("a plot has no numbers: %s", plot)
		}
	}
}

func wellFormed(t *testing.T, text string) {
	t.Helper()
	for d := xml.NewDecoder(strings.NewReader(text)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Errorf("%v in %s", err, text)
			return
		}
	}
}

func TestTheRawValuesComeBackFromTheFile(t *testing.T) {
	r, dir := example(relayComparison()), filepath.Join(t.TempDir(), "new")
	if _, err := save(dir, r.name, r); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "relay.json"))
	if err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if len(back.Measurements) != len(r.Measurements) || back.Verdicts[0] != r.Verdicts[0] {
		t.Error("something is lost")
	}
	first, again := r.Measurements[0], back.Measurements[0]
	if again.Values[keyPerGB] != first.Values[keyPerGB] || again.Delays.TotalCount() != 1000 || again.Delays.ValueAtQuantile(99) != first.Delays.ValueAtQuantile(99) {
		t.Errorf("%+v came back as %+v", first, again)
	}
}

func TestTheTableTellsEveryGoalAndFault(t *testing.T) {
	r := example(relayComparison())
	var b bytes.Buffer
	writeTable(&b, r)
	for _, v := range r.Verdicts {
		if !strings.Contains(b.String(), v.Goal) || !strings.Contains(b.String(), v.goal()) {
			t.Errorf("the table lacks %s", v.Goal)
		}
	}
	for _, want := range []string{"nginx, round 3 FAILED: it <b>broke</b>", "reached", "not reached", "haproxy+websockify"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the table lacks %q", want)
		}
	}
}

func TestNumbersHaveThreeFigures(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.12345: "0.123", 1.2345: "1.23", 12.345: "12.3", 123.45: "123", 12345: "12345", -33: "-33.0"} {
		if got := number(v); got != want {
			t.Errorf("%g: %s", v, got)
		}
	}
}
