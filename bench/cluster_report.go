package bench

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// ClusterReport is all of a simulation; it is also cluster.json.
type ClusterReport struct {
	Began     time.Time        `json:"began"`
	Took      float64          `json:"took_s"`
	Version   string           `json:"version"`
	Machine   string           `json:"machine"`
	Cores     int              `json:"cores"`
	OpenFiles uint64           `json:"open_files"`
	Databases []string         `json:"databases"`
	Edges     int              `json:"edges"`
	Agents    int              `json:"agents"`
	Sessions  int              `json:"sessions"` // that were asked for
	Viewers   int              `json:"viewers"`
	Duration  float64          `json:"duration_s"`
	Seed      uint64           `json:"seed"`
	Costs     []Cost           `json:"costs"`
	Verdicts  []ClusterVerdict `json:"verdicts"`
	Phases    []*Phase         `json:"phases"`
	Error     string           `json:"error,omitempty"` // that ended the run; phases behind it are missing
}

// Cost is what one session, or one viewer, takes.
type Cost struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
}

// ClusterVerdict is what became of a goal, which is a bound from above.
type ClusterVerdict struct {
	Goal     string  `json:"goal"`
	Value    float64 `json:"value"`
	Unit     string  `json:"unit"`
	Limit    float64 `json:"limit"`
	Measured bool    `json:"measured"` // else the run has ended before, or nothing happened
	Reached  bool    `json:"reached"`
}

// The keys of a phase's values and delays.
const (
	valueRate         = "per_s"
	valueErrors       = "errors"
	valueSettled      = "settled_s" // until all runs, or is as it was before
	valueLeft         = "left_s"    // from SIGTERM to the edge's end
	valueListed       = "listed_s"  // all sessions by the API, at one edge
	valueLost         = "lost"
	valuePlacedMin    = "sessions_of_an_agent_min"
	valuePlacedMedian = "sessions_of_an_agent_median"
	valuePlacedMax    = "sessions_of_an_agent_max"
	valueViewersOf    = "viewers_of_" // and the edge's name, at the begin
	valueGaps         = "gaps"
	valueStalls       = "stalls"
	valueLongestStall = "longest_stall_s"

	delayAnswer  = "answer"  // of the API
	delayStart   = "start"   // from the request to the agent's ack
	delayPicture = "picture" // from a viewer's coming to its first picture
	delayGap     = "gap"     // from a stream's end to the next picture
)

// What viewers may see of an edge's end, in seconds.
const (
	goalKillGap  = 1.5
	goalLeaveGap = 0.5
)

func (r *ClusterReport) phase(name string) *Phase {
	i := slices.IndexFunc(r.Phases, func(p *Phase) bool { return p.Name == name })
	if i < 0 {
		return nil
	}
	return r.Phases[i]
}

// conclude makes costs and verdicts of the phases.
func (r *ClusterReport) conclude(lost, surplus int) {
	r.costOfSessions()
	r.costOfViewers()
	created := r.phase(phaseCreate)
	r.Verdicts = []ClusterVerdict{
		{Goal: "sessions that were acknowledged and lost", Value: float64(lost), Measured: created != nil, Reached: created != nil && lost == 0},
		{Goal: "sessions that nobody was told of", Value: float64(surplus), Measured: created != nil, Reached: created != nil && surplus == 0},
	}
	for _, g := range []struct {
		goal, phase string
		limit       float64
	}{
		{"viewers' gap after SIGTERM to an edge, p99", phaseLeave, goalLeaveGap},
		{"viewers' gap after kill -9 of an edge, p99", phaseKill, goalKillGap},
	} {
		v := ClusterVerdict{Goal: g.goal, Unit: "s", Limit: g.limit}
		if p := r.phase(g.phase); p != nil && p.Delays[delayGap] != nil {
			v.Measured, v.Value = true, p.Delays[delayGap].seconds(99)
			v.Reached = v.Value <= v.Limit
		}
		r.Verdicts = append(r.Verdicts, v)
	}
}

func (d *delays) seconds(percent float64) float64 { return float64(d.ValueAtQuantile(percent)) / 1e9 }

func (r *ClusterReport) cost(name, unit string, value float64) {
	r.Costs = append(r.Costs, Cost{Name: name, Value: value, Unit: unit})
}

func (r *ClusterReport) costOfSessions() {
	before, made := r.phase(phaseAgents), r.phase(phaseCreate)
	if before == nil || made == nil {
		return
	}
	n := float64(made.Delays[delayAnswer].TotalCount())
	for _, c := range []struct {
		name string
		cpu  float64
	}{{"edges'", made.edgeCPU()}, {"PostgreSQL's", made.CPU["postgres"]}, {"Redis'", made.CPU["redis"]}} {
		r.cost("to create a session: "+c.name+" CPU", "ms", 1000*c.cpu/n)
	}
	r.cost("to create a session: queries of PostgreSQL", "", float64(made.State.Queries)/n)
	r.cost("to create a session: WAL", "KiB", float64(made.State.WAL)/1024/n)
	r.cost("to create a session: events by Redis", "", float64(made.State.RedisPublished)/n)
	r.cost("to create a session: bytes from and to Redis", "KiB", float64(made.State.RedisIn+made.State.RedisOut)/1024/n)
	idle := r.phase(phaseIdle)
	if idle == nil {
		return
	}
	r.cost("a session: memory of each edge", "KiB", max(0, idle.edgeMemory()-before.edgeMemory())/1024/n/float64(r.Edges))
	r.cost("a session: PostgreSQL's disk", "KiB", float64(idle.State.DatabaseBytes-before.State.DatabaseBytes)/1024/n)
	for _, c := range []struct {
		name string
		cpu  float64
	}{{"edges' CPU, all together", idle.edgeCPU()}, {"PostgreSQL's CPU", idle.CPU["postgres"]}, {"Redis' CPU", idle.CPU["redis"]}} {
		r.cost("1,000 sessions that nobody looks at: "+c.name, "cores", 1000*c.cpu/idle.Seconds/n)
	}
	r.cost("1,000 sessions that nobody looks at: queries of PostgreSQL", "/s", 1000*float64(idle.State.Queries)/idle.Seconds/n)
}

func (r *ClusterReport) costOfViewers() {
	idle, came, watched := r.phase(phaseIdle), r.phase(phaseViewers), r.phase(phaseWatched)
	if idle == nil || came == nil || watched == nil || came.Delays[delayPicture] == nil {
		return
	}
	n := float64(came.Delays[delayPicture].TotalCount())
	r.cost("a viewer that comes: edges' CPU", "ms", 1000*came.edgeCPU()/n)
	r.cost("a viewer that comes: queries of PostgreSQL", "", float64(came.State.Queries)/n)
	r.cost("a viewer that comes: events by Redis", "", float64(came.State.RedisPublished)/n)
	r.cost("a viewer: memory of all edges", "KiB", (watched.edgeMemory()-idle.edgeMemory())/1024/n)
	more := watched.edgeCPU()/watched.Seconds - idle.edgeCPU()/idle.Seconds
	r.cost("1,000 viewers at one small update a second: edges' CPU, beyond the sessions'", "cores", 1000*more/n)
}

// brief is a phase in one line.
func (p *Phase) brief() string {
	parts := []string{fmt.Sprintf("%s s", number(p.Seconds))}
	for _, key := range slices.Sorted(maps.Keys(p.Values)) {
		parts = append(parts, key+" "+number(p.Values[key]))
	}
	for _, key := range slices.Sorted(maps.Keys(p.Delays)) {
		d := p.Delays[key]
		parts = append(parts, fmt.Sprintf("%s p50/p95/p99/max %s/%s/%s/%s ms", key,
			number(1000*d.seconds(50)), number(1000*d.seconds(95)), number(1000*d.seconds(99)), number(float64(d.Max())/1e6)))
	}
	return strings.Join(parts, ", ")
}

// cores is what CPU seconds of the phase are in cores.
func (p *Phase) cores(cpu float64) float64 { return cpu / p.Seconds }

// write writes the results for a terminal. A failure to write shows nowhere
// else, so it is left alone.
func (r *ClusterReport) write(out io.Writer) {
	fmt.Fprintf(out, "\n%d sessions, %d agents, %d viewers, %d edges; %s\n", r.Sessions, r.Agents, r.Viewers, r.Edges, strings.Join(r.Databases, ", "))
	table := tabwriter.NewWriter(out, 2, 0, 2, ' ', 0)
	fmt.Fprintln(table, "  "+strings.Join(phaseColumns(), "\t"))
	for _, p := range r.Phases {
		fmt.Fprintln(table, "  "+strings.Join(p.row(), "\t"))
	}
	_ = table.Flush()
	for _, p := range r.Phases {
		fmt.Fprintf(out, "\n%s: %s\n  %s\n", p.Name, p.Text, p.brief())
		for _, note := range p.Notes {
			fmt.Fprintf(out, "  %s\n", note)
		}
	}
	fmt.Fprintln(out)
	table = tabwriter.NewWriter(out, 2, 0, 2, ' ', 0)
	for _, c := range r.Costs {
		fmt.Fprintf(table, "  %s\t%s %s\n", c.Name, number(c.Value), c.Unit)
	}
	fmt.Fprintln(table, "\n  goal\tmeasured\twanted\t")
	for _, v := range r.Verdicts {
		fmt.Fprintf(table, "  %s\t%s\t<= %s\t%s\n", v.Goal, v.measured(), strings.TrimSpace(number(v.Limit)+" "+v.Unit), v.word())
	}
	_ = table.Flush()
	if r.Error != "" {
		fmt.Fprintf(out, "\nThe run ended before its end: %s\n", r.Error)
	}
}

func phaseColumns() []string {
	return []string{"phase", "seconds", "edges, cores", "postgres, cores", "redis, cores", "bench, cores", "others, cores",
		"edges, MiB", "postgres, MiB", "redis, MiB", "queries/s", "events/s", "connections"}
}

func (p *Phase) row() []string {
	mib := func(bytes float64) string { return number(bytes / (1 << 20)) }
	return []string{
		p.Name, number(p.Seconds), number(p.cores(p.edgeCPU())), number(p.cores(p.CPU["postgres"])), number(p.cores(p.CPU["redis"])),
		number(p.cores(p.Load)), number(p.cores(p.Others)), mib(p.edgeMemory()), mib(float64(p.Memory["postgres"])), mib(float64(p.Memory["redis"])),
		number(float64(p.State.Queries) / p.Seconds), number(float64(p.State.RedisPublished) / p.Seconds), number(float64(p.State.Connections)),
	}
}

func (v ClusterVerdict) measured() string {
	if !v.Measured {
		return "-"
	}
	return strings.TrimSpace(number(v.Value) + " " + v.Unit)
}

func (v ClusterVerdict) word() string {
	switch {
	case !v.Measured:
		return "not measured"
	case v.Reached:
		return "reached"
	default:
		return "not reached"
	}
}
