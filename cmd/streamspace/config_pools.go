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
		if p.Affinity != nil && auth.IsLoginCookie(p.Affinity.Cookie) {
			f.add(fmt.Sprintf("pools[%d].affinity.cookie", i), "%q is the console's own log-in cookie; choose another name, like SSAFFINITY", p.Affinity.Cookie)
		}
	}
	for i, text := range c.TrustedProxies {
		if _, err := parseNetwork(text); err != nil {
			f.add(fmt.Sprintf("trusted_proxies[%d]", i), "%s", err)
		}
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
	if err != nil {
		return p, fmt.Errorf("%q is not a network; write it like \"10.0.0.0/8\" or \"192.0.2.7\"", text)
	}
	return p.Masked(), nil
}
