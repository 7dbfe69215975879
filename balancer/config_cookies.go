package balancer

import (
	"fmt"
	"slices"
	"strings"
)

// sharedCookies finds pools whose affinity cookies a browser would take for one:
// of the same name and path, on a host that both have routes for (RFC 6265 section
// 5.3, step 11; ours have no Domain, so the host is the request's). Each answer of
// one pool would overwrite the other's, whose client loses its upstream. Cookies
// of different paths stand beside each other, and each pool finds its own among
// them. The config must be valid apart from that.
func (c Config) sharedCookies(f *configFaults) {
	var routes []Route
	for _, r := range c.Routes {
		routes = append(routes, Route{host: strings.ToLower(r.Host), path: r.Path, name: r.label(), pool: &pool{name: r.Pool}})
	}
	sortRoutes(routes)
	told := map[[2]int]bool{}
	for _, host := range routes {
		var met []*Route // of affinity, by a client of that host
		for i := range routes {
			// As a name, a wildcard stands for the names that no other route has.
			if r := &routes[i]; matchRoute(routes, []byte(host.host), []byte(r.path)) == r && c.affinityOf(r) != nil {
				met = append(met, r)
			}
		}
		for i, a := range met {
			for _, b := range met[i+1:] {
				c.shareCookie(f, told, host.host, a, b)
			}
		}
	}
}

// shareCookie tells once of two pools that they share a cookie.
func (c Config) shareCookie(f *configFaults, told map[[2]int]bool, host string, a, b *Route) {
	pools := [2]int{c.poolOf(a), c.poolOf(b)}
	if pools[0] > pools[1] {
		a, b, pools[0], pools[1] = b, a, pools[1], pools[0]
	}
	one, other := c.affinityOf(a), c.affinityOf(b)
	if pools[0] == pools[1] || told[pools] || one.Cookie != other.Cookie || one.Path != other.Path {
		return
	}
	told[pools] = true
	where := "any host"
	if host != "" {
		where = host
	}
	f.add(fmt.Sprintf("pools[%d].affinity.cookie", pools[1]),
		"%q with the path %q is also the cookie of the pool %q, and a client at %s comes to both, by the routes %q and %q: each would overwrite the other's; give one of them another name, like %s_%s",
		other.Cookie, other.Path, c.Pools[pools[0]].Name, where, a.name, b.name, other.Cookie, strings.ToUpper(c.Pools[pools[1]].Name))
}

// poolOf is the index of the pool that the route leads to.
func (c Config) poolOf(r *Route) int {
	return slices.IndexFunc(c.Pools, func(p PoolConfig) bool { return p.Name == r.pool.name })
}

func (c Config) affinityOf(r *Route) *AffinityConfig { return c.Pools[c.poolOf(r)].Affinity }
