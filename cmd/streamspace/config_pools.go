package main

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/streamspace-dev/streamspace-edge/api/auth"
	"github.com/streamspace-dev/streamspace-edge/balancer"
)

// poolConfig has the fields of balancer.PoolConfig.
type poolConfig struct {
	Name      string           `yaml:"name"`
	Policy    string           `yaml:"policy"`
	Hash      poolHash         `yaml:"hash"`
	Affinity  *affinityConfig  `yaml:"affinity"`
	Health    healthConfig     `yaml:"health"`
	Passive   passiveConfig    `yaml:"passive"`
	SlowStart duration         `yaml:"slow_start"`
	Queue     queueConfig      `yaml:"queue"`
	Retry     retryConfig      `yaml:"retry"`
	Timeouts  poolTimeouts     `yaml:"timeouts"`
	Drain     duration         `yaml:"drain"`
	TLS       upstreamTLS      `yaml:"tls"`
	Upstreams []upstreamConfig `yaml:"upstreams"`

	ProxyProtocol string `yaml:"proxy_protocol"`
}

type poolHash struct {
	By   string `yaml:"by"`
	Name string `yaml:"name"`
}

type affinityConfig struct {
	Cookie string   `yaml:"cookie"`
	TTL    duration `yaml:"ttl"`
	Path   string   `yaml:"path"`
}

type healthConfig struct {
	Path      string   `yaml:"path"`
	TCP       bool     `yaml:"tcp"`
	Interval  duration `yaml:"interval"`
	Timeout   duration `yaml:"timeout"`
	Healthy   int      `yaml:"healthy"`
	Unhealthy int      `yaml:"unhealthy"`
	Status    string   `yaml:"status"`
	Body      string   `yaml:"body"`
	Host      string   `yaml:"host"`
}

type passiveConfig struct {
	Failures int      `yaml:"failures"`
	Eject    duration `yaml:"eject"`
	MaxEject duration `yaml:"max_eject"`
	MaxOut   float64  `yaml:"max_out"`
	Panic    *float64 `yaml:"panic"` // nil: defaultPanic
}

// defaultPanic is the share of a pool below which so few upstreams are up that
// their checks are not believed.
const defaultPanic = 0.5

type queueConfig struct {
	Size    int      `yaml:"size"`
	Timeout duration `yaml:"timeout"`
}

type retryConfig struct {
	Attempts int     `yaml:"attempts"`
	Budget   float64 `yaml:"budget"`
}

type poolTimeouts struct {
	Connect duration `yaml:"connect"`
	Idle    duration `yaml:"idle"`
	Keep    duration `yaml:"keep"`
}

type upstreamTLS struct {
	CAFile     string `yaml:"ca_file"`
	CertFile   string `yaml:"cert_file"`
	KeyFile    string `yaml:"key_file"`
	ServerName string `yaml:"server_name"`
}

type upstreamConfig struct {
	ID             string `yaml:"id"`
	URL            string `yaml:"url"`
	Weight         int    `yaml:"weight"`
	MaxConnections int    `yaml:"max_connections"`
}

type routeConfig struct {
	Name string `yaml:"name"`
	Host string `yaml:"host"`
	Path string `yaml:"path"`
	Pool string `yaml:"pool"`

	RateLimits []rateLimitConfig `yaml:"rate_limits"`
}

// balancerConfig is what the config says to the balancer.
func (c *edgeConfig) balancerConfig() balancer.Config {
	b := balancer.Config{RateLimits: rateLimits(c.RateLimits)}
	for _, p := range c.Pools {
		b.Pools = append(b.Pools, p.balancer())
	}
	for _, r := range c.Routes {
		if r.Path == "" {
			r.Path = "/"
		}
		b.Routes = append(b.Routes, balancer.RouteConfig{Name: r.Name, Host: r.Host, Path: r.Path, Pool: r.Pool, RateLimits: rateLimits(r.RateLimits)})
	}
	for _, text := range c.TrustedProxies {
		if p, err := parseNetwork(text); err == nil { // validate tells the others
			b.Trusted = append(b.Trusted, p)
		}
	}
	return b
}

func (p poolConfig) balancer() balancer.PoolConfig {
	c := balancer.PoolConfig{
		Name: p.Name, Policy: balancer.Strategy(p.Policy), Hash: balancer.HashConfig(p.Hash),
		Health: balancer.HealthConfig{
			Path: p.Health.Path, TCP: p.Health.TCP, Interval: p.Health.Interval.std(), Timeout: p.Health.Timeout.std(),
			Healthy: p.Health.Healthy, Unhealthy: p.Health.Unhealthy, Status: p.Health.Status, Body: p.Health.Body, Host: p.Health.Host,
		},
		Passive: balancer.PassiveConfig{
			Failures: p.Passive.Failures, Eject: p.Passive.Eject.std(), MaxEject: p.Passive.MaxEject.std(), MaxOut: p.Passive.MaxOut, Panic: defaultPanic,
		},
		SlowStart: p.SlowStart.std(),
		Queue:     balancer.QueueConfig{Size: p.Queue.Size, Timeout: p.Queue.Timeout.std()},
		Retry:     balancer.RetryConfig(p.Retry),
		Timeouts:  balancer.Timeouts{Connect: p.Timeouts.Connect.std(), Idle: p.Timeouts.Idle.std(), Keep: p.Timeouts.Keep.std()},
		Drain:     p.Drain.std(),
		TLS:       balancer.TLSConfig(p.TLS),

		ProxyProtocol: p.ProxyProtocol,
	}
	if p.Passive.Panic != nil {
		c.Passive.Panic = *p.Passive.Panic
	}
	if a := p.Affinity; a != nil {
		c.Affinity = &balancer.AffinityConfig{Cookie: a.Cookie, TTL: a.TTL.std(), Path: a.Path}
		if a.Cookie == "" {
			c.Affinity.Cookie = "SSAFFINITY"
		}
		if a.TTL == 0 {
			c.Affinity.TTL = time.Hour
		}
		if a.Path == "" {
			c.Affinity.Path = "/"
		}
	}
	for _, u := range p.Upstreams {
		c.Upstreams = append(c.Upstreams, balancer.UpstreamConfig(u))
	}
	return c
}

func (c *edgeConfig) validateBalancer(f *faults) {
	for _, fault := range c.balancerConfig().Validate() {
		f.add(fault.Key, "%s", fault.Text)
	}
	for i, p := range c.Pools {
		key := fmt.Sprintf("pools[%d]", i)
		p.refuseZeros(f, key)
		if p.Affinity == nil {
			continue
		}
		cookie := balancer.AffinityConfig{Cookie: p.Affinity.Cookie}
		switch {
		case auth.IsLoginCookie(cookie.Cookie):
			f.add(key+".affinity.cookie", "%q is the console's own log-in cookie; choose another name, like SSAFFINITY", cookie.Cookie)
		case c.clustered() && cookie.Cookie == nodeCookieName:
			f.add(key+".affinity.cookie", "%q is the cookie by which the edges of a cluster keep viewers; choose another name, like SSAFFINITY", cookie.Cookie)
		case c.TLS.Off && cookie.SecureOnly():
			f.add(key+".affinity.cookie", "browsers take a cookie with the name %q over TLS only, which tls.off turns off; choose another name, like SSAFFINITY", cookie.Cookie)
		}
	}
	for i, r := range c.Routes {
		if path := []byte(r.Path); r.Host == "" && (isOwn(path) || isOwn(append(path, '/'))) {
			f.add(fmt.Sprintf("routes[%d].path", i), "%q is the edge's own on all hosts; give the route a host, or another path", r.Path)
		}
	}
	for i, text := range c.TrustedProxies {
		if _, err := parseNetwork(text); err != nil {
			f.add(fmt.Sprintf("trusted_proxies[%d]", i), "%s", err)
		}
	}
}

// refuseZeros tells of values that a 0 in the file does not turn off: the balancer
// takes it for one that was not given.
func (p poolConfig) refuseZeros(f *faults, pool string) {
	refuse := func(key string, zero bool, advice string) {
		if key = pool + "." + key; zero && f.has(key) {
			f.add(key, "0 is no value of it; %s", advice)
		}
	}
	const time = "write a time above 0, or leave it out"
	if p.Affinity != nil {
		refuse("affinity.ttl", p.Affinity.TTL == 0, "write 1s to 24h, or leave it out for 1h")
	}
	refuse("queue.size", p.Queue.Size == 0, "write 1 or more, or leave it out for 1000; queue.timeout bounds the wait")
	refuse("queue.timeout", p.Queue.Timeout == 0, time)
	refuse("retry.attempts", p.Retry.Attempts == 0, "1 sends each request once; left out it is 3")
	refuse("retry.budget", p.Retry.Budget == 0, "retry.attempts: 1 turns retries off; left out it is 0.2")
	refuse("timeouts.connect", p.Timeouts.Connect == 0, time)
	refuse("timeouts.idle", p.Timeouts.Idle == 0, time)
	refuse("timeouts.keep", p.Timeouts.Keep == 0, time)
	refuse("drain", p.Drain == 0, "write a time above 0, like 1s, or leave it out for 1h")
	refuse("health.interval", p.Health.Interval == 0, time)
	refuse("health.timeout", p.Health.Timeout == 0, time)
	refuse("health.healthy", p.Health.Healthy == 0, "write 1 or more, or leave it out for 2")
	refuse("health.unhealthy", p.Health.Unhealthy == 0, "write 1 or more, or leave it out for 2")
	refuse("passive.failures", p.Passive.Failures == 0, "write 1 or more, or leave it out for 5")
	refuse("passive.eject", p.Passive.Eject == 0, time)
	refuse("passive.max_eject", p.Passive.MaxEject == 0, time)
	refuse("passive.max_out", p.Passive.MaxOut == 0, "write a share above 0, or leave it out for 0.5")
	for i, u := range p.Upstreams {
		refuse(fmt.Sprintf("upstreams[%d].weight", i), u.Weight == 0, "write 1 to 256; an upstream that is to get nothing is disabled through the API, or left out")
	}
}

// parseNetwork takes an address or a network.
func parseNetwork(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		if addr, err := netip.ParseAddr(text); err == nil {
			return addr.Prefix(addr.BitLen())
		}
	}
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		return p, fmt.Errorf("%q is not a network; write it like \"10.0.0.0/8\" or \"192.0.2.7\"", text)
	case p.Bits() == 0:
		return p, fmt.Errorf("%q is everybody, who could then claim any address; name the proxies or their network", text)
	case p != p.Masked():
		return p, fmt.Errorf("%q is an address within a network; write \"%s\" for the network or \"%s\" for the address", text, p.Masked(), p.Addr())
	}
	return p, nil
}
