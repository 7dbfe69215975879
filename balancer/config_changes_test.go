package balancer

import (
	"net/netip"
	"reflect"
	"testing"
	"time"
)

func TestConfigsTellWhatTheyDifferIn(t *testing.T) {
	base := func() Config {
		return Config{
			Pools: []PoolConfig{
				{Name: "web", Affinity: &AffinityConfig{Cookie: "a", TTL: time.Hour, Path: "/"}, Upstreams: []UpstreamConfig{{URL: "http://a"}, {URL: "http://b", ID: "b"}}},
				{Name: "api", Upstreams: []UpstreamConfig{{URL: "http://c"}}},
			},
			Routes:     []RouteConfig{{Path: "/", Pool: "web"}, {Name: "api", Path: "/api/", Pool: "api"}},
			RateLimits: []RateLimitConfig{{Name: "all", By: ByRoute, Requests: 1}},
		}
	}
	for name, c := range map[string]struct {
		change func(*Config)
		want   Changes
	}{
		"nothing":                 {func(*Config) {}, Changes{}},
		"a default that is given": {func(c *Config) { c.Pools[0].Drain, c.Pools[0].Upstreams[0].Weight = defaultDrain, 1 }, Changes{}},
		"a policy":                {func(c *Config) { c.Pools[0].Policy = Random }, Changes{Changed: []string{"pool web"}}},
		"a cookie's life":         {func(c *Config) { c.Pools[0].Affinity.TTL = time.Minute }, Changes{Changed: []string{"pool web"}}},
		"a weight":                {func(c *Config) { c.Pools[0].Upstreams[1].Weight = 2 }, Changes{Changed: []string{"upstream web/b"}}},
		"an upstream for another": {func(c *Config) { c.Pools[0].Upstreams[0].URL = "http://d" }, Changes{Added: []string{"upstream web/d:80"}, Removed: []string{"upstream web/a:80"}}},
		"a pool less":             {func(c *Config) { c.Pools, c.Routes = c.Pools[:1], c.Routes[:1] }, Changes{Removed: []string{"pool api", "route api"}}},
		"a pool more":             {func(c *Config) { c.Pools = append(c.Pools, PoolConfig{Name: "new", Upstreams: c.Pools[0].Upstreams}) }, Changes{Added: []string{"pool new"}}},
		"a route to another pool": {func(c *Config) { c.Routes[0].Pool = "api" }, Changes{Changed: []string{"route /"}}},
		"a limit and who is a proxy": {func(c *Config) {
			c.RateLimits[0].Requests, c.Trusted = 2, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
		}, Changes{Changed: []string{"rate limit all", "trusted proxies"}}},
	} {
		next := base()
		c.change(&next)
		if got := base().ChangesTo(next); !reflect.DeepEqual(got, c.want) || got.None() != reflect.DeepEqual(c.want, Changes{}) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}
