package balancer

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are a Balancer's. What it counts has a handle for each route, pool and
// upstream, made when they are loaded and gone with them; what it has now is
// read when it is asked for.
type Metrics struct {
	requests      *prometheus.CounterVec
	duration      *prometheus.HistogramVec
	retries       *prometheus.CounterVec
	changes       *prometheus.CounterVec
	responses     *prometheus.HistogramVec
	upstreamBytes *prometheus.CounterVec
	routeRequests *prometheus.CounterVec
	routeBytes    *prometheus.CounterVec
	limited       *prometheus.CounterVec

	of atomic.Pointer[Balancer] // whose gauges are told; nil: nobody's
}

// NewMetrics registers them with r. They are for one Balancer.
func NewMetrics(r prometheus.Registerer) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: name, Help: help, Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60},
		}, labels)
	}
	m := &Metrics{
		requests:      counter("streamspace_http_requests_total", "Requests to pools, by pool, upstream (empty: none served it) and the first digit of the status.", "pool", "upstream", "status"),
		duration:      histogram("streamspace_http_request_duration_seconds", "From a request's coming to the end of its answer, by pool.", "pool"),
		retries:       counter("streamspace_http_retries_total", "Requests that were sent again, by pool.", "pool"),
		changes:       counter("streamspace_upstream_changes_total", "Changes of upstreams' states, by pool, upstream and what it changed to.", "pool", "upstream", "to"),
		responses:     histogram("streamspace_upstream_response_seconds", "From the sending of a request to the head of its answer, by pool and upstream.", "pool", "upstream"),
		upstreamBytes: counter("streamspace_upstream_bytes_total", "Bytes of bodies and upgraded connections, by pool, upstream and direction.", "pool", "upstream", "direction"),
		routeRequests: counter("streamspace_route_requests_total", "Requests that a route has sent to its pool, by route and the first digit of the status.", "route", "status"),
		routeBytes:    counter("streamspace_route_bytes_total", "Bytes of bodies and upgraded connections, by route and direction.", "route", "direction"),
		limited:       counter("streamspace_rate_limited_total", "Requests that a rate limit has refused, by its name.", "limit"),
	}
	r.MustRegister(m.requests, m.duration, m.retries, m.changes, m.responses, m.upstreamBytes, m.routeRequests, m.routeBytes, m.limited, gauges{m})
	return m
}

// classes counts by the first digit of the status, 1 to 5.
type classes [5]prometheus.Counter

func (c *classes) count(status int) { c[min(max(status/100, 1), len(c))-1].Inc() }

func classesOf(counter func(status string) prometheus.Counter) (c classes) {
	for i := range c {
		c[i] = counter(string(rune('1'+i)) + "xx")
	}
	return c
}

// traffic counts bytes both ways.
type traffic struct{ in, out prometheus.Counter }

func (t traffic) count(in, out int64) {
	if in > 0 {
		t.in.Add(float64(in))
	}
	if out > 0 {
		t.out.Add(float64(out))
	}
}

func trafficOf(counter func(direction string) prometheus.Counter) traffic {
	return traffic{in: counter("client_to_upstream"), out: counter("upstream_to_client")}
}

type routeMetrics struct {
	requests classes
	bytes    traffic
}

func (m *Metrics) route(name string) *routeMetrics {
	return &routeMetrics{
		classesOf(func(status string) prometheus.Counter { return m.routeRequests.WithLabelValues(name, status) }),
		trafficOf(func(direction string) prometheus.Counter { return m.routeBytes.WithLabelValues(name, direction) }),
	}
}

type poolMetrics struct {
	unserved classes // by any upstream
	duration prometheus.Observer
	retries  prometheus.Counter
}

func (m *Metrics) pool(name string) *poolMetrics {
	return &poolMetrics{m.served(name, ""), m.duration.WithLabelValues(name), m.retries.WithLabelValues(name)}
}

func (m *Metrics) served(pool, upstream string) classes {
	return classesOf(func(status string) prometheus.Counter { return m.requests.WithLabelValues(pool, upstream, status) })
}

type upstreamMetrics struct {
	requests  classes
	responses prometheus.Observer
	bytes     traffic
}

func (m *Metrics) upstream(pool, id string) *upstreamMetrics {
	return &upstreamMetrics{
		m.served(pool, id), m.responses.WithLabelValues(pool, id),
		trafficOf(func(direction string) prometheus.Counter { return m.upstreamBytes.WithLabelValues(pool, id, direction) }),
	}
}

func (m *Metrics) forgetRoute(name string) {
	labels := prometheus.Labels{"route": name}
	m.routeRequests.DeletePartialMatch(labels)
	m.routeBytes.DeletePartialMatch(labels)
}

func (m *Metrics) forgetUpstream(pool, id string) {
	labels := prometheus.Labels{"pool": pool, "upstream": id}
	m.requests.DeletePartialMatch(labels)
	m.responses.DeletePartialMatch(labels)
	m.upstreamBytes.DeletePartialMatch(labels)
	m.changes.DeletePartialMatch(labels)
}

func (m *Metrics) forgetPool(name string) {
	m.duration.DeleteLabelValues(name)
	m.retries.DeleteLabelValues(name)
	m.forgetUpstream(name, "")
}
