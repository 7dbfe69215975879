package bench

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestASessionIsLostUnlessAllAgreeOnIt(t *testing.T) {
	runs := func(agent string) listedSession { return listedSession{State: "running", AgentID: agent} }
	for name, c := range map[string]struct {
		census
		lost, surplus string
	}{
		"all agree": {census: census{
			acknowledged: map[string]string{"s": "a"},
			agents:       map[string][]string{"a": {"s"}, "b": nil},
			lists:        map[string]map[string]listedSession{"edge-1": {"s": runs("a")}, "edge-2": {"s": runs("a")}},
		}},
		"the first census": {census: census{
			acknowledged: map[string]string{"s": ""}, agents: map[string][]string{"a": {"s"}},
			lists: map[string]map[string]listedSession{"edge-1": {"s": runs("a")}},
		}},
		"on two agents": {census: census{
			acknowledged: map[string]string{"s": "a"}, agents: map[string][]string{"a": {"s"}, "b": {"s"}},
			lists: map[string]map[string]listedSession{"edge-1": {"s": runs("a")}},
		}, lost: "two agents, a and b"},
		"an edge does not list it": {census: census{
			acknowledged: map[string]string{"s": "a"}, agents: map[string][]string{"a": {"s"}},
			lists: map[string]map[string]listedSession{"edge-1": {"s": runs("a")}, "edge-2": {}},
		}, lost: "edge-2 does not list it"},
		"unreachable": {census: census{
			acknowledged: map[string]string{"s": "a"}, agents: map[string][]string{"a": {"s"}},
			lists: map[string]map[string]listedSession{"edge-1": {"s": {State: "unreachable", Reason: "away", AgentID: "a"}}},
		}, lost: "edge-1 says it is unreachable: away"},
		"no agent has it": {census: census{
			acknowledged: map[string]string{"s": "a"}, agents: map[string][]string{"a": nil},
			lists: map[string]map[string]listedSession{"edge-1": {"s": runs("a")}},
		}, lost: "which does not have it"},
		"another agent has it": {census: census{
			acknowledged: map[string]string{"s": "a"}, agents: map[string][]string{"b": {"s"}},
			lists: map[string]map[string]listedSession{"edge-1": {"s": runs("a")}},
		}, lost: "on the agent a, and it is on b"},
		"it has moved": {census: census{
			acknowledged: map[string]string{"s": "a"}, agents: map[string][]string{"b": {"s"}},
			lists: map[string]map[string]listedSession{"edge-1": {"s": runs("b")}},
		}, lost: "was on the agent a and is on b"},
		"one too many at an agent": {census: census{agents: map[string][]string{"a": {"s"}}}, surplus: "runs on the agent a"},
		"one too many in a list": {census: census{
			lists: map[string]map[string]listedSession{"edge-1": {"s": runs("a")}},
		}, surplus: "edge-1 lists it"},
	} {
		_, lost, surplus := c.judge()
		for _, v := range []struct {
			what, want string
			got        map[string]string
		}{{"lost", c.lost, lost}, {"surplus", c.surplus, surplus}} {
			if (len(v.got) > 0) != (v.want != "") || !strings.Contains(v.got["s"], v.want) {
				t.Errorf("%s: %s is %v, want %q", name, v.what, v.got, v.want)
			}
		}
	}
}

func TestViewersWaitAsThePageDoes(t *testing.T) {
	var b backoff
	for _, longest := range []time.Duration{250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000} {
		longest *= time.Millisecond
		if got := b.next(); got < longest/2 || got > longest {
			t.Errorf("%s, want %s to %s", got, longest/2, longest)
		}
	}
	o := &onlooker{backoff: b}
	if got := o.pause(settledAfter, errors.New("broken")); got > shortestWait {
		t.Errorf("after a stream that lived it waits %s", got)
	}
	if got := o.pause(time.Second, &closedWith{code: closeServiceRestart}); got >= handOverWait {
		t.Errorf("after a hand-over it waits %s", got)
	}
	if got := o.pause(0, &closedWith{code: closeServiceRestart}); got < handOverWait {
		t.Errorf("after a hand-over by an edge that it has just come to it waits %s", got)
	}
	if got := o.pause(0, errStarting); got != startingWait {
		t.Errorf("while the session starts it waits %s", got)
	}
}

// TestAGapIsFromTheEndToTheNextPicture also tells it from a stall.
func TestAGapIsFromTheEndToTheNextPicture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &audience{cluster: &cluster{edges: []*clusterEdge{{name: "edge-1"}, {name: "edge-2"}}}, picture: newDelays()}
		o := &onlooker{audience: a, at: -1}
		o.pictured(0, time.Now())
		time.Sleep(tickPause)
		o.pictured(0, time.Now())
		if gaps, stalls := a.takeGaps(); len(gaps)+len(stalls) != 0 {
			t.Errorf("%v, %v", gaps, stalls)
		}
		time.Sleep(tickPause + 2*stalled)
		o.pictured(0, time.Now())
		if gaps, stalls := a.takeGaps(); len(gaps) != 0 || !slices.Equal(stalls, []float64{1}) {
			t.Errorf("%v, %v", gaps, stalls)
		}
		o.lost(0, io.EOF)
		time.Sleep(3 * time.Second)
		o.pictured(1, time.Now())
		gaps, stalls := a.takeGaps()
		if len(gaps) != 1 || gaps[0].lasted != 3*time.Second || gaps[0].edge != "edge-1" || len(stalls) != 0 {
			t.Errorf("%+v, %v", gaps, stalls)
		}
		if lines := endings(append(gaps, gaps...)); !slices.Equal(lines, []string{"2 streams ended at edge-1: EOF"}) {
			t.Errorf("%q", lines)
		}
	})
}

func TestTheClustersPageShowsAllAndNeedsNothingElse(t *testing.T) {
	gap := newDelays()
	for i := range 1000 {
		gap.add(time.Duration(i*i) * time.Microsecond)
	}
	r := &ClusterReport{Began: time.Now(), Machine: "a <fast> one", Edges: 3, Sessions: 10, Databases: []string{"Redis 7"}, Error: "it <b>broke</b>"}
	for _, name := range []string{phaseAgents, phaseCreate, phaseIdle, phaseViewers, phaseWatched, phaseLeave, phaseKill} {
		r.Phases = append(r.Phases, &Phase{Name: name, Text: "what is done", Seconds: 2, CPU: map[string]float64{"edge-1": 1, "postgres": 0.5},
			Memory: map[string]int64{"edge-1": 1 << 20}, Notes: []string{"a <i>note</i>"},
			Delays: map[string]*delays{delayAnswer: gap, delayPicture: gap, delayGap: gap}})
	}
	r.conclude(1, 0)
	text, err := r.html()
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	for _, want := range []string{"a &lt;fast&gt; one", "it &lt;b&gt;broke&lt;/b&gt;", "a &lt;i&gt;note&lt;/i&gt;", "prefers-color-scheme: dark", "not reached", "reached", "<h2>sigterm</h2>", "Redis 7", "edges&#39; CPU"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if found := regexp.MustCompile(`(?i)(src|href)\s*=|url\(|@import|<script`).FindString(page); found != "" {
		t.Errorf("the page asks for something else: %q", found)
	}
	plots := regexp.MustCompile(`(?s)<svg.*?</svg>`).FindAllString(page, -1)
	if len(plots) != 2 {
		t.Errorf("%d plots", len(plots))
	}
	for _, plot := range plots {
		if err := xml.Unmarshal([]byte(plot), new(struct{})); err != nil {
			t.Errorf("%v: %s", err, plot)
		}
	}
}

func TestGoalsOfAClusterAreBoundsFromAbove(t *testing.T) {
	gap := newDelays()
	gap.add(600 * time.Millisecond)
	r := &ClusterReport{Phases: []*Phase{
		{Name: phaseCreate, Delays: map[string]*delays{delayAnswer: gap}},
		{Name: phaseKill, Delays: map[string]*delays{delayGap: gap}},
	}}
	r.conclude(0, 2)
	want := []string{"reached", "not reached", "not measured", "reached"}
	for i, v := range r.Verdicts {
		if v.word() != want[i] {
			t.Errorf("%s: %s, want %s", v.Goal, v.word(), want[i])
		}
	}
}

func FuzzReadMetrics(f *testing.F) {
	f.Add("# HELP a b\na 1\nb{c=\"d e\"} 2.5e3\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		all, err := readMetrics(strings.NewReader(text))
		if err != nil {
			return
		}
		var again strings.Builder
		for name, v := range all {
			fmt.Fprintf(&again, "%s %g\n", name, v)
		}
		same, err := readMetrics(strings.NewReader(again.String()))
		if err != nil || !maps.EqualFunc(all, same, func(a, b float64) bool { return a == b || a != a && b != b }) {
			t.Errorf("%v, written again and read: %v, %v", all, same, err)
		}
	})
}

func TestMetricsAreAddedUpOverTheirLabels(t *testing.T) {
	all, err := readMetrics(strings.NewReader("# HELP a b\na 1\nb{c=\"d e\"} 2.5e3\nb{c=\"f\"} 1\nbc 7\n\n"))
	if err != nil || sum(all, "a") != 1 || sum(all, "b") != 2501 || sum(all, `b{c="f"}`) != 1 {
		t.Errorf("%v, %v", all, err)
	}
}

func TestMoreViewersThanDescriptorsAreRefused(t *testing.T) {
	o := ClusterOptions{Agents: 100, Viewers: 1000}
	for files, want := range map[uint64]string{100_000: "", 5_200: "", 5_199: "at most 999 viewers", 1_000: "at most 0 viewers"} {
		err := o.fits(files)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%d files: %v, want %q", files, err, want)
		}
	}
}
