package bench

// leastRounds is how many rounds a median needs to mean something.
const leastRounds = 3

// goal is a ratio of ours to a peer's that is to be reached, or with a base
// to what ours itself was before.
type goal struct {
	text       string
	work, key  string
	ours, peer string // with a base, peer is its name for a person
	limit      float64
	atLeast    bool   // else at most
	base       string // key of ours
}

func relayGoals() []goal {
	return []goal{
		{"bulk, TLS viewer, direct: CPU s/GB", workBulk, keyPerGB, edge, haproxy, 0.70, false, ""},
		{"bulk, plain viewer, direct: CPU s/GB", workBulk, keyPerGB, edgePlain, haproxyPlain, 0.50, false, ""},
		{"1,000 desktops, TLS: CPU", workDesktop, keyPerGB, edge, haproxy, 0.85, false, ""},
		{"1,000 desktops, TLS: CPU", workDesktop, keyPerGB, edge, haproxyWebsockify, 0.25, false, ""},
		{"the same through an agent, TLS on both legs, edge and agent added up", workDesktop, keyPerGB, edgeAgent, haproxyWebsockify, 0.60, false, ""},
		{"idle TLS viewer after the RFB hello: memory", workIdle, keyMemory, edge, haproxy, 0.80, false, ""},
		{"echo, TLS: p50", workEcho, keyP50, edge, haproxy, 1.00, false, ""},
		{"echo, TLS: p99", workEcho, keyP99, edge, haproxy, 1.00, false, ""},
		{"TLS viewers accepted per CPU second", workStorm, keyPerCPU, edge, haproxy, 1.00, true, ""},
		{"8,000 viewers held: open files", workHold, keyEndFiles, edge, "its start", 1.00, false, keyStartFiles},
		{"8,000 viewers held: goroutines", workHold, keyEndRoutines, edge, "its start", 1.00, false, keyStartRoutines},
		{"8,000 viewers held: memory", workHold, keyEndMiB, edge, "its middle", 1.05, false, keyPlateauMiB},
	}
}

// Verdict is what became of a goal.
type Verdict struct {
	Goal    string  `json:"goal"`
	Ours    string  `json:"ours"`
	Peer    string  `json:"peer"` // or "its start", "its middle"
	Metric  string  `json:"metric"`
	Limit   float64 `json:"limit"`
	AtLeast bool    `json:"at_least"` // else at most
	Ratio   Summary `json:"ratio"`    // ours/peer, of the rounds in which both have a value; 0 rounds: not measured in this run
	Reached bool    `json:"reached"`
}

func (c comparison) verdicts(all []Measurement) []Verdict {
	var list []Verdict
	for _, g := range c.goals {
		list = append(list, g.judge(all))
	}
	return list
}

// judge goes by the median of the rounds; where ours is to stay what it was, by
// the worst, since one round that grows is a leak.
func (g goal) judge(all []Measurement) Verdict {
	v := Verdict{Goal: g.text, Ours: g.ours, Peer: g.peer, Metric: g.key, Limit: g.limit, AtLeast: g.atLeast}
	var judged float64
	if g.base == "" {
		v.Ratio = ratioOf(all, g.work, g.ours, g.key, g.peer, g.key)
		judged = v.Ratio.Median
	} else {
		v.Ratio = ratioOf(all, g.work, g.ours, g.key, g.ours, g.base)
		judged = v.Ratio.Max
	}
	switch {
	case v.Ratio.Rounds == 0:
	case g.atLeast:
		v.Reached = judged >= g.limit
	default:
		v.Reached = judged <= g.limit
	}
	return v
}
