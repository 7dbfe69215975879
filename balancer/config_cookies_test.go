package balancer

import (
	"strings"
	"testing"
	"time"
)

// TestPoolsDoNotShareACookie: where a client can come to both, and the browser
// would have one for both.
func TestPoolsDoNotShareACookie(t *testing.T) {
	const a, b = "a", "b"
	for name, c := range map[string]struct {
		cookies [2]string // of a and b: name and path
		routes  []RouteConfig
		want    string // what the fault has in it; "": none
	}{
		"one host": {[2]string{"SS /", "SS /"}, []RouteConfig{{Host: "desk", Path: "/a/", Pool: a}, {Host: "Desk", Path: "/b/", Pool: b}},
			`pools[1].affinity.cookie: "SS" with the path "/" is also the cookie of the pool "a", and a client at desk comes to both, by the routes "desk/a/" and "desk/b/"`},
		"their names":              {[2]string{"SS /", "SS /"}, []RouteConfig{{Name: "one", Path: "/a/", Pool: a}, {Name: "two", Path: "/b/", Pool: b}}, `at any host comes to both, by the routes "one" and "two"`},
		"told by the pools' order": {[2]string{"SS /", "SS /"}, []RouteConfig{{Path: "/b/", Pool: b}, {Path: "/a/", Pool: a}}, `pools[1].affinity.cookie: "SS" with the path "/" is also the cookie of the pool "a"`},
		"the one below the other":  {[2]string{"SS /", "SS /"}, []RouteConfig{{Path: "/", Pool: a}, {Path: "/b/", Pool: b}}, `"/" and "/b/"`},
		"a host and all":           {[2]string{"SS /", "SS /"}, []RouteConfig{{Path: "/a/", Pool: a}, {Host: "desk", Path: "/b/", Pool: b}}, "at desk comes"},
		"a host and a wildcard":    {[2]string{"SS /", "SS /"}, []RouteConfig{{Host: "*.example.org", Path: "/a/", Pool: a}, {Host: "x.example.org", Path: "/b/", Pool: b}}, "at x.example.org comes"},
		"a wildcard":               {[2]string{"SS /", "SS /"}, []RouteConfig{{Host: "*.example.org", Path: "/a/", Pool: a}, {Host: "*.example.org", Path: "/b/", Pool: b}}, "at *.example.org comes"},
		"a wildcard and all":       {[2]string{"SS /", "SS /"}, []RouteConfig{{Host: "*.example.org", Path: "/a/", Pool: a}, {Path: "/b/", Pool: b}}, "at *.example.org comes"},
		"also paths of their own":  {[2]string{"SS /x", "SS /x"}, []RouteConfig{{Path: "/x/a/", Pool: a}, {Path: "/x/b/", Pool: b}}, `"SS" with the path "/x"`},

		"other names":                 {[2]string{"SS /", "ss /"}, []RouteConfig{{Path: "/a/", Pool: a}, {Path: "/b/", Pool: b}}, ""},
		"other paths":                 {[2]string{"SS /a", "SS /b"}, []RouteConfig{{Path: "/a/", Pool: a}, {Path: "/b/", Pool: b}}, ""},
		"one path within the other":   {[2]string{"SS /", "SS /b"}, []RouteConfig{{Path: "/a/", Pool: a}, {Path: "/b/", Pool: b}}, ""},
		"without affinity":            {[2]string{"SS /", ""}, []RouteConfig{{Path: "/a/", Pool: a}, {Path: "/b/", Pool: b}}, ""},
		"other hosts":                 {[2]string{"SS /", "SS /"}, []RouteConfig{{Host: "one", Path: "/", Pool: a}, {Host: "two", Path: "/", Pool: b}}, ""},
		"a host below the wildcard's": {[2]string{"SS /", "SS /"}, []RouteConfig{{Host: "*.example.org", Path: "/", Pool: a}, {Host: "x.y.example.org", Path: "/", Pool: b}}, ""},
		"a host that is all one's":    {[2]string{"SS /", "SS /"}, []RouteConfig{{Path: "/", Pool: a}, {Host: "desk", Path: "/", Pool: b}}, ""},
		"a wildcard that is":          {[2]string{"SS /", "SS /"}, []RouteConfig{{Path: "/app/", Pool: a}, {Host: "*.example.org", Path: "/", Pool: b}}, ""},
		"one pool by two routes":      {[2]string{"SS /", "SS /"}, []RouteConfig{{Path: "/a/", Pool: a}, {Path: "/b/", Pool: a}}, ""},
		"no route to one of them":     {[2]string{"SS /", "SS /"}, []RouteConfig{{Path: "/a/", Pool: a}}, ""},
	} {
		config := Config{Routes: c.routes}
		for i, pool := range []string{a, b} {
			p := PoolConfig{Name: pool, Upstreams: []UpstreamConfig{{URL: "http://127.0.0.1:1"}}}
			if cookie, path, given := strings.Cut(c.cookies[i], " "); given {
				p.Affinity = &AffinityConfig{Cookie: cookie, Path: path, TTL: time.Hour}
			}
			config.Pools = append(config.Pools, p)
		}
		var told []string
		for _, fault := range config.Validate() {
			told = append(told, fault.Key+": "+fault.Text)
		}
		if got := strings.Join(told, "\n"); len(told) > 1 || (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: the faults are %q, want %q", name, got, c.want)
		}
	}
}
