package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// inCluster starts a fleet with sessions and viewers, has fault happen, and
// checks what must hold after any: every viewer sees its console again, no
// session is lost or at two places, no wrong byte, and nothing is left when all
// are ended.
func inCluster(t *testing.T, fault func(f *fleet, d desktops, a *audience)) {
	t.Helper()
	f := startFleet(t)
	d := f.populate()
	a := f.watch(d)
	fault(f, d, a)
	f.settled()
	f.nothingLost(d)
	a.allSee()
	a.end()
	f.gaugesAreZero()
	f.endAll(d)
}

// gaugesAreZero waits until no edge counts a viewer any more.
func (f *fleet) gaugesAreZero() {
	f.t.Helper()
	for _, in := range f.working() {
		for _, gauge := range []string{"streamspace_vnc_connections_active", "streamspace_hop_streams_active"} {
			eventually(f.t, in.URL+" counts nobody", func() error {
				if n := in.metric(gauge); n != 0 {
					return fmt.Errorf("%s is %g", gauge, n)
				}
				return nil
			})
		}
	}
}

// isDriven checks that sessions can be created and ended everywhere.
func (f *fleet) isDriven() {
	f.t.Helper()
	edges := f.working()
	for i, in := range edges {
		next := edges[(i+1)%len(edges)]
		id := in.create(map[string]any{"runtime": "desktop", "width": 320, "height": 200}).ID
		next.becomes(id, "running")
		next.call("DELETE", "/api/v1/sessions/"+id, nil, http.StatusAccepted, nil)
		in.becomes(id, "terminated")
		noProcesses(f.t, id)
		in.call("DELETE", "/api/v1/sessions/"+id, nil, http.StatusAccepted, nil)
	}
}

// uninterrupted checks that no stream has ended so far.
func (a *audience) uninterrupted() {
	a.t.Helper()
	a.toldOnly(func(*watcher, ending) bool { return false })
}

// toldOnly checks that no stream has ended otherwise than may says.
func (a *audience) toldOnly(may func(*watcher, ending) bool) {
	a.t.Helper()
	for _, w := range a.watchers {
		_, _, endings := w.now()
		for _, e := range endings {
			if !may(w, e) {
				a.t.Errorf("the stream of %s at edge %d ended: %s", w.id, e.at+1, e.told)
			}
		}
	}
}

// some checks that a stream has ended as is says: else the test shows nothing.
func (a *audience) some(is func(*watcher, ending) bool) {
	a.t.Helper()
	for _, w := range a.watchers {
		_, _, endings := w.now()
		if slices.ContainsFunc(endings, func(e ending) bool { return is(w, e) }) {
			return
		}
	}
	a.t.Error("no stream has ended as one should")
}

// carrier is the edge that carries the most streams for viewers of others.
func (f *fleet) carrier() (most int) {
	f.t.Helper()
	streams := make([]float64, len(f.edges))
	for i, in := range f.edges {
		if streams[i] = in.metric("streamspace_hop_streams_active"); streams[i] > streams[most] {
			most = i
		}
	}
	if streams[most] == 0 {
		f.t.Fatal("no edge carries a stream for another")
	}
	return most
}

// carriedBy are the streams that an edge has carried for others so far, by
// session and edge, from its log. What the agents' homes say is not enough: a
// stream stays where it began.
func (f *fleet) carriedBy(edge int) map[string]bool {
	f.t.Helper()
	streams := map[string]bool{}
	for line := range strings.Lines(f.edges[edge].process.output.String()) {
		_, fields, ok := strings.Cut(line, "a stream for another edge is open")
		if !ok {
			continue
		}
		var stream struct{ From, Session string }
		if err := json.Unmarshal([]byte(fields), &stream); err != nil {
			f.t.Fatalf("%v in %q", err, line)
		}
		from, err := strconv.Atoi(strings.TrimPrefix(stream.From, "edge-"))
		if err != nil {
			f.t.Fatalf("%v in %q", err, line)
		}
		streams[fmt.Sprint(stream.Session, from-1)] = true
	}
	return streams
}

func TestClusterWithoutAnEdgeThatIsKilled(t *testing.T) {
	inCluster(t, func(f *fleet, d desktops, a *audience) {
		victim := f.carrier()
		carriedFor := f.carriedBy(victim)
		f.edges[victim].process.kill()
		a.allSee()
		own := func(w *watcher, e ending) bool { return e.at == victim && strings.HasPrefix(e.told, "-1 ") } // who could say it is dead
		carried := func(w *watcher, e ending) bool {
			return carriedFor[fmt.Sprint(w.id, e.at)] && e.told == "4501 server_reset" // the page comes again
		}
		a.toldBoth(own, carried)
		f.settled()
		f.isDriven()
		f.startEdge(victim)
	})
}

func TestClusterWithoutAnEdgeThatIsToldToStop(t *testing.T) {
	inCluster(t, func(f *fleet, d desktops, a *audience) {
		victim := f.carrier()
		carriedFor := f.carriedBy(victim)
		leaving := f.leaves(victim)
		if strings.Contains(leaving.output.String(), "agents have not moved") {
			t.Error("it left before its agents had another edge")
		}
		a.allSee()
		own := func(w *watcher, e ending) bool { return e.at == victim && e.told == "1012 node_draining" }
		carried := func(w *watcher, e ending) bool {
			return e.at != victim && carriedFor[fmt.Sprint(w.id, e.at)] && e.told == "1012 node_draining"
		}
		a.toldBoth(own, carried)
		f.settled()
		f.isDriven()
		f.startEdge(victim)
	})
}

// leaves tells an edge to stop and waits for its end.
func (f *fleet) leaves(i int) *process {
	f.t.Helper()
	leaving := f.edges[i].process
	leaving.signal(syscall.SIGTERM)
	if status := leaving.wait(); status != 0 {
		f.t.Errorf("exit status %d", status)
	}
	return leaving
}

// toldBoth wants some endings of each kind, and no others.
func (a *audience) toldBoth(one, other func(*watcher, ending) bool) {
	a.t.Helper()
	a.some(one)
	a.some(other)
	a.toldOnly(func(w *watcher, e ending) bool { return one(w, e) || other(w, e) })
}

// TestClusterWithoutRedisWhenAnEdgeIsToldToStop: it can't tell the others, and
// still lets its viewers go in peace.
func TestClusterWithoutRedisWhenAnEdgeIsToldToStop(t *testing.T) {
	inCluster(t, func(f *fleet, d desktops, a *audience) {
		victim := f.carrier()
		carriedFor := f.carriedBy(victim)
		f.redis.Kill()
		f.leaves(victim)
		a.allSee()
		own := func(w *watcher, e ending) bool { return e.at == victim && e.told == "1012 node_draining" }
		a.some(own)
		a.toldOnly(func(w *watcher, e ending) bool {
			return own(w, e) || carriedFor[fmt.Sprint(w.id, e.at)] && slices.Contains([]string{"4501 server_reset", "1012 node_draining"}, e.told)
		})
		f.redis.Run()
		f.startEdge(victim)
	})
}

func TestClusterWithAnAgentThatIsKilledAndComesBack(t *testing.T) {
	inCluster(t, func(f *fleet, d desktops, a *audience) {
		const victim = 0
		hosts, err := f.edges[0].hosts()
		if err != nil {
			t.Fatal(err)
		}
		agent := hosts[slices.IndexFunc(hosts, func(h host) bool { return h.Name == "desk-1" })].ID
		f.agents[victim].kill()
		for _, s := range slices.Concat(d.consoles, d.real) {
			for _, in := range f.edges {
				if s.AgentID == agent {
					in.becomes(s.ID, "unreachable")
				} else {
					in.becomes(s.ID, "running")
				}
			}
		}
		f.startAgent(victim)
		a.allSee()
		a.toldOnly(func(w *watcher, e ending) bool {
			lost := d.consoles[slices.IndexFunc(d.consoles, func(s desktop) bool { return s.ID == w.id })].AgentID == agent
			return lost && slices.Contains([]string{"4500 server_closed", "4501 server_reset", "4503 agent_offline"}, e.told)
		})
	})
}

func TestClusterWithoutRedisForAWhile(t *testing.T) {
	inCluster(t, func(f *fleet, d desktops, a *audience) {
		if err := f.redis.Client().FlushAll(context.Background()).Err(); err != nil {
			t.Fatal(err)
		}
		f.settled()
		f.redis.Kill()
		for _, in := range f.edges {
			eventually(t, "Redis is missed", func() error {
				var health struct{ Redis string }
				if err := in.get("/health", &health); err != nil || health.Redis == "disconnected" {
					return err
				}
				return fmt.Errorf("it is %s", health.Redis)
			})
		}
		f.settled() // the last view stays
		f.isDriven()
		f.redis.Run()
		f.settled()
		f.isDriven()
		a.allSee()
		a.uninterrupted()
	})
}

func TestClusterWithAnotherPrimary(t *testing.T) {
	inCluster(t, func(f *fleet, d desktops, a *audience) {
		f.primary.Kill()
		f.promote()
		for _, in := range f.edges {
			eventually(t, "writes go on", func() error {
				status, answer, err := in.try("POST", "/api/v1/keys", map[string]string{"name": "one", "owner": "someone", "role": "user"}, nil)
				if err == nil && status != http.StatusCreated {
					err = fmt.Errorf("status %d: %s", status, answer)
				}
				return err
			})
		}
		f.isDriven()
		a.allSee()
		a.uninterrupted()
	})
}

func TestClusterWithAnEdgeThatStandsStill(t *testing.T) {
	inCluster(t, func(f *fleet, d desktops, a *audience) {
		const victim = 0
		carriedFor := f.carriedBy(victim)
		f.edges[victim].process.suspend(func() {
			eventually(t, "the others find that it does not answer", func() error {
				nodes, err := f.edges[1].nodes()
				if err == nil && slices.ContainsFunc(nodes, func(n node) bool { return n.ID == "edge-1" && n.Status == "online" }) {
					err = fmt.Errorf("the nodes are %v", nodes)
				}
				return err
			})
			time.Sleep(5 * time.Second)
		})
		f.settled()
		f.isDriven()
		a.allSee()
		a.toldOnly(func(w *watcher, e ending) bool { return e.at == victim || carriedFor[fmt.Sprint(w.id, e.at)] })
	})
}
