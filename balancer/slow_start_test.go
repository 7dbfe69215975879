package balancer

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// TestAnUpstreamThatComesBackStartsSlowly: its share grows in a line, from nothing
// to the whole over slow_start, whatever it was away for.
func TestAnUpstreamThatComesBackStartsSlowly(t *testing.T) {
	const slow = time.Minute
	for name, back := range map[string]func(p *pool, u *upstream){
		"restarted": func(p *pool, u *upstream) {
			p.turned(context.Background(), u, false, "it is dead")
			time.Sleep(time.Hour)
			p.turned(context.Background(), u, true, "")
		},
		"resumed": func(p *pool, u *upstream) {
			_, _ = p.set(u.id, Disabled, 0)
			time.Sleep(time.Hour)
			_, _ = p.set(u.id, Enabled, 0)
		},
		"resumed after a drain": func(p *pool, u *upstream) {
			_, _ = p.set(u.id, Draining, time.Minute)
			time.Sleep(time.Hour)
			_, _ = p.set(u.id, Enabled, 0)
		},
		"resumed by itself": func(p *pool, u *upstream) {
			p.reported(context.Background(), u, true, Answer{Drain: true})
			time.Sleep(time.Hour)
			p.reported(context.Background(), u, true, Answer{})
		},
		"weighed again by itself": func(p *pool, u *upstream) {
			p.reported(context.Background(), u, true, Answer{Weighted: true, Weight: 0})
			time.Sleep(time.Hour)
			p.reported(context.Background(), u, true, Answer{Weighted: true, Weight: 1})
		},
		"ejected": func(p *pool, u *upstream) {
			for range defaultFailures {
				p.failed(u, time.Now())
			}
			time.Sleep(time.Until(u.outUntil))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := New(Options{Metrics: NewMetrics(prometheus.NewRegistry()), Secret: make([]byte, 32)})
				defer func() { _ = b.Close(t.Context()) }()
				b.Load(Config{Pools: []PoolConfig{{
					Name: "web", Policy: RoundRobin, SlowStart: slow,
					Upstreams: []UpstreamConfig{{ID: "a", URL: "http://127.0.0.1:1"}, {ID: "b", URL: "http://127.0.0.1:2"}},
				}}})
				p := b.table.Load().pools[0]
				u := p.upstreams[0]
				share := func() float64 {
					const all = 4000
					of := 0
					for range all {
						got, err := p.acquire(t.Context(), &wish{}, time.Now())
						if err != nil {
							t.Fatal(err)
						}
						if got == u {
							of++
						}
						p.release(got)
					}
					return float64(of) / all
				}
				wants := func(when string, weight float64) {
					t.Helper()
					if got, want := share(), weight/(1+weight); math.Abs(got-want) > .01 {
						t.Errorf("%s: a share of %.3f, want %.3f", when, got, want)
					}
				}
				wants("in the beginning", 1)
				back(p, u)
				wants("at once", 0)
				for _, part := range []float64{.25, .5, .75} {
					time.Sleep(slow / 4)
					wants(time.Duration(part*float64(slow)).String(), part)
				}
				time.Sleep(slow / 4)
				wants("at the end", 1)
				time.Sleep(time.Hour)
				wants("long after", 1)
			})
		})
	}
}
