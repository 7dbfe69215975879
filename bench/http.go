package bench

import (
	"context"
	"fmt"
	"time"
)

// The kinds of work a balancer is measured at.
const (
	workSmall     = "small"     // short answers on connections that stay
	workFirst     = "first"     // the same to clients without a cookie
	workBody64K   = "body64k"   // answers of 64 KiB on connections that stay
	workNew       = "new"       // a connection for each request, which resumes a session of TLS
	workHandshake = "handshake" // a connection for each request, with a whole handshake of TLS
	workSteady    = "steady"    // as many requests a second for every system
)

// The keys of its metrics, beside those of a relay.
const (
	keyAnswersPerCPU = "answers_per_cpu_s"
	keyAnswers       = "answers_per_s"
)

// What Options are by themselves.
const (
	DefaultClients = 50
	DefaultRate    = 5000 // requests a second, which HAProxy, nginx and the edge each carry with TLS on half a core
)

const mostClients = 1000

// visit is what the clients of a work ask for.
type visit struct {
	path   string
	body   string // of the answer
	cookie bool   // clients send the cookie back that they got with an answer before
	close  bool   // a connection for each request
	load   load
}

// load is what sends the requests.
type load int

const (
	byWrk    load = iota // as fast as answers come
	byRate               // our clients, at the rate of the run
	byArrive             // our clients as fast as answers come, each request with a connection and a whole handshake, which wrk can't
)

const (
	appHost = "app.example.org" // that is routed to the upstreams
	appPath = "/app/"
)

// httpComparison is that of what stands before upstreams of HTTP.
func httpComparison() comparison {
	return comparison{
		name: "http", title: "The balancer beside its peers", how: howHTTP,
		systems: httpSystems(), works: httpWorks(), defaults: []string{workSmall, workFirst, workBody64K, workNew, workHandshake, workSteady}, goals: httpGoals(),
		check: checkHTTP, measure: measureHTTP,
	}
}

func checkHTTP(o *Options) error {
	switch {
	case o.Duration < time.Second || o.Duration%time.Second != 0:
		return &UsageError{fmt.Sprintf("--duration: %s is not whole seconds, which is all that wrk knows; at least 1s", o.Duration)}
	case o.Clients < wrkThreads || o.Clients > mostClients:
		return &UsageError{fmt.Sprintf("--clients: %d is out of range; %d to %d", o.Clients, wrkThreads, mostClients)}
	case o.Rate < 1 || o.Rate > 1_000_000:
		return &UsageError{fmt.Sprintf("--rate: %d is out of range; 1 to 1000000", o.Rate)}
	}
	return nil
}

func httpSystems() []system {
	one := func(name string, secure, cookie bool, programs []string, start func(context.Context, *site, bool) error) system {
		return system{
			name: name, secure: secure, cookie: cookie, programs: append(programs, "nginx", "wrk"), // nginx is everybody's upstream
			ours:  len(programs) == 0,
			start: func(ctx context.Context, s *site) error { return start(ctx, s, secure) },
		}
	}
	return []system{
		one(edge, true, true, nil, startHTTPEdge),
		one(edgePlain, false, true, nil, startHTTPEdge),
		one(haproxy, true, true, []string{"haproxy"}, startHTTPHAProxy),
		one(haproxyPlain, false, true, []string{"haproxy"}, startHTTPHAProxy),
		one(nginx, true, false, []string{"nginx"}, startHTTPNginx),
		one(nginxPlain, false, false, []string{"nginx"}, startHTTPNginx),
	}
}

func httpWorks() []work {
	all, secure, sticky := systemNames(httpSystems()), []string{edge, haproxy, nginx}, []string{edge, haproxy}
	full := []metric{
		{key: keyAnswersPerCPU, label: "answered", unit: "/CPU s", more: true},
		{key: keyAnswers, label: "answered", unit: "/s", more: true},
		{key: keyCores, label: "CPU", unit: "cores"},
	}
	p50, p99, slowest := metric{key: keyP50, label: "p50", unit: "µs"}, metric{key: keyP99, label: "p99", unit: "µs"}, metric{key: keyMax, label: "max", unit: "µs"}
	small, big := smallBody(), bigBody()
	return []work{
		{
			name: workSmall, about: "answers of 100 bytes on connections that stay; clients send their cookie back",
			systems: all, metrics: full,
			visit: visit{path: appPath + "small", body: small, cookie: true},
		},
		{
			name: workFirst, about: "the same to clients that have no cookie, so that every answer sets one",
			systems: sticky, metrics: full,
			visit: visit{path: appPath + "small", body: small},
		},
		{
			name: workBody64K, about: "answers of 64 KiB on connections that stay; clients send their cookie back",
			systems: all, metrics: full,
			visit: visit{path: appPath + "body64k", body: big, cookie: true},
		},
		{
			name: workNew, about: "answers of 100 bytes, each on a connection of its own, which resumes a session of TLS",
			systems: all, metrics: full,
			visit: visit{path: appPath + "small", body: small, cookie: true, close: true},
		},
		{
			name: workHandshake, about: "answers of 100 bytes, each on a connection of its own with a whole handshake of TLS",
			systems: secure, metrics: append(full[:len(full):len(full)], p50, p99),
			visit: visit{path: appPath + "small", body: small, cookie: true, close: true, load: byArrive},
		},
		{
			name: workSteady, about: "answers of 100 bytes to as many requests a second for every system, whether answers come or not",
			systems: secure,
			metrics: []metric{p50, p99, slowest, {key: keyCores, label: "CPU", unit: "cores"}, {key: keyAnswers, label: "answered", unit: "/s", more: true}},
			visit:   visit{path: appPath + "small", body: small, cookie: true, load: byRate},
		},
	}
}

func httpGoals() []goal {
	var list []goal
	for _, w := range []struct{ name, text string }{
		{workSmall, "answers of 100 bytes, TLS: per CPU second"},
		{workBody64K, "answers of 64 KiB, TLS: per CPU second"},
		{workNew, "new connections, resumed: per CPU second"},
		{workHandshake, "new connections, handshakes: per CPU second"},
	} {
		list = append(list,
			goal{w.text, w.name, keyAnswersPerCPU, edge, haproxy, 1.00, true, ""},
			goal{w.text, w.name, keyAnswersPerCPU, edge, nginx, 0.90, true, ""})
	}
	return append(list, goal{"equal load, TLS: p99", workSteady, keyP99, edge, haproxy, 1.00, false, ""})
}
