package balancer

import (
	"reflect"
	"slices"
)

// Changes are what two configs differ in, in words for a person: "pool web",
// "upstream web/10.0.0.21:8080", "route desk.example.org/app/", "rate limit api",
// "trusted proxies". What is in a pool that was added or removed is not told on
// its own.
type Changes struct{ Added, Changed, Removed []string }

// None tells whether there are none.
func (c Changes) None() bool { return len(c.Added)+len(c.Changed)+len(c.Removed) == 0 }

// ChangesTo tells how next differs. Both must be valid. Files that they name are
// not looked into.
func (c Config) ChangesTo(next Config) Changes {
	var all Changes
	before, after := poolsByName(c), poolsByName(next)
	compare(&all, "pool ", before, after, func(p PoolConfig) any { p.Upstreams = nil; return p })
	for _, p := range next.Pools {
		if old, there := before.find(p.Name); there {
			compare(&all, "upstream "+p.Name+"/", upstreamsByID(old), upstreamsByID(p), func(u UpstreamConfig) any { return u })
		}
	}
	compare(&all, "route ", routesByLabel(c), routesByLabel(next), func(r RouteConfig) any { return r })
	compare(&all, "rate limit ", limitsByName(c), limitsByName(next), func(l RateLimitConfig) any { return l })
	if !slices.Equal(c.Trusted, next.Trusted) {
		all.Changed = append(all.Changed, "trusted proxies")
	}
	return all
}

// listed are parts of a config with their names, in its order.
type listed[T any] struct {
	names []string
	parts []T
}

func byName[T any](parts []T, name func(T) string) (n listed[T]) {
	for _, part := range parts {
		n.names = append(n.names, name(part))
	}
	n.parts = parts
	return n
}

func (n listed[T]) find(name string) (part T, there bool) {
	if i := slices.Index(n.names, name); i >= 0 {
		return n.parts[i], true
	}
	return part, false
}

func poolsByName(c Config) listed[PoolConfig] {
	var pools []PoolConfig
	for _, p := range c.Pools {
		pools = append(pools, p.withDefaults())
	}
	return byName(pools, func(p PoolConfig) string { return p.Name })
}

func upstreamsByID(p PoolConfig) listed[UpstreamConfig] {
	return byName(p.withDefaults().Upstreams, func(u UpstreamConfig) string { return u.ID })
}

func routesByLabel(c Config) listed[RouteConfig] {
	return byName(c.Routes, func(r RouteConfig) string { return r.label() })
}

func limitsByName(c Config) listed[RateLimitConfig] {
	return byName(c.RateLimits, func(l RateLimitConfig) string { return l.Name })
}

// compare adds the differences of two lists; of is what counts of a part.
func compare[T any](all *Changes, kind string, before, after listed[T], of func(T) any) {
	for i, name := range after.names {
		old, there := before.find(name)
		switch {
		case !there:
			all.Added = append(all.Added, kind+name)
		case !reflect.DeepEqual(of(old), of(after.parts[i])):
			all.Changed = append(all.Changed, kind+name)
		}
	}
	for _, name := range before.names {
		if _, there := after.find(name); !there {
			all.Removed = append(all.Removed, kind+name)
		}
	}
}
