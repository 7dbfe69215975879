package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/streamspace-dev/streamspace-edge/e2e/chaos"
	"github.com/streamspace-dev/streamspace-edge/store/redis/redistest"
)

// fault is something that happens to a part of the cluster. pick chooses which.
// What it returns ends it.
type fault struct {
	name  string
	part  part
	begin func(r *chaosRun, pick uint64) (trouble, error)
}

// part is what a fault is of: two faults of one can't be at the same time.
type part int

const (
	ofEdge part = iota
	ofAgent
	ofDatabase
	ofRedis
	ofLink
)

// trouble is a fault that has begun.
type trouble struct {
	victim string
	// touches tells whether a stream goes through what is in trouble.
	touches func(s streamPath) bool
	heal    func()
	// resumed is when the cluster could take writes again, if it could not; zero: it
	// always could.
	resumed time.Time
	goals   func(f chaos.Figures) []chaos.Goal
}

// streamPath is what a viewer's stream goes through.
type streamPath struct{ edge, carrier, agent string }

func (s streamPath) through(name string) bool {
	return s.edge == name || s.carrier == name || s.agent == name
}

// nobody: no stream goes through databases.
func nobody(streamPath) bool { return false }

func noGap(f chaos.Figures) []chaos.Goal {
	return []chaos.Goal{chaos.Below("streams cut", float64(f.Spared), 0)}
}

func gapP99(goal float64) func(f chaos.Figures) []chaos.Goal {
	return func(f chaos.Figures) []chaos.Goal {
		return append(noGap(f), chaos.Below("gap p99", f.P99, goal))
	}
}

// chaosFaults are all there are, in the order in which they come one by one.
func chaosFaults() []fault {
	return []fault{
		{"kill -9 of an edge", ofEdge, func(r *chaosRun, pick uint64) (trouble, error) {
			i := r.edge(pick)
			r.f.edges[i].process.kill()
			return trouble{victim: edgeName(i), heal: func() { r.f.startEdge(i) }, goals: gapP99(1.5)}, nil
		}},
		{"SIGTERM of an edge", ofEdge, func(r *chaosRun, pick uint64) (trouble, error) {
			i := r.edge(pick)
			r.f.leaves(i)
			return trouble{victim: edgeName(i), heal: func() { r.f.startEdge(i) }, goals: gapP99(0.5)}, nil
		}},
		{"kill -9 of an agent", ofAgent, func(r *chaosRun, pick uint64) (trouble, error) {
			i := r.agent(pick)
			r.f.agents[i].kill()
			return trouble{victim: agentName(i), heal: func() { r.f.startAgent(i) }, goals: noGap}, nil
		}},
		{"kill -9 of PostgreSQL's primary", ofDatabase, func(r *chaosRun, _ uint64) (trouble, error) {
			r.f.primary.Kill()
			return r.promoted(), nil
		}},
		{"kill -9 of Redis' master", ofRedis, func(r *chaosRun, _ uint64) (trouble, error) {
			master, err := r.f.redisMaster()
			if err != nil {
				return trouble{}, err
			}
			master.Kill()
			return trouble{victim: "the master", touches: nobody, heal: master.Run, goals: noGap}, nil
		}},
		{"SIGSTOP of an edge", ofEdge, func(r *chaosRun, pick uint64) (trouble, error) {
			i := r.edge(pick)
			return r.standStill(edgeName(i), r.f.edges[i].process), nil
		}},
		{"SIGSTOP of an agent", ofAgent, func(r *chaosRun, pick uint64) (trouble, error) {
			i := r.agent(pick)
			return r.standStill(agentName(i), r.f.agents[i]), nil
		}},
		{"SIGSTOP of PostgreSQL's primary", ofDatabase, func(r *chaosRun, _ uint64) (trouble, error) {
			r.f.primary.Suspend()
			t := r.promoted()
			rejoin := t.heal
			t.heal = func() {
				r.f.primary.Resume() // as a primary, beside the new one
				time.Sleep(2 * time.Second)
				r.f.primary.Kill()
				rejoin()
			}
			return t, nil
		}},
		{"PgBouncer restarted", ofDatabase, func(r *chaosRun, _ uint64) (trouble, error) {
			for _, b := range r.f.links.bouncers {
				b.Kill()
				b.Run()
			}
			return trouble{victim: "PgBouncer", touches: nobody, resumed: time.Now(), heal: func() {}, goals: noGap}, nil
		}},
		{"FLUSHALL", ofRedis, func(r *chaosRun, _ uint64) (trouble, error) {
			master, err := r.f.redisMaster()
			if err != nil {
				return trouble{}, err
			}
			return trouble{victim: "Redis", touches: nobody, heal: func() {}, goals: noGap}, master.Client().FlushAll(context.Background()).Err()
		}},
		{"SIGSTOP of Redis' master", ofRedis, func(r *chaosRun, _ uint64) (trouble, error) {
			master, err := r.f.redisMaster()
			if err != nil {
				return trouble{}, err
			}
			master.Pause()
			return trouble{victim: "the master", touches: nobody, heal: master.Resume, goals: noGap}, nil
		}},
		betweenHomes("black hole between an agent and an edge", tunnels, chaos.Trouble{Hold: chaos.BothWays}),
		betweenHomes("one-way loss between an agent and an edge", tunnels, chaos.Trouble{Hold: chaos.ToClient}),
		betweenHomes("resets between an agent and an edge", tunnels, chaos.Trouble{Reset: true}),
		betweenHomes("black hole between two edges", hops, chaos.Trouble{Hold: chaos.BothWays}),
		betweenHomes("one-way loss between two edges", hops, chaos.Trouble{Hold: chaos.ToServer}),
		betweenHomes("resets between two edges", hops, chaos.Trouble{Reset: true}),
		beforeStore("black hole between an edge and PostgreSQL", ofDatabase, chaos.Trouble{Hold: chaos.BothWays}),
		beforeStore("latency of 50 ms between an edge and PostgreSQL", ofDatabase, chaos.Trouble{Delay: 50 * time.Millisecond}),
		beforeStore("resets between an edge and PostgreSQL", ofDatabase, chaos.Trouble{Reset: true}),
		beforeStore("black hole between an edge and Redis", ofRedis, chaos.Trouble{Hold: chaos.BothWays}),
		beforeStore("one-way loss between an edge and Redis", ofRedis, chaos.Trouble{Hold: chaos.ToClient}),
		beforeEdge("black hole between viewers and an edge", chaos.Trouble{Hold: chaos.BothWays}),
		beforeEdge("latency of 50 ms between viewers and an edge", chaos.Trouble{Delay: 50 * time.Millisecond}),
		beforeEdge("resets between viewers and an edge", chaos.Trouble{Reset: true}),
		{"an edge's clock jumps", ofEdge, func(r *chaosRun, pick uint64) (trouble, error) {
			name := edgeName(r.edge(pick))
			return jump(name, pick, r.f.clocks.of[name].Set), nil
		}},
		{"an agent's clock jumps", ofAgent, func(r *chaosRun, pick uint64) (trouble, error) {
			name := agentName(r.agent(pick))
			return jump(name, pick, r.f.clocks.of[name].Set), nil
		}},
		{"the clock of PostgreSQL's primary jumps", ofDatabase, func(r *chaosRun, pick uint64) (trouble, error) {
			return jump("the primary", pick, r.f.primary.SetClock), nil
		}},
		{"the clock of Redis' master jumps", ofRedis, func(r *chaosRun, pick uint64) (trouble, error) {
			master, err := r.f.redisMaster()
			if err != nil {
				return trouble{}, err
			}
			return jump("the master", pick, master.SetClock), nil
		}},
	}
}

// jump has a clock be ahead or behind by some minutes, and right again in the
// end: by a jump in the other direction.
func jump(victim string, pick uint64, set func(ahead time.Duration)) trouble {
	ahead := clockJump
	if pick>>32%2 == 1 { // not what chooses the victim
		ahead = -ahead
	}
	set(ahead)
	return trouble{victim: fmt.Sprintf("%s, by %s", victim, ahead), touches: nobody, heal: func() { set(0) }, goals: noGap}
}

// clockJump is longer than what any lease, check or hop token lasts, and shorter
// than tickets do: these end by PostgreSQL's clock.
const clockJump = 20 * time.Minute

func (r *chaosRun) edge(pick uint64) int { return int(pick % uint64(len(r.f.edges))) }

func (r *chaosRun) agent(pick uint64) int { return int(pick % uint64(len(r.f.agents))) }

// promoted makes the standby the primary; the one before comes back as its standby.
func (r *chaosRun) promoted() trouble {
	f := r.f
	f.promote()
	return trouble{victim: "the primary", touches: nobody, resumed: time.Now(), heal: func() {
		f.primary.Rejoin(f.standby, "standby")
		f.primary, f.standby = f.standby, f.primary
		f.acknowledgeAtStandby()
	}, goals: func(f chaos.Figures) []chaos.Goal {
		return append(noGap(f), chaos.Below("writes resumed", f.Resumed, 5))
	}}
}

func (r *chaosRun) standStill(name string, p *process) trouble {
	p.signal(syscall.SIGSTOP)
	return trouble{victim: name, heal: func() { p.signal(syscall.SIGCONT) }, goals: noGap}
}

// betweenHomes is trouble on a way to an edge, one of those that ways finds in use.
func betweenHomes(name string, ways func(r *chaosRun) ([]way, error), what chaos.Trouble) fault {
	return fault{name, ofLink, func(r *chaosRun, pick uint64) (trouble, error) {
		used, err := ways(r)
		if err != nil {
			return trouble{}, err
		}
		if len(used) == 0 {
			return trouble{}, errors.New("there is no such way in use")
		}
		caller, to := used[pick%uint64(len(used))].from, used[pick%uint64(len(used))].to
		return linkTrouble(r.f.links.homes[to:to+1], caller, what, caller+" to "+edgeName(to), func(s streamPath) bool {
			byHop := s.edge == caller && s.carrier == edgeName(to)
			byTunnel := s.agent == caller && (s.carrier == edgeName(to) || s.carrier == "" && s.edge == edgeName(to))
			return byHop || byTunnel
		}), nil
	}}
}

// way is from an agent or an edge to an edge.
type way struct {
	from string
	to   int
}

// tunnels are the ways from agents to their homes.
func tunnels(r *chaosRun) (all []way, err error) {
	hosts, err := r.f.working()[0].hosts()
	slices.SortFunc(hosts, func(a, b host) int { return strings.Compare(a.Name, b.Name) })
	for _, h := range hosts {
		for i := range r.f.edges {
			if slices.Contains(h.Homes, edgeName(i)) {
				all = append(all, way{h.Name, i})
			}
		}
	}
	return all, err
}

// hops are the ways between edges by which streams go.
func hops(r *chaosRun) (all []way, err error) {
	for to, log := range r.f.carriers() {
		streams := log.carried()
		for from := range r.f.edges {
			for stream, open := range streams {
				if open && strings.HasPrefix(stream, edgeName(from)) {
					all = append(all, way{edgeName(from), to})
					break
				}
			}
		}
	}
	return all, nil
}

// beforeEdge is trouble on the way from all viewers to an edge.
func beforeEdge(name string, what chaos.Trouble) fault {
	return fault{name, ofLink, func(r *chaosRun, pick uint64) (trouble, error) {
		i := r.edge(pick)
		return linkTrouble(r.f.links.doors[i:i+1], chaos.Everybody, what, "viewers of "+edgeName(i), func(s streamPath) bool {
			return s.edge == edgeName(i)
		}), nil
	}}
}

// beforeStore is trouble on the ways from an edge to all servers of a database.
func beforeStore(name string, of part, what chaos.Trouble) fault {
	return fault{name, of, func(r *chaosRun, pick uint64) (trouble, error) {
		all := r.f.links.database
		if of == ofRedis {
			all = r.f.links.redis
		}
		caller := edgeName(r.edge(pick))
		return linkTrouble(all, caller, what, caller, nobody), nil
	}}
}

func linkTrouble(all []link, caller string, what chaos.Trouble, victim string, touches func(streamPath) bool) trouble {
	set := func(what chaos.Trouble) {
		for _, l := range all {
			l.Set(caller, what)
		}
	}
	set(what)
	return trouble{victim: victim, touches: touches, heal: func() { set(chaos.Trouble{}) }, goals: noGap}
}

// redisMaster waits until there is one with all its replicas, and returns it.
func (f *fleet) redisMaster() (master *redistest.Server, err error) {
	f.t.Helper()
	servers, replicas := []*redistest.Server{f.redis}, 0
	switch f.plan.redis {
	case redisSentinels:
		servers, replicas = f.links.sentinels.Servers, 2
	case redisCluster:
		servers, replicas = f.links.cluster.Servers, 1
	}
	for end := time.Now().Add(2 * patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		err = errors.New("no server of Redis is a master with all its replicas")
		i := slices.IndexFunc(servers, func(s *redistest.Server) bool {
			info, err := s.Info("replication")
			return err == nil && strings.Contains(info, "role:master") && strings.Count(info, "state=online") == replicas
		})
		if i >= 0 {
			return servers[i], nil
		}
	}
	return nil, err
}
