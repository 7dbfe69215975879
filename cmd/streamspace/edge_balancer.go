package main

import (
	"context"
	"errors"
	"time"

	"github.com/streamspace-dev/streamspace-edge/api"
	"github.com/streamspace-dev/streamspace-edge/balancer"
	"github.com/streamspace-dev/streamspace-edge/listen"
	"github.com/streamspace-dev/streamspace-edge/store"
)

func (e *edge) openBalancer(ctx context.Context) error {
	secret, err := e.store.Secret(ctx, "affinity")
	if err != nil {
		return err
	}
	e.balancer = balancer.New(balancer.Options{
		Log:     e.log.Named("balancer"),
		Metrics: balancer.NewMetrics(e.registry),
		Reactor: e.loops,
		Secret:  secret,
		Access:  e.access,
		Unread:  listen.Linger,
		Take:    e.coord.Take,
		Changed: func(pool string) {
			e.coord.Publish(context.Background(), store.Event{Type: "pool", ID: pool})
		},
	})
	e.balances = e.config.balancerConfig()
	e.balancer.Load(e.balances)
	return nil
}

// pools are the balancer's, in the API's words.
func (e *edge) pools() []api.Pool {
	var pools []api.Pool
	for _, p := range e.balancer.Pools() {
		one := api.Pool{Name: p.Name, Policy: string(p.Policy), Waiting: p.Waiting, Panic: p.Panic, Removed: p.Removed, Upstreams: []api.Upstream{}}
		for _, u := range p.Upstreams {
			one.Upstreams = append(one.Upstreams, api.Upstream(u))
		}
		pools = append(pools, one)
	}
	return pools
}

func (e *edge) setUpstream(pool, upstream, setting string, drain time.Duration) (api.Upstream, error) {
	u, err := e.balancer.Set(pool, upstream, balancer.Setting(setting), drain)
	if errors.Is(err, balancer.ErrUnknown) {
		return api.Upstream{}, store.Errorf(store.NotFound, "%v", err)
	}
	return api.Upstream(u), err
}
