package chaos

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Rule is what must hold whatever happens.
type Rule string

const (
	NothingLost   Rule = "no acknowledged session is lost"
	OneEach       Rule = "one request makes one session"
	OnePlace      Rule = "a session is on one agent at a time"
	OneServer     Rule = "a session has one VNC server at a time"
	TicketsOnce   Rule = "a ticket is used at most once"
	NoOrphans     Rule = "nothing is left of what has ended"
	GaugesAreTrue Rule = "gauges equal what is open"
	NoWrongByte   Rule = "no byte is wrong"
)

// Violation is a rule and how it was broken.
type Violation struct {
	Rule Rule
	How  string
}

func (v Violation) String() string { return string(v.Rule) + ": " + v.How }

// violations collects them.
type violations []Violation

func (all *violations) found(rule Rule, how string, args ...any) {
	*all = append(*all, Violation{rule, fmt.Sprintf(how, args...)})
}

// Check tells every violation in a whole history.
func Check(h *History) []Violation { return append(CheckFinal(h), CheckSeen(h)...) }

// CheckFinal tells what is wrong with how things are in the end.
func CheckFinal(h *History) []Violation {
	var all violations
	for _, id := range sorted(h.Sessions) {
		s, now := h.Sessions[id], h.Final.States[id]
		if !isKept(s, now) {
			all.found(NothingLost, "%s is %q (%s); it was seen running: %v, its end was asked for: %v", id, now.State, now.Reason, s.Ran, s.Ended)
		}
	}
	for _, id := range sorted(h.Sessions) {
		s := h.Sessions[id]
		if there := h.Final.at(id); h.Final.States[id].State == "running" && (len(there) != 1 || there[0].Servers != s.Servers) {
			all.found(NothingLost, "%s runs, as the API tells, and should have %d VNC servers on one agent; the agents have %v", id, s.Servers, there)
		}
	}
	for _, holding := range h.Final.Holdings {
		if now := h.Final.States[holding.Session]; now.State != "running" {
			all.found(NoOrphans, "%s is %q, and the agent %s still has it, with %d VNC servers", holding.Session, now.State, holding.Agent, holding.Servers)
		}
	}
	for _, g := range h.Final.Gauges {
		if g.Told != g.Actual {
			all.found(GaugesAreTrue, "%s of %s is %d; there are %d", g.Name, g.Node, g.Told, g.Actual)
		}
	}
	return all
}

// CheckSeen tells what was wrong at any time so far.
func CheckSeen(h *History) []Violation {
	var all violations
	for _, id := range sorted(h.Sessions) {
		if twin := h.Sessions[id].Twin; twin != "" && twin != id {
			all.found(OneEach, "%s and %s", id, twin)
		}
	}
	for i := 1; i < len(h.Samples); i++ {
		all.inTwoSamples(h.Samples[i-1], h.Samples[i])
	}
	took := map[string][]time.Time{}
	for _, use := range h.Uses {
		if use.Took {
			took[use.Ticket] = append(took[use.Ticket], use.At)
		}
	}
	for _, ticket := range sorted(took) {
		if times := took[ticket]; len(times) > 1 {
			all.found(TicketsOnce, "%s was used at %v", ticket, times)
		}
	}
	for _, line := range h.Wrong {
		all.found(NoWrongByte, "%s", line)
	}
	return all
}

// at is who has a session.
func (f *Final) at(session string) (there []Holding) {
	for _, holding := range f.Holdings {
		if holding.Session == session {
			there = append(there, holding)
		}
	}
	return there
}

// isKept: a session that ran goes on until somebody ends it. One that never ran
// may fail, with a reason.
func isKept(s Session, now State) bool {
	switch now.State {
	case "running":
		return !s.Ended
	case "terminated":
		return s.Ended
	case "failed":
		return !s.Ran && now.Reason != ""
	default:
		return false
	}
}

// inTwoSamples judges what two samples in a row both saw. A single one is no
// moment: the agents are looked at one after the other.
func (all *violations) inTwoSamples(before, after Sample) {
	agents := map[string][]string{}
	for _, b := range before.Holdings {
		i := slices.IndexFunc(after.Holdings, func(a Holding) bool { return a.Session == b.Session && a.Agent == b.Agent })
		if i < 0 {
			continue
		}
		agents[b.Session] = append(agents[b.Session], b.Agent)
		if b.Servers > 1 && after.Holdings[i].Servers > 1 {
			all.found(OneServer, "%s has %d on %s at %s", b.Session, after.Holdings[i].Servers, b.Agent, after.At.Format(time.TimeOnly))
		}
	}
	for _, id := range sorted(agents) {
		if len(agents[id]) > 1 {
			all.found(OnePlace, "%s is on %v at %s", id, agents[id], after.At.Format(time.TimeOnly))
		}
	}
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
