package bench

import (
	"context"
	"fmt"
	"time"
)

// The kinds of work a balancer is measured at.
const (
	workSmall   = "small"   // short answers on connections that stay
	workFirst   = "first"   // the same to clients without a cookie
	workBody64K = "body64k" // answers of 64 KiB on connections that stay
	workNew     = "new"     // a connection for each request
	workSteady  = "steady"  // as many requests a second for every system
)

// The keys of its metrics, beside those of a relay.
const (
	keyAnswersPerCPU = "answers_per_cpu_s"
	keyAnswers       = "answers_per_s"
)

// What Options are by themselves.
const (
	DefaultClients = 50
	DefaultRate    = 5000 // requests a second, which HAProxy, nginx and the edge all carry with TLS on one core
)

// visit is what the clients of a work ask for.
type visit struct {
	path   string
	body   string // of the answer
	cookie bool   // clients send the cookie back that they got with an answer before
	close  bool   // a connection for each request
	paced  bool   // at the rate of the run, else as fast as answers come
}

const (
	appHost = "app.example.org" // that is routed to the upstreams
	appPath = "/app/"
)

// httpComparison is that of what stands before upstreams of HTTP.
func httpComparison() comparison {
	return comparison{
		name: "http", title: "The balancer beside its peers", how: howHTTP,
		systems: httpSystems(), works: httpWorks(), defaults: []string{workSmall, workFirst, workBody64K, workNew, workSteady}, goals: httpGoals(),
		check: checkHTTP, measure: measureHTTP,
	}
}

func checkHTTP(o *Options) error {
	switch {
	case o.Duration < time.Second || o.Duration%time.Second != 0:
		return &UsageError{fmt.Sprintf("--duration: %s is not whole seconds, which is all that wrk knows; at least 1s", o.Duration)}
	case o.Clients < 2 || o.Clients > 10_000:
		return &UsageError{fmt.Sprintf("--clients: %d is out of range; 2 to 10000", o.Clients)}
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
			name: workNew, about: "answers of 100 bytes, each on a connection of its own; with TLS its session is resumed",
			systems: all, metrics: full,
			visit: visit{path: appPath + "small", body: small, cookie: true, close: true},
		},
		{
			name: workSteady, about: "answers of 100 bytes to as many requests a second for every system, whether answers come or not",
			systems: secure,
			metrics: []metric{
				{key: keyP50, label: "p50", unit: "µs"}, {key: keyP99, label: "p99", unit: "µs"}, {key: keyMax, label: "max", unit: "µs"},
				{key: keyCores, label: "CPU", unit: "cores"}, {key: keyAnswers, label: "answered", unit: "/s", more: true},
			},
			visit: visit{path: appPath + "small", body: small, cookie: true, paced: true},
		},
	}
}

func httpGoals() []goal {
	var list []goal
	for _, w := range []struct{ name, text string }{
		{workSmall, "100 bytes, TLS: answers per CPU second"},
		{workBody64K, "64 KiB, TLS: answers per CPU second"},
		{workNew, "a connection for each request, TLS: answers per CPU second"},
	} {
		list = append(list,
			goal{w.text, w.name, keyAnswersPerCPU, edge, haproxy, 1.00, true, ""},
			goal{w.text, w.name, keyAnswersPerCPU, edge, nginx, 0.90, true, ""})
	}
	return append(list, goal{"equal load, TLS: p99", workSteady, keyP99, edge, haproxy, 1.00, false, ""})
}
