package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store/redis/redistest"
	"github.com/streamspace-dev/streamspace-edge/store/storetest/pgserver"
)

// fleet is a cluster as an operator runs it: a PostgreSQL with a standby, a
// Redis, three edges with a certificate of their own each, and three agents.
// Every agent has desktops of real VNC servers, and consoles whose every byte
// can be checked.
type fleet struct {
	t                *testing.T
	plan             fleetPlan
	folder           string
	primary, standby *pgserver.Server
	redis            *redistest.Server // of redisAlone
	edges            []*installation
	doors            []*installation // the edges as viewers reach them
	agents           []*process
	consoles         []*randomServer
	links            links // of plan.linked
	clocks           clocks

	mu   sync.Mutex
	pids map[string]int // of edges and agents by name
}

// fleetPlan is how large a fleet is.
type fleetPlan struct {
	consoles, desktops int           // of each agent
	viewers            int           // of all consoles together
	picture            int64         // what a console sends a viewer before it echoes, in bytes
	pace               time.Duration // between two lines of a viewer
	check              time.Duration // between two looks of an edge at another
	blind              bool          // no look ever finds that an edge does not answer
	// linked: databases, edges and agents reach each other by links that can be
	// brought into trouble, and PostgreSQL by PgBouncers.
	linked bool
	clocks bool   // databases, edges and agents have a wall clock each that can be set
	redis  string // one of the words below
	more   string // of each edge's config
}

const (
	redisAlone     = "alone"
	redisSentinels = "sentinels"
	redisCluster   = "cluster"
)

const fleetSize = 3 // edges, and agents

// consoleBytes are a small fleet's pictures.
const consoleBytes = 256 << 10

// smallFleet is large enough for what happens to a stream.
func smallFleet() fleetPlan {
	return fleetPlan{consoles: 2, desktops: 1, viewers: 18, picture: consoleBytes, pace: 50 * time.Millisecond, check: 500 * time.Millisecond, redis: redisAlone}
}

func startFleet(t *testing.T) *fleet {
	t.Helper()
	return startFleetOf(t, smallFleet())
}

func startFleetOf(t *testing.T, plan fleetPlan) *fleet {
	t.Helper()
	f := &fleet{t: t, plan: plan, folder: t.TempDir(), agents: make([]*process, fleetSize), pids: map[string]int{}}
	if plan.clocks {
		f.clocks = newClocks(t)
	}
	store, redis := f.startDatabases()
	unhealthy := 2
	if plan.blind {
		unhealthy = 1_000_000
	}
	for range fleetSize * plan.consoles {
		f.consoles = append(f.consoles, startRandomServer(t, plan.picture))
	}
	for i := range fleetSize {
		address, admin := freePort(t), freePort(t)
		f.links.add(t, &f.links.homes, plan.linked, address, f.caller)
		f.links.add(t, &f.links.doors, plan.linked, address, nil)
		writeText(t, f.edgeFile(i), fmt.Sprintf(`
listen: {https: %q, http: "", admin: %q}
tls: {self_signed: true}
node: {id: edge-%d, data_dir: %q}
store: {postgres: {%s}}
redis: {%s}
cluster: {url: "https://%s", check: {interval: %s, unhealthy: %d}}
drain: {timeout: 12s}
%s
`, address, admin, i+1, f.edgeFolder(i), store, redis, f.links.homes[i].addr, plan.check, unhealthy, plan.more))
		f.edges = append(f.edges, &installation{t: t, URL: "https://" + address, AdminURL: "http://" + admin, data: f.edgeFolder(i)})
		f.startEdge(i) // the first makes the keys of all
		f.doors = append(f.doors, &installation{t: t, URL: "https://" + f.links.doors[i].addr, APIKey: f.edges[i].APIKey})
	}
	f.writeRoots()
	f.joined() // before an agent comes: it would move when it hears of a better home
	for i := range fleetSize {
		t.Cleanup(func() { endLeftovers(t, f.agentFolder(i)) }) // runs when its agent has ended
		f.startAgent(i)
	}
	f.settled()
	return f
}

func (f *fleet) edgeFolder(i int) string {
	return filepath.Join(f.folder, fmt.Sprintf("edge-%d", i+1))
}
func (f *fleet) edgeFile(i int) string { return f.edgeFolder(i) + ".yml" }
func (f *fleet) agentFolder(i int) string {
	return filepath.Join(f.folder, fmt.Sprintf("desk-%d", i+1))
}

func (f *fleet) startEdge(i int) {
	f.t.Helper()
	in := f.edges[i]
	in.process = f.clocks.start(f.t, edgeName(i), "edge", "--config", f.edgeFile(i))
	f.started(edgeName(i), in.process)
	in.serves(f.edgeFolder(0)) // the first one wrote the key that is all edges'
}

// writeRoots has the agents know all edges by their certificates: a join
// token's pin is that of one.
func (f *fleet) writeRoots() {
	f.t.Helper()
	var roots []byte
	for i := range f.edges {
		certificate, err := os.ReadFile(filepath.Join(f.edgeFolder(i), "self-signed.crt"))
		if err != nil {
			f.t.Fatal(err)
		}
		roots = append(roots, certificate...)
	}
	writeText(f.t, filepath.Join(f.folder, "roots.pem"), string(roots))
	token, err := os.ReadFile(filepath.Join(f.edgeFolder(0), "join.token"))
	if err != nil {
		f.t.Fatal(err)
	}
	secret, _, _ := strings.Cut(string(token), "@")
	writeText(f.t, filepath.Join(f.folder, "join.token"), secret+"\n")
}

// startAgent starts it, also again after a kill. Each has another edge first
// in its list.
func (f *fleet) startAgent(i int) {
	f.t.Helper()
	var seeds, endpoints []string
	for j := range f.edges {
		seeds = append(seeds, fmt.Sprintf("%q", "https://"+f.links.homes[(i+j)%len(f.edges)].addr))
	}
	for j := range f.plan.consoles {
		endpoints = append(endpoints, fmt.Sprintf("{name: c%d, address: %q}", j, f.consoles[i*f.plan.consoles+j].Addr()))
	}
	file := writeText(f.t, f.agentFolder(i)+".yml", fmt.Sprintf(`
edge: [%s]
name: desk-%d
token_file: %q
tls: {ca_file: %q}
data: %q
capacity: %d
runtimes:
  - {name: consoles, type: static, endpoints: [%s]}
  - {name: demo, type: demo}
%s
`, strings.Join(seeds, ", "), i+1, filepath.Join(f.folder, "join.token"), filepath.Join(f.folder, "roots.pem"),
		filepath.Join(f.agentFolder(i), "agent"), 2*(f.plan.consoles+f.plan.desktops)+10, strings.Join(endpoints, ", "), processRuntime))
	f.agents[i] = f.clocks.start(f.t, agentName(i), "agent", "--config", file)
	f.started(agentName(i), f.agents[i])
}

// working are the edges that are not ended.
func (f *fleet) working() (edges []*installation) {
	for _, in := range f.edges {
		if !in.process.ended() {
			edges = append(edges, in)
		}
	}
	return edges
}

// node and host are edges and agents as the API tells them.
type node struct {
	ID, Status string
	Streams    int
}

type host struct {
	ID, Name, Status string
	Homes            []string
}

func (in *installation) nodes() ([]node, error) {
	var told struct{ Nodes []node }
	return told.Nodes, in.get("/api/v1/nodes", &told)
}

func (in *installation) hosts() ([]host, error) {
	var told struct{ Agents []host }
	err := in.get("/api/v1/agents", &told)
	return told.Agents, err
}

// get is a GET that may fail.
func (in *installation) get(path string, into any) error {
	status, answer, err := in.try("GET", path, nil, nil)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("%s: status %d: %s", path, status, answer)
	}
	return json.Unmarshal(answer, into)
}

// joined waits until every edge that runs sees all of these as online, and no
// others.
func (f *fleet) joined() {
	f.t.Helper()
	want := f.working()
	for _, in := range want {
		eventually(f.t, in.URL+" sees the edges as they are", func() error {
			nodes, err := in.nodes()
			if err != nil {
				return err
			}
			online := slices.DeleteFunc(slices.Clone(nodes), func(n node) bool { return n.Status != "online" })
			if len(nodes) != len(want) || len(online) != len(want) {
				return fmt.Errorf("it knows the nodes %v", nodes)
			}
			return nil
		})
	}
}

// settled waits until the edges have joined and see every agent that runs at two
// of them. It may be at a third for as long as a stream there lasts.
func (f *fleet) settled() {
	f.t.Helper()
	f.joined()
	edges := f.working()
	agents := 0
	for _, a := range f.agents {
		if a != nil && !a.ended() {
			agents++
		}
	}
	for _, in := range edges {
		eventually(f.t, in.URL+" sees the agents as they are", func() error {
			hosts, err := in.hosts()
			if err != nil {
				return err
			}
			there := 0
			for _, h := range hosts {
				if h.Status == "online" && len(h.Homes) >= min(2, len(edges)) {
					there++
				}
			}
			if there != agents {
				return fmt.Errorf("it knows the agents %v", hosts)
			}
			return nil
		})
	}
}

// homeOf is the index of an edge that has, or has not, a tunnel of the agent.
func (f *fleet) homeOf(agentID string, yes bool) int {
	f.t.Helper()
	hosts, err := f.working()[0].hosts()
	if err != nil {
		f.t.Fatal(err)
	}
	for _, h := range hosts {
		if h.ID != agentID {
			continue
		}
		for i, in := range f.edges {
			if !in.process.ended() && slices.Contains(h.Homes, fmt.Sprintf("edge-%d", i+1)) == yes {
				return i
			}
		}
	}
	f.t.Fatalf("no edge has (%v) a tunnel of the agent %s: %v", yes, agentID, hosts)
	return 0
}

// twoHomes waits until an agent has two, and returns the indices of these edges.
func (f *fleet) twoHomes(agentID string) (homes []int) {
	f.t.Helper()
	eventually(f.t, "the agent has two homes", func() error {
		homes = nil
		hosts, err := f.edges[0].hosts()
		if err != nil {
			return err
		}
		agent := hosts[slices.IndexFunc(hosts, func(h host) bool { return h.ID == agentID })]
		for i := range f.edges {
			if slices.Contains(agent.Homes, edgeName(i)) {
				homes = append(homes, i)
			}
		}
		if len(homes) != 2 {
			return fmt.Errorf("they are %v", agent.Homes)
		}
		return nil
	})
	return homes
}

// desktops are the sessions that a test has been acknowledged.
type desktops struct {
	consoles, real []desktop
}

// populate creates, at one edge after the other, a session for every console
// and a real desktop for every agent, and waits until they run.
func (f *fleet) populate() (d desktops) {
	f.t.Helper()
	make := func(n int, runtime string) (all []desktop) {
		for i := range n {
			all = append(all, f.edges[i%len(f.edges)].create(map[string]any{"runtime": runtime, "width": 320, "height": 200}))
		}
		for i := range all {
			all[i] = f.edges[(i+1)%len(f.edges)].becomes(all[i].ID, "running")
		}
		return all
	}
	return desktops{consoles: make(len(f.consoles), "consoles"), real: make(len(f.agents)*f.plan.desktops, "desktop")}
}

// nothingLost waits until every session runs as every edge tells, and checks
// that it is where it was, once.
func (f *fleet) nothingLost(d desktops) {
	f.t.Helper()
	for _, in := range f.working() {
		for _, was := range slices.Concat(d.consoles, d.real) {
			if now := in.becomes(was.ID, "running"); now.AgentID != was.AgentID {
				f.t.Errorf("%s was on the agent %s and is on %s", was.ID, was.AgentID, now.AgentID)
			}
		}
		var told struct{ Sessions []desktop }
		in.call("GET", "/api/v1/sessions?limit=100", nil, http.StatusOK, &told)
		told.Sessions = slices.DeleteFunc(told.Sessions, func(s desktop) bool { return s.State == "terminated" })
		if len(told.Sessions) != len(d.consoles)+len(d.real) {
			f.t.Errorf("%s lists %d sessions that have not ended, not %d", in.URL, len(told.Sessions), len(d.consoles)+len(d.real))
		}
	}
	for _, was := range d.real {
		eventually(f.t, "session "+was.ID+" has one VNC server", func() error {
			if n := vncServers(f.t, was.ID); n != 1 {
				return fmt.Errorf("it has %d", n)
			}
			return nil
		})
	}
}

func vncServers(t *testing.T, id string) (n int) {
	t.Helper()
	for _, command := range sessionProcesses(t, id) {
		if strings.Contains(strings.Fields(command)[0], "Xtigervnc") {
			n++
		}
	}
	return n
}

// endAll ends every session, at one edge after the other, and waits until
// nothing of them is left.
func (f *fleet) endAll(d desktops) {
	f.t.Helper()
	edges := f.working()
	for i, s := range slices.Concat(d.consoles, d.real) {
		edges[i%len(edges)].call("DELETE", "/api/v1/sessions/"+s.ID, nil, http.StatusAccepted, nil)
	}
	for i, s := range slices.Concat(d.consoles, d.real) {
		edges[(i+1)%len(edges)].becomes(s.ID, "terminated")
	}
	for _, s := range d.real {
		noProcesses(f.t, s.ID)
	}
}

// suspend is SIGSTOP, for as long as between lasts.
func (p *process) suspend(between func()) {
	p.signal(syscall.SIGSTOP)
	defer p.signal(syscall.SIGCONT)
	between()
}

func statusIs(want, edge, status int, err error) error {
	if err == nil && status != want {
		err = fmt.Errorf("edge %d answers %d, not %d", edge+1, status, want)
	}
	return err
}
