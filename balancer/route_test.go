package balancer

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

func TestTheMostSpecialRouteWins(t *testing.T) {
	routes := []Route{
		{host: "", path: "/", pool: &pool{name: "rest"}}, {host: "", path: "/app/", pool: &pool{name: "app"}}, {host: "", path: "/app/deep/", pool: &pool{name: "deep"}},
		{host: "desk.example.org", path: "/", pool: &pool{name: "desk"}}, {host: "desk.example.org", path: "/app", pool: &pool{name: "desk app"}},
		{host: "*.example.org", path: "/", pool: &pool{name: "any"}},
	}
	sortRoutes(routes)
	for _, c := range []struct{ host, path, want string }{
		{"other.test", "/", "rest"}, {"other.test", "/app", "rest"}, {"other.test", "/app/", "app"}, {"other.test", "/app/x", "app"},
		{"other.test", "/app/deep/x", "deep"}, {"other.test", "/apple", "rest"}, {"", "/", "rest"},
		{"desk.example.org", "/", "desk"}, {"DESK.example.org:8443", "/x", "desk"}, {"desk.example.org.", "/", "desk"},
		{"desk.example.org", "/app", "desk app"}, {"desk.example.org", "/app/x", "desk app"}, {"desk.example.org", "/apple", "desk"},
		{"www.example.org", "/", "any"}, {"www.example.org", "/app/", "any"}, {"a.b.example.org", "/", "rest"}, {"example.org", "/", "rest"},
		{"evil-example.org", "/", "rest"}, {"[::1]:80", "/", "rest"},
	} {
		if r := matchRoute(routes, []byte(c.host), []byte(c.path)); r == nil || r.pool.name != c.want {
			t.Errorf("%s%s goes to %v, not to %s", c.host, c.path, r, c.want)
		}
	}
	if r := matchRoute(routes[:1], []byte("other.test"), []byte("/")); r != nil {
		t.Errorf("%v fits another host", r)
	}
}

func FuzzRoutes(f *testing.F) {
	for _, seed := range []string{"desk.example.org:80", "[::1]:80", ".", ":", "a.", "*.example.org", "\xff"} {
		f.Add(seed, "/a")
	}
	f.Fuzz(func(t *testing.T, host, path string) {
		r := Route{host: "desk.example.org", path: "/app/"}
		if matchRoute([]Route{r}, []byte(host), []byte(path)) != nil && (!strings.HasPrefix(path, r.path) || !strings.EqualFold(host[:min(len(host), len(r.host))], r.host)) {
			t.Errorf("%q %q fits", host, path)
		}
	})
}

// TestWhoTheClientIs: the nearest address that no trusted proxy has.
func TestWhoTheClientIs(t *testing.T) {
	trusted := func(a netip.Addr) bool { return netip.MustParsePrefix("10.0.0.0/8").Contains(a) }
	for _, c := range []struct{ peer, said, want string }{
		{"192.0.2.1", "1.2.3.4", "192.0.2.1"},
		{"10.0.0.1", "", "10.0.0.1"},
		{"10.0.0.1", "1.2.3.4", "1.2.3.4"},
		{"10.0.0.1", "6.6.6.6, 1.2.3.4", "1.2.3.4"},
		{"10.0.0.1", "6.6.6.6, 1.2.3.4, 10.0.0.2", "1.2.3.4"},
		{"10.0.0.1", "nonsense, 10.0.0.2", "10.0.0.2"},
		{"10.0.0.1", "nonsense", "10.0.0.1"},
		{"10.0.0.1", "2001:db8::1", "2001:db8::1"},
		{"::ffff:10.0.0.1", "1.2.3.4", "1.2.3.4"},
	} {
		var h fasthttp.RequestHeader
		if c.said != "" {
			h.Set("X-Forwarded-For", c.said)
		}
		peer := netip.MustParseAddr(c.peer)
		if got := clientAddr(&h, client{peer: peer, trusted: trusted(peer.Unmap())}, trusted); got.String() != c.want {
			t.Errorf("%s saying %q is %s, not %s", c.peer, c.said, got, c.want)
		}
	}
}

func FuzzCookieValues(f *testing.F) {
	for _, seed := range []string{"a=1", "SS=1; SS=2", "SS=\"x\"", ";;;", "SS", "SS==", " SS=1 ;SS =2"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, header []byte) {
		values := cookieValues(nil, [][]byte{header}, "SS")
		if len(values) > maxValues || len(values) > bytes.Count(header, []byte("SS")) {
			t.Errorf("%d values of %q", len(values), header)
		}
	})
}

func TestConfigFaultsNameTheirKeys(t *testing.T) {
	good := func() Config {
		return Config{Pools: []PoolConfig{{Name: "web", Upstreams: []UpstreamConfig{{URL: "http://10.0.0.21:8080"}}}}, Routes: []RouteConfig{{Path: "/", Pool: "web"}}}
	}
	if faults := good().Validate(); len(faults) > 0 {
		t.Fatalf("%v", faults)
	}
	for want, change := range map[string]func(*Config){
		`pools[0].name: "we b"`:                          func(c *Config) { c.Pools[0].Name, c.Routes[0].Pool = "we b", "we b" },
		`pools[1].name: "web" is given twice`:            func(c *Config) { c.Pools = append(c.Pools, c.Pools[0]) },
		`pools[0].policy: "fastest" is not a policy`:     func(c *Config) { c.Pools[0].Policy = "fastest" },
		`pools[0].hash.by: "moon"`:                       func(c *Config) { c.Pools[0].Policy, c.Pools[0].Hash.By = Hash, "moon" },
		`pools[0].hash.name: is missing`:                 func(c *Config) { c.Pools[0].Policy, c.Pools[0].Hash.By = Hash, "header" },
		`pools[0].hash: has no meaning`:                  func(c *Config) { c.Pools[0].Hash.By = "address" },
		`pools[0].affinity.ttl`:                          func(c *Config) { c.Pools[0].Affinity = &AffinityConfig{Cookie: "a", TTL: -1, Path: "/"} },
		`pools[0].health.timeout`:                        func(c *Config) { c.Pools[0].Health = HealthConfig{Path: "/", Interval: 1e9, Timeout: 2e9} },
		`pools[0].passive.max_out`:                       func(c *Config) { c.Pools[0].Passive.MaxOut = 2 },
		`pools[0].slow_start: -1ns is negative`:          func(c *Config) { c.Pools[0].SlowStart = -1 },
		`pools[0].queue.size: -1`:                        func(c *Config) { c.Pools[0].Queue.Size = -1 },
		`pools[0].retry.attempts: -1`:                    func(c *Config) { c.Pools[0].Retry.Attempts = -1 },
		`pools[0].retry.budget: 2 is out of range`:       func(c *Config) { c.Pools[0].Retry.Budget = 2 },
		`pools[0].tls.ca_file: can't be read`:            func(c *Config) { c.Pools[0].TLS.CAFile = "/does/not/exist" },
		`pools[0].tls.key_file: is missing`:              func(c *Config) { c.Pools[0].TLS.CertFile = "/x" },
		`pools[0].upstreams: at least one`:               func(c *Config) { c.Pools[0].Upstreams = nil },
		`pools[0].upstreams[0].url: "10.0.0.21"`:         func(c *Config) { c.Pools[0].Upstreams[0].URL = "10.0.0.21" },
		`pools[0].upstreams[0].url: "http://a/path"`:     func(c *Config) { c.Pools[0].Upstreams[0].URL = "http://a/path" },
		`pools[0].upstreams[1].url: "10.0.0.21:8080" is`: func(c *Config) { c.Pools[0].Upstreams = append(c.Pools[0].Upstreams, c.Pools[0].Upstreams[0]) },
		`pools[0].upstreams[0].weight: 257`:              func(c *Config) { c.Pools[0].Upstreams[0].Weight = 257 },
		`pools[0].upstreams[0].url: "http://a:0"`:        func(c *Config) { c.Pools[0].Upstreams[0].URL = "http://a:0" },
		`pools[0].upstreams[0].url: "http://a:99999"`:    func(c *Config) { c.Pools[0].Upstreams[0].URL = "http://a:99999" },
		`pools[0].upstreams[0].url: "http://a:"`:         func(c *Config) { c.Pools[0].Upstreams[0].URL = "http://a:" },
		`pools[0].upstreams[0].url: "http://[::1]:0"`:    func(c *Config) { c.Pools[0].Upstreams[0].URL = "http://[::1]:0" },
		`pools[0].upstreams[0].id: "a/b" is not an id`:   func(c *Config) { c.Pools[0].Upstreams[0].ID = "a/b" },
		`pools[0].upstreams[0].id: "a b" is not an id`:   func(c *Config) { c.Pools[0].Upstreams[0].ID = "a b" },
		`pools[0].upstreams[0].id: ".." is not an id`:    func(c *Config) { c.Pools[0].Upstreams[0].ID = ".." },
		`pools[0].tls: has no meaning for upstreams`:     func(c *Config) { c.Pools[0].TLS.ServerName = "app.example.org" },
		`pools[0].tls.server_name: "a b" is not`: func(c *Config) {
			c.Pools[0].Upstreams[0].URL, c.Pools[0].TLS.ServerName = "https://a", "a b"
		},
		`pools[0].affinity.path: browsers take`: func(c *Config) {
			c.Pools[0].Affinity = &AffinityConfig{Cookie: "__host-x", TTL: time.Hour, Path: "/app"}
		},
		`routes[0].path: "/app?x" has a query`:               func(c *Config) { c.Routes[0].Path = "/app?x" },
		`routes[0].path: "/app#x" has a query or a fragment`: func(c *Config) { c.Routes[0].Path = "/app#x" },
		`routes[0].path: "/a%20b" is percent-encoded`:        func(c *Config) { c.Routes[0].Path = "/a%20b" },
		`routes[0].path: "/app " has a control`:              func(c *Config) { c.Routes[0].Path = "/app " },
		`routes[0].path: "/a//b" has an empty`:               func(c *Config) { c.Routes[0].Path = "/a//b" },
		`routes[0].path: "/a/.." has an empty`:               func(c *Config) { c.Routes[0].Path = "/a/.." },
		`rate_limits[0].match.path: "/a?b" has a query`: func(c *Config) {
			c.RateLimits = []RateLimitConfig{{Name: "a", By: ByRoute, Path: "/a?b", Requests: 1}}
		},
		`pools[0].upstreams[0].max_connections: -1`:   func(c *Config) { c.Pools[0].Upstreams[0].MaxConnections = -1 },
		`routes[0].host: "https://desk.example.org"`:  func(c *Config) { c.Routes[0].Host = "https://desk.example.org" },
		`routes[0].path: "app" must begin`:            func(c *Config) { c.Routes[0].Path = "app" },
		`routes[0].pool: "wbe" is not one`:            func(c *Config) { c.Routes[0].Pool = "wbe" },
		`routes[1].path: "/" is routed twice for all`: func(c *Config) { c.Routes = append(c.Routes, c.Routes[0]) },
	} {
		c := good()
		change(&c)
		faults := c.Validate()
		if len(faults) != 1 || !strings.HasPrefix(faults[0].Key+": "+faults[0].Text, want) {
			t.Errorf("%v, not %s", faults, want)
		}
	}
}

// TestConfigsThatAreUnusualAreValid: each is near to one that is a fault.
func TestConfigsThatAreUnusualAreValid(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"IPv6":                   func(c *Config) { c.Pools[0].Upstreams[0].URL = "http://[::1]:8080" },
		"IPv6, default port":     func(c *Config) { c.Pools[0].Upstreams[0].URL = "http://[::1]" },
		"the highest port":       func(c *Config) { c.Pools[0].Upstreams[0].URL = "http://a:65535/" },
		"an id with a port":      func(c *Config) { c.Pools[0].Upstreams[0].ID = "web-1.example.org:80" },
		"a scheme in upper case": func(c *Config) { c.Pools[0].Upstreams[0].URL, c.Pools[0].TLS.ServerName = "HTTPS://a", "x" },
		"an address as name":     func(c *Config) { c.Pools[0].Upstreams[0].URL, c.Pools[0].TLS.ServerName = "https://a", "::1" },
		"http and https": func(c *Config) {
			c.Pools[0].Upstreams = append(c.Pools[0].Upstreams, UpstreamConfig{URL: "https://a"})
			c.Pools[0].TLS.ServerName = "a.example.org"
		},
		"a __Host- cookie": func(c *Config) {
			c.Pools[0].Affinity = &AffinityConfig{Cookie: "__Host-x", TTL: time.Hour, Path: "/"}
		},
		"the highest weight":     func(c *Config) { c.Pools[0].Upstreams[0].Weight = 256 },
		"a path with a space":    func(c *Config) { c.Routes[0].Path = "/My App/" },
		"a path in UTF-8":        func(c *Config) { c.Routes[0].Path = "/café" },
		"a path with three dots": func(c *Config) { c.Routes[0].Path = "/.../.well-known" },
	} {
		c := Config{Pools: []PoolConfig{{Name: "web", Upstreams: []UpstreamConfig{{URL: "http://10.0.0.21:8080"}}}}, Routes: []RouteConfig{{Path: "/", Pool: "web"}}}
		change(&c)
		if faults := c.Validate(); len(faults) > 0 {
			t.Errorf("%s: %v", name, faults)
		}
	}
}
