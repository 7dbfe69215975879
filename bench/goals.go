package bench

// goal is a ratio of ours to a peer's that the relay is to reach.
type goal struct {
	text       string
	work, key  string
	ours, peer string
	limit      float64
	atLeast    bool // else at most
}

func goals() []goal {
	return []goal{
		{"bulk, TLS viewer, direct: CPU s/GB", workBulk, keyPerGB, edge, haproxy, 0.70, false},
		{"bulk, plain viewer, direct: CPU s/GB", workBulk, keyPerGB, edgePlain, haproxyPlain, 0.50, false},
		{"1,000 desktops, TLS: CPU", workDesktop, keyPerGB, edge, haproxy, 0.85, false},
		{"1,000 desktops, TLS: CPU", workDesktop, keyPerGB, edge, haproxyWebsockify, 0.25, false},
		{"the same through an agent, TLS on both legs, edge and agent added up", workDesktop, keyPerGB, edgeAgent, haproxyWebsockify, 0.60, false},
		{"idle TLS viewer after the RFB hello: memory", workIdle, keyMemory, edge, haproxy, 0.80, false},
		{"echo, TLS: p50", workEcho, keyP50, edge, haproxy, 1.00, false},
		{"echo, TLS: p99", workEcho, keyP99, edge, haproxy, 1.00, false},
		{"TLS viewers accepted per CPU second", workStorm, keyPerCPU, edge, haproxy, 1.00, true},
	}
}

// Verdict is what became of a goal.
type Verdict struct {
	Goal    string  `json:"goal"`
	Ours    string  `json:"ours"`
	Peer    string  `json:"peer"`
	Metric  string  `json:"metric"`
	Limit   float64 `json:"limit"`
	AtLeast bool    `json:"at_least"` // else at most
	Ratio   Summary `json:"ratio"`    // ours/peer; 0 rounds: not measured in this run
	Reached bool    `json:"reached"`
}

func verdicts(all []Measurement) []Verdict {
	var list []Verdict
	for _, g := range goals() {
		v := Verdict{Goal: g.text, Ours: g.ours, Peer: g.peer, Metric: g.key, Limit: g.limit, AtLeast: g.atLeast,
			Ratio: ratioOf(all, g.work, g.key, g.ours, g.peer)}
		if v.Ratio.Rounds > 0 {
			v.Reached = v.Ratio.Median <= g.limit
			if g.atLeast {
				v.Reached = v.Ratio.Median >= g.limit
			}
		}
		list = append(list, v)
	}
	return list
}
