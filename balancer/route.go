package balancer

import (
	"cmp"
	"slices"
	"strings"
)

// Route sends requests of some hosts and paths to a pool.
type Route struct {
	host string // lower case, without port; "*.example.org": any one below it; "": every host
	path string // a prefix: "/app/" has all below it, "/app" also itself and what continues it after a slash
	pool *pool

	name    string // in metrics and logs
	metrics *routeMetrics
	limits  []*limit // its own
}

// OfHost tells whether the route is for certain hosts only.
func (r *Route) OfHost() bool { return r.host != "" }

// sortRoutes puts them into the order in which they are tried: hosts before
// wildcards before none, then longer paths before shorter ones.
func sortRoutes(routes []Route) {
	slices.SortStableFunc(routes, func(a, b Route) int {
		return cmp.Or(hostRank(a.host)-hostRank(b.host), len(b.host)-len(a.host), len(b.path)-len(a.path))
	})
}

func hostRank(host string) int {
	switch {
	case host == "":
		return 2
	case strings.HasPrefix(host, "*."):
		return 1
	default:
		return 0
	}
}

// matchRoute returns the first route that fits; nil when none does. host may
// have a port; path is decoded and has no dot segments.
func matchRoute(routes []Route, host, path []byte) *Route {
	for i := range routes {
		if r := &routes[i]; r.fitsHost(host) && r.fitsPath(path) {
			return r
		}
	}
	return nil
}

func (r *Route) fitsHost(host []byte) bool {
	if r.host == "" {
		return true
	}
	name := string(withoutPort(host))
	if below, ok := strings.CutPrefix(r.host, "*"); ok {
		label, found := cutSuffixFold(name, below)
		return found && label != "" && !strings.Contains(label, ".")
	}
	return strings.EqualFold(name, r.host)
}

func cutSuffixFold(s, suffix string) (before string, found bool) {
	if at := len(s) - len(suffix); at >= 0 && strings.EqualFold(s[at:], suffix) {
		return s[:at], true
	}
	return s, false
}

// withoutPort cuts a port off; a trailing dot of the name goes, too.
func withoutPort(host []byte) []byte {
	for i := len(host) - 1; i >= 0; i-- {
		if c := host[i]; c == ':' {
			host = host[:i]
			break
		} else if c < '0' || c > '9' {
			break
		}
	}
	if n := len(host); n > 1 && host[n-1] == '.' {
		host = host[:n-1]
	}
	return host
}

func (r *Route) fitsPath(path []byte) bool {
	if len(path) < len(r.path) || string(path[:len(r.path)]) != r.path {
		return false
	}
	return strings.HasSuffix(r.path, "/") || len(path) == len(r.path) || path[len(r.path)] == '/'
}
