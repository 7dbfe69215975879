package chaos

import (
	"slices"
	"testing"
	"time"
)

func at(second int) time.Time { return time.Unix(int64(second), 0) }

// calm is a history in which everything went as it should.
func calm() *History {
	return &History{
		Sessions: map[string]Session{
			"runs":   {Ran: true, Servers: 1},
			"ended":  {Ran: true, Ended: true},
			"failed": {},
		},
		Samples: []Sample{
			{At: at(1), Holdings: []Holding{{"runs", "desk-1", 1}, {"ended", "desk-2", 0}}},
			{At: at(2), Holdings: []Holding{{"runs", "desk-1", 1}, {"ended", "desk-2", 0}}},
		},
		Uses: []Use{{"t1", at(1), true}, {"t1", at(1), false}, {"t2", at(3), true}},
		Final: Final{
			States:   map[string]State{"runs": {State: "running"}, "ended": {State: "terminated"}, "failed": {"failed", "no_agent"}},
			Holdings: []Holding{{"runs", "desk-1", 1}},
			Gauges:   []Gauge{{"edge-1", "viewers", 3, 3}},
		},
	}
}

func TestCheckFindsNothingInACalmHistory(t *testing.T) {
	if found := Check(calm()); len(found) > 0 {
		t.Errorf("%v", found)
	}
	h := calm()
	h.Samples = []Sample{ // it moves: no two samples in a row have it at both
		{At: at(1), Holdings: []Holding{{"runs", "desk-1", 1}}},
		{At: at(2), Holdings: []Holding{{"runs", "desk-1", 1}, {"runs", "desk-2", 1}}},
		{At: at(3), Holdings: []Holding{{"runs", "desk-2", 1}}},
	}
	if found := Check(h); len(found) > 0 {
		t.Errorf("a session that moves: %v", found)
	}
}

func TestCheckFindsEachViolation(t *testing.T) {
	state := func(id, state, reason string) func(*History) {
		return func(h *History) { h.Final.States[id] = State{state, reason} }
	}
	for name, c := range map[string]struct {
		spoil func(*History)
		want  []Rule
	}{
		"a session that nobody knows":     {func(h *History) { delete(h.Final.States, "failed") }, []Rule{NothingLost}},
		"one that ran and failed":         {func(h *History) { state("runs", "failed", "lost")(h); h.Final.Holdings = nil }, []Rule{NothingLost}},
		"one that failed for no reason":   {state("failed", "failed", ""), []Rule{NothingLost}},
		"one that hangs":                  {state("failed", "starting", "x"), []Rule{NothingLost}},
		"one that ended by itself":        {state("failed", "terminated", "x"), []Rule{NothingLost}},
		"one that was ended and runs":     {state("ended", "running", ""), []Rule{NothingLost, NothingLost}},
		"one that runs on no agent":       {func(h *History) { h.Final.Holdings = nil }, []Rule{NothingLost}},
		"one without its VNC server":      {func(h *History) { h.Final.Holdings[0].Servers = 0 }, []Rule{NothingLost}},
		"one on two agents in the end":    {left("runs", 1), []Rule{NothingLost}},
		"two sessions for one request":    {func(h *History) { h.Sessions["runs"] = Session{Ran: true, Servers: 1, Twin: "other"} }, []Rule{OneEach}},
		"the same answer twice":           {func(h *History) { h.Sessions["runs"] = Session{Ran: true, Servers: 1, Twin: "runs"} }, nil},
		"two VNC servers, twice":          {func(h *History) { h.Samples[0].Holdings[0].Servers, h.Samples[1].Holdings[0].Servers = 2, 2 }, []Rule{OneServer}},
		"two VNC servers, in passing":     {func(h *History) { h.Samples[0].Holdings[0].Servers = 2 }, nil},
		"two agents":                      {func(h *History) { both(h, 0); both(h, 1) }, []Rule{OnePlace}},
		"a ticket used twice":             {again(2, 4), []Rule{TicketsOnce}},
		"a ticket used twice at once":     {again(1, 1), []Rule{TicketsOnce}},
		"a VNC server of one that ended":  {left("ended", 1), []Rule{NoOrphans}},
		"a folder of one that ended":      {left("ended", 0), []Rule{NoOrphans}},
		"a VNC server of one never known": {left("stranger", 1), []Rule{NoOrphans}},
		"a gauge that says too much":      {func(h *History) { h.Final.Gauges[0].Told = 4 }, []Rule{GaugesAreTrue}},
		"a wrong byte":                    {func(h *History) { h.Wrong = []string{"stream 7"} }, []Rule{NoWrongByte}},
	} {
		t.Run(name, func(t *testing.T) {
			h := calm()
			c.spoil(h)
			var got []Rule
			for _, v := range Check(h) {
				got = append(got, v.Rule)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("it finds %q, not %q", got, c.want)
			}
		})
	}
}

// both has a sample see a session at two agents.
func both(h *History, sample int) {
	h.Samples[sample].Holdings = append(h.Samples[sample].Holdings, Holding{"runs", "desk-2", 1})
}

func again(first, second int) func(*History) {
	return func(h *History) { h.Uses = []Use{{"t", at(first), true}, {"t", at(second), true}} }
}

func left(session string, servers int) func(*History) {
	return func(h *History) {
		h.Final.Holdings = append(h.Final.Holdings, Holding{session, "desk-1", servers})
	}
}
