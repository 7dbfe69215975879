package bench

import (
	"os/exec"
	"strings"
	"time"
)

// APIUse is what CPU was used while the API was measured, in seconds.
type APIUse struct {
	Seconds float64            `json:"seconds"` // measured
	CPU     map[string]float64 `json:"cpu_s"`   // of the system, by program: all edges together
	Load    float64            `json:"load_s"`  // of the load generator and the simulated agents
	Others  float64            `json:"other_s"` // of everything else on the machine
}

// apiClock measures CPU between its start and its stop.
type apiClock struct {
	cluster *cluster
	began   time.Time
	before  map[string]time.Duration
	load    time.Duration
	machine time.Duration
}

const programEdges = "edges"

func startAPIClock(c *cluster) (*apiClock, error) {
	clock := &apiClock{cluster: c, began: time.Now(), machine: machineBusy(), load: ownTime()}
	var err error
	clock.before, err = clock.used()
	return clock, err
}

func (c *apiClock) used() (map[string]time.Duration, error) {
	var pids []int
	names := map[int]string{}
	for i, p := range c.cluster.processes() {
		pids = append(pids, p.pid())
		names[p.pid()] = p.name
		if i < len(c.cluster.edges) {
			names[p.pid()] = programEdges
		}
	}
	byPid, err := cpuTime(pids)
	if err != nil {
		return nil, err
	}
	used := map[string]time.Duration{}
	for pid, cpu := range byPid {
		used[names[pid]] += cpu
	}
	return used, nil
}

func (c *apiClock) stop() (APIUse, error) {
	use := APIUse{Seconds: time.Since(c.began).Seconds(), CPU: map[string]float64{}, Load: (ownTime() - c.load).Seconds()}
	busy := (machineBusy() - c.machine).Seconds()
	after, err := c.used()
	if err != nil {
		return use, err
	}
	busy -= use.Load
	for name, cpu := range after {
		use.CPU[name] = (cpu - c.before[name]).Seconds()
		busy -= use.CPU[name]
	}
	use.Others = max(0, busy)
	return use, nil
}

// databaseVersions is what the servers say of themselves.
func databaseVersions(pgBouncer bool) (versions []string) {
	programs := []string{findPostgres("postgres"), findProgram("redis-server")}
	if pgBouncer {
		programs = append(programs, findProgram("pgbouncer"))
	}
	for _, program := range programs {
		out, _ := exec.Command(program, "--version").Output() // without it the report lacks a word
		first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		versions = append(versions, first)
	}
	return versions
}
