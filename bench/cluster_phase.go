package bench

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
)

// Phase is one part of a cluster's run, as measured from its begin to its end.
type Phase struct {
	Name    string             `json:"name"`
	Text    string             `json:"text"` // what happened
	Seconds float64            `json:"seconds"`
	CPU     map[string]float64 `json:"cpu_s"`     // by process: "edge-1", "postgres", "redis"
	Load    float64            `json:"load_s"`    // CPU of the bench itself: agents, desktops and viewers
	Others  float64            `json:"other_s"`   // CPU of everything else on the machine
	Memory  map[string]int64   `json:"pss_bytes"` // by process, at the end
	State   Counters           `json:"counters"`  // of the databases: by how much they grew, and what is at the end
	Values  map[string]float64 `json:"values,omitempty"`
	Delays  map[string]*delays `json:"delays_ns,omitempty"` // as HdrHistogram writes them, compressed
	Notes   []string           `json:"notes,omitempty"`
}

// Counters are what the databases tell of themselves.
type Counters struct {
	RedisCommands  int64 `json:"redis_commands"`
	RedisPublished int64 `json:"redis_published"` // events, by all edges
	RedisIn        int64 `json:"redis_in_bytes"`
	RedisOut       int64 `json:"redis_out_bytes"`
	Queries        int64 `json:"postgres_queries"` // calls and transactions of the edges, as they count them
	WAL            int64 `json:"postgres_wal_bytes"`

	queriesOf map[string]int64 // by edge, since its start

	// At the moment, not by how much they grew.
	RedisMemory   int64 `json:"redis_memory_bytes"` // as Redis counts what it keeps
	RedisClients  int64 `json:"redis_connections"`
	Connections   int64 `json:"postgres_connections"`
	DatabaseBytes int64 `json:"postgres_database_bytes"`
}

// since is how much the counters grew.
func (c Counters) since(before Counters) Counters {
	c.RedisCommands -= before.RedisCommands
	c.RedisPublished -= before.RedisPublished
	c.RedisIn -= before.RedisIn
	c.RedisOut -= before.RedisOut
	c.WAL -= before.WAL
	c.Queries = 0
	for edge, n := range c.queriesOf {
		if was := before.queriesOf[edge]; was <= n {
			n -= was
		} // else it has begun anew since
		c.Queries += n
	}
	return c
}

// gauge asks the databases and the edges what they count. It is the run's: whoever
// opens it closes it.
type gauge struct {
	cluster *cluster
	sql     *pgx.Conn
	memo    *redis.Client
}

func openGauge(ctx context.Context, c *cluster) (*gauge, error) {
	sql, err := pgx.Connect(ctx, c.databases.dsn())
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	return &gauge{cluster: c, sql: sql, memo: redis.NewClient(&redis.Options{Addr: c.databases.redis, Protocol: 2, DisableIdentity: true})}, nil
}

func (g *gauge) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = g.sql.Close(ctx)
	_ = g.memo.Close()
}

// read tells of PostgreSQL's work what the edges count of it: its own counts are
// some seconds late.
func (g *gauge) read(ctx context.Context) (c Counters, err error) {
	if err := g.readRedis(ctx, &c); err != nil {
		return c, fmt.Errorf("redis: %w", err)
	}
	err = g.sql.QueryRow(ctx, `SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint,
		(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()),
		pg_database_size(current_database())`).Scan(&c.WAL, &c.Connections, &c.DatabaseBytes)
	if err != nil {
		return c, fmt.Errorf("postgres: %w", err)
	}
	c.queriesOf = map[string]int64{}
	for _, e := range g.cluster.edges {
		metrics, err := g.cluster.metrics(ctx, e)
		if err != nil {
			return c, err
		}
		c.queriesOf[e.name] = int64(sum(metrics, "streamspace_store_query_seconds_count"))
	}
	return c, nil
}

func (g *gauge) readRedis(ctx context.Context, c *Counters) error {
	info, err := g.memo.Info(ctx, "everything").Result()
	if err != nil {
		return err
	}
	told := map[string]string{}
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		told[name] = value
	}
	number := func(name string) int64 {
		n, _ := strconv.ParseInt(told[name], 10, 64)
		return n
	}
	calls := func(command string) int64 { // "calls=7,usec=..."
		text, _, _ := strings.Cut(strings.TrimPrefix(told["cmdstat_"+command], "calls="), ",")
		n, _ := strconv.ParseInt(text, 10, 64)
		return n
	}
	c.RedisCommands, c.RedisPublished = number("total_commands_processed"), calls("publish")+calls("spublish")
	c.RedisIn, c.RedisOut = number("total_net_input_bytes"), number("total_net_output_bytes")
	c.RedisMemory, c.RedisClients = number("used_memory"), number("connected_clients")
	return nil
}

// stopwatch measures a phase.
type stopwatch struct {
	gauge   *gauge
	phase   *Phase
	began   time.Time
	before  map[*process]time.Duration
	all     []*process // that ran during the phase; those that start meanwhile are added
	self    time.Duration
	machine time.Duration
	state   Counters
}

func (g *gauge) measure(ctx context.Context, p *Phase) (*stopwatch, error) {
	state, err := g.read(ctx)
	if err != nil {
		return nil, err
	}
	w := &stopwatch{gauge: g, phase: p, all: g.cluster.processes(), state: state, began: time.Now(), self: ownTime(), machine: machineBusy()}
	w.before, err = used(w.all)
	return w, err
}

// joins adds a process that was started meanwhile.
func (w *stopwatch) joins(p *process) { w.all = append(w.all, p) }

func (w *stopwatch) stop(ctx context.Context) error {
	p := w.phase
	p.Seconds = time.Since(w.began).Seconds()
	machine := (machineBusy() - w.machine).Seconds()
	after, err := used(w.all)
	if err != nil {
		return err
	}
	p.CPU, p.Memory = map[string]float64{}, map[string]int64{}
	total := 0.0
	for _, one := range w.all {
		cpu := (after[one] - w.before[one]).Seconds()
		p.CPU[one.name] += cpu
		total += cpu
	}
	p.Load = (ownTime() - w.self).Seconds()
	p.Others = max(0, machine-p.Load-total)
	for _, one := range w.gauge.cluster.processes() {
		if p.Memory[one.name], err = memory([]int{one.pid()}); err != nil {
			return err
		}
	}
	state, err := w.gauge.read(ctx)
	p.State = state.since(w.state)
	return err
}

// edgeCPU is that of all edges in the phase.
func (p *Phase) edgeCPU() (seconds float64) {
	for name, s := range p.CPU {
		if strings.HasPrefix(name, "edge-") {
			seconds += s
		}
	}
	return seconds
}

// edgeMemory is the PSS of all edges at the phase's end, in bytes.
func (p *Phase) edgeMemory() (sum float64) {
	for name, n := range p.Memory {
		if strings.HasPrefix(name, "edge-") {
			sum += float64(n)
		}
	}
	return sum
}

// metrics are an edge's, by name with labels as Prometheus writes them.
func (c *cluster) metrics(ctx context.Context, e *clusterEdge) (map[string]float64, error) {
	request, err := http.NewRequestWithContext(ctx, "GET", "http://"+e.admin+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	answer, err := c.web.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: /metrics: %s", e.name, answer.Status)
	}
	return readMetrics(answer.Body)
}

func readMetrics(r io.Reader) (map[string]float64, error) {
	all := map[string]float64{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		end := strings.LastIndexByte(line, ' ') // labels may have spaces, values have none
		if end < 0 || line[0] == '#' {
			continue
		}
		if v, err := strconv.ParseFloat(line[end+1:], 64); err == nil {
			all[line[:end]] = v
		}
	}
	return all, lines.Err()
}

// sum adds up the metrics of that name, whatever their labels.
func sum(metrics map[string]float64, name string) (total float64) {
	for key, v := range metrics {
		if key == name || strings.HasPrefix(key, name+"{") {
			total += v
		}
	}
	return total
}
