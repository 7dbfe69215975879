package bench

import (
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// APIReport is what came of a measurement of the API.
type APIReport struct {
	Began     time.Time    `json:"began"`
	Took      float64      `json:"took_s"`
	Version   string       `json:"version"`
	Machine   string       `json:"machine"`
	Cores     int          `json:"cores"`
	Databases []string     `json:"databases"`
	Edges     int          `json:"edges"`
	Agents    int          `json:"agents"`
	Sessions  int          `json:"sessions"`
	Rate      int          `json:"rate"`
	Duration  float64      `json:"duration_s"`
	PgBouncer bool         `json:"pgbouncer"`
	Seed      uint64       `json:"seed"`
	Kinds     []APIKind    `json:"kinds"`
	Late      APIQuantiles `json:"late_ms"` // from a request's time to its being sent: the load generator's share of every delay
	Use       APIUse       `json:"use"`
	Verdicts  []APIVerdict `json:"verdicts"`
	Error     string       `json:"error,omitempty"` // what was wrong in the end
}

// APIKind is the requests of one kind. All delays count from the time that a
// request had in the plan.
type APIKind struct {
	Kind    string  `json:"kind"`
	Answers int64   `json:"answers"`
	Errors  int     `json:"errors"`
	Fault   string  `json:"fault,omitempty"` // the first error
	Delays  *delays `json:"delays_ns"`
	APIQuantiles
}

// APIQuantiles are in milliseconds.
type APIQuantiles struct {
	P50 float64 `json:"p50_ms"`
	P95 float64 `json:"p95_ms"`
	P99 float64 `json:"p99_ms"`
	Max float64 `json:"max_ms"`
}

func quantilesOf(d *delays) APIQuantiles {
	at := func(q float64) float64 { return float64(d.ValueAtQuantile(q)) / 1e6 }
	return APIQuantiles{at(50), at(95), at(99), float64(d.Max()) / 1e6}
}

// APIVerdict is what became of a goal: the 95th percentile of a kind.
type APIVerdict struct {
	Kind    string  `json:"kind"`
	P95     float64 `json:"p95_ms"`
	Limit   float64 `json:"limit_ms"` // at most
	Reached bool    `json:"reached"`
}

// apiGoals are the milliseconds of the 95th percentile, at the load that
// APIOptions have by themselves.
func apiGoals() []APIVerdict {
	return []APIVerdict{{Kind: kindList, Limit: 20}, {Kind: kindAck, Limit: 50}, {Kind: kindTicket, Limit: 5}}
}

// take takes in what the load has measured; it has ended.
func (r *APIReport) take(l *apiLoad) {
	for _, kind := range apiKinds() {
		k := APIKind{Kind: kind, Answers: l.delays[kind].TotalCount(), Errors: l.errors[kind], Delays: l.delays[kind], APIQuantiles: quantilesOf(l.delays[kind])}
		if err := l.fault[kind]; err != nil {
			k.Fault = err.Error()
		}
		r.Kinds = append(r.Kinds, k)
	}
	r.Late = quantilesOf(l.late)
	for _, v := range apiGoals() {
		k := r.Kinds[slices.IndexFunc(r.Kinds, func(k APIKind) bool { return k.Kind == v.Kind })]
		v.P95 = k.P95
		v.Reached = k.Answers > 0 && k.P95 <= v.Limit && k.Errors == 0
		r.Verdicts = append(r.Verdicts, v)
	}
}

// fault is an error unless every request was answered as it should be and no
// session was lost.
func (r *APIReport) fault() error {
	var all []error
	for _, k := range r.Kinds {
		if k.Errors > 0 {
			all = append(all, fmt.Errorf("%s: %s; the first: %s", k.Kind, count(k.Errors, "error"), k.Fault))
		}
	}
	if r.Error != "" {
		all = append(all, errors.New(r.Error))
	}
	return errors.Join(all...)
}

// requests is how many were answered; an ack is none of its own.
func (r *APIReport) requests() (n int64) {
	for _, k := range r.Kinds {
		if k.Kind != kindAck {
			n += k.Answers
		}
	}
	return n
}

func (r *APIReport) setting() string {
	with := ""
	if r.PgBouncer {
		with = " through PgBouncer"
	}
	return fmt.Sprintf("%d sessions on %s, %s on PostgreSQL%s and Redis, %d requests a second for %.0f s", r.Sessions, count(r.Agents, "agent"),
		count(r.Edges, "edge"), with, r.Rate, r.Duration)
}

// usual tells whether the load is the one that the goals are for.
func (r *APIReport) usual() bool {
	return r.Sessions >= DefaultAPISessions && r.Agents >= DefaultAPIAgents && r.Rate >= DefaultAPIRate
}

func (r *APIReport) goalsFor() string {
	if r.usual() {
		return ""
	}
	return fmt.Sprintf(" (for %d sessions, %d agents and %d requests a second, which this was not)", DefaultAPISessions, DefaultAPIAgents, DefaultAPIRate)
}

func (v APIVerdict) word() string {
	if v.Reached {
		return "reached"
	}
	return "not reached"
}

// cpuRow is a program's CPU in a table.
type cpuRow struct{ Program, Seconds, PerRequest, Cores string }

func (r *APIReport) cpuRows() (rows []cpuRow) {
	add := func(program string, seconds float64) {
		perRequest := "-"
		if n := r.requests(); n > 0 {
			perRequest = number(seconds * 1e6 / float64(n))
		}
		rows = append(rows, cpuRow{program, number(seconds), perRequest, number(seconds / r.Use.Seconds)})
	}
	for _, program := range slices.Sorted(maps.Keys(r.Use.CPU)) {
		add(program, r.Use.CPU[program])
	}
	add("load generator and agents", r.Use.Load)
	add("everything else on the machine", r.Use.Others)
	return rows
}

// writeTable writes the results for a terminal. A failure to write shows
// nowhere else, so it is left alone.
func (r *APIReport) writeTable(out io.Writer) {
	fmt.Fprintf(out, "\n%s\n", r.setting())
	table := tabwriter.NewWriter(out, 2, 0, 2, ' ', 0)
	fmt.Fprintln(table, "  request\tanswers\tp50 ms\tp95 ms\tp99 ms\tmax ms\terrors")
	for _, k := range r.Kinds {
		fmt.Fprintf(table, "  %s\t%d\t%s\t%s\t%s\t%s\t%d\n", k.Kind, k.Answers, number(k.P50), number(k.P95), number(k.P99), number(k.Max), k.Errors)
	}
	fmt.Fprintf(table, "  (sent after its time)\t\t%s\t%s\t%s\t%s\n", number(r.Late.P50), number(r.Late.P95), number(r.Late.P99), number(r.Late.Max))
	_ = table.Flush()
	fmt.Fprintln(out, "\nCPU")
	table = tabwriter.NewWriter(out, 2, 0, 2, ' ', 0)
	fmt.Fprintln(table, "  program\ts\tµs/request\tcores")
	for _, row := range r.cpuRows() {
		fmt.Fprintf(table, "  %s\t%s\t%s\t%s\n", row.Program, row.Seconds, row.PerRequest, row.Cores)
	}
	_ = table.Flush()
	fmt.Fprintf(out, "\ngoals%s\n", r.goalsFor())
	table = tabwriter.NewWriter(out, 2, 0, 2, ' ', 0)
	for _, v := range r.Verdicts {
		fmt.Fprintf(table, "  %s\tp95 %s ms\t<= %s ms\t%s\n", v.Kind, number(v.P95), number(v.Limit), v.word())
	}
	_ = table.Flush()
}

//go:embed api.html
var apiPageText string

// html is the report for a browser: one file that needs no other.
func (r *APIReport) html() ([]byte, error) {
	var measured []Measurement
	var names []string
	for _, k := range r.Kinds {
		if k.Answers > 0 {
			name := plotName(k.Kind)
			measured, names = append(measured, Measurement{System: name, Delays: k.Delays}), append(names, name)
		}
	}
	return render(apiPageText, nil, map[string]any{
		"Report": r, "Setting": r.setting(), "GoalsFor": r.goalsFor(), "CPU": r.cpuRows(), "Databases": strings.Join(r.Databases, "; "), "Mix": mixText(),
		"Began": moment(r.Began), "Took": span(r.Took), "Limit": ackLimit,
		"Plot": template.HTML(percentiles(measured, "", names)), // made here, of escaped text
	})
}

// plotName is a kind where there is little room.
func plotName(kind string) string {
	kind = strings.ReplaceAll(strings.ReplaceAll(kind, "/sessions", ""), "the agent's ", "")
	return strings.Trim(strings.Replace(kind, " ,", ",", 1), " ")
}

func mixText() string {
	mix := apiMix()
	var parts []string
	for _, kind := range apiKinds() {
		if mix[kind] > 0 {
			parts = append(parts, fmt.Sprintf("%d %% %s", mix[kind], kind))
		}
	}
	return strings.Join(parts, ", ")
}
