package e2e

import (
	"fmt"
	"maps"
	"net"
	"strings"
	"testing"

	"github.com/streamspace-dev/streamspace-edge/e2e/chaos"
	"github.com/streamspace-dev/streamspace-edge/store/redis/redistest"
	"github.com/streamspace-dev/streamspace-edge/store/storetest/pgserver"
)

// links are what a linked fleet's parts reach each other by, and its databases.
type links struct {
	homes    []link // to each edge, for agents and other edges
	doors    []link // to each edge, for viewers
	database []link // to each PgBouncer
	redis    []link // to each Redis server

	bouncers  []*pgserver.Bouncer
	sentinels *redistest.Sentinels
	cluster   *redistest.Cluster
}

// link is an address, by which the trouble-maker may be asked to make some.
type link struct {
	addr string
	*chaos.Link
}

// add starts a link to an address, or, where the fleet is not linked, takes the
// address itself.
func (l *links) add(t *testing.T, to *[]link, linked bool, addr string, caller func(net.Conn) string) string {
	t.Helper()
	one := link{addr: addr}
	if linked {
		made, err := chaos.NewLink(addr, caller)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(made.Close)
		one = link{made.Addr, made}
	}
	*to = append(*to, one)
	return one.addr
}

func edgeName(i int) string { return fmt.Sprintf("edge-%d", i+1) }

func agentName(i int) string { return fmt.Sprintf("desk-%d", i+1) }

// started notes a process, so that links know who connects.
func (f *fleet) started(name string, p *process) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pids[name] = p.pid()
}

// caller is the name of the edge or agent that has made a connection.
func (f *fleet) caller(conn net.Conn) string {
	f.mu.Lock()
	pids := maps.Clone(f.pids)
	f.mu.Unlock()
	return chaos.CallerAmong(conn, pids)
}

// startDatabases starts PostgreSQL and Redis, and returns what configs have below
// store.postgres and redis.
func (f *fleet) startDatabases() (store, redis string) {
	f.t.Helper()
	if f.plan.clocks {
		f.primary = pgserver.StartWithClock(f.t)
	} else {
		f.primary = pgserver.Start(f.t)
	}
	f.standby = f.primary.Standby("standby")
	f.acknowledgeAtStandby()
	hosts := []string{f.primary.Host(), f.standby.Host()}
	if f.plan.linked {
		for i, server := range []*pgserver.Server{f.primary, f.standby} {
			f.links.bouncers = append(f.links.bouncers, pgserver.StartBouncer(f.t, server, 40))
			hosts[i] = f.links.add(f.t, &f.links.database, true, f.links.bouncers[i].Host(), f.caller)
		}
	}
	store = fmt.Sprintf("primary: %q, pgbouncer: %v", pgserver.DSN(f.primary.NewDatabase(), hosts...), f.plan.linked)
	if !f.plan.linked { // else it is what users have whose figures are told
		store += ", timeout: 10s"
	}

	var settings []string
	if f.plan.clocks {
		settings = []string{redistest.OwnClock}
	}
	behind := func(addr string) string { return f.links.add(f.t, &f.links.redis, f.plan.linked, addr, f.caller) }
	switch f.plan.redis {
	case redisSentinels:
		f.links.sentinels = redistest.StartSentinelsBehind(f.t, behind, settings...)
		return store, fmt.Sprintf("sentinel_master: %s, addrs: [%s]", redistest.MasterName, strings.Join(quoted(f.links.sentinels.Addrs), ", "))
	case redisCluster:
		f.links.cluster = redistest.StartCluster(f.t, 3, 3, settings...)
		return store, fmt.Sprintf("cluster: true, addrs: [%s]", strings.Join(quoted(f.links.cluster.Addrs), ", "))
	default:
		f.redis = redistest.Start(f.t, settings...)
		return store, fmt.Sprintf("addrs: [%q]", behind(f.redis.Addr))
	}
}

// acknowledgeAtStandby: what is acknowledged from now on is at the standby, too.
func (f *fleet) acknowledgeAtStandby() {
	f.t.Helper()
	f.primary.Exec("postgres", "ALTER SYSTEM SET synchronous_standby_names = 'standby'")
	f.primary.Exec("postgres", "SELECT pg_reload_conf()")
}

// promote makes the standby the primary, which has none itself.
func (f *fleet) promote() {
	f.t.Helper()
	f.standby.Exec("postgres", "ALTER SYSTEM RESET synchronous_standby_names")
	f.standby.Promote()
	f.standby.Exec("postgres", "SELECT pg_reload_conf()")
}

func quoted(all []string) (quotes []string) {
	for _, one := range all {
		quotes = append(quotes, fmt.Sprintf("%q", one))
	}
	return quotes
}
