package balancer

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Config is everything that a balancer serves by. It is replaced as a whole.
type Config struct {
	Pools   []PoolConfig
	Routes  []RouteConfig
	Trusted []netip.Prefix // of proxies whose words about a client count

	RateLimits []RateLimitConfig // beside those of the routes; also for the edge's own pages
}

// RouteConfig sends requests to a pool.
type RouteConfig struct {
	Name string // in metrics and logs; "": host and path
	Host string // "desk.example.org", or "*.example.org" for one label before it; "": every host
	Path string // "/app/": all below it; "/app": that and all below it
	Pool string

	RateLimits []RateLimitConfig
}

// PoolConfig is a named group of upstreams.
type PoolConfig struct {
	Name      string
	Policy    Strategy // one of PoolStrategies
	Hash      HashConfig
	Affinity  *AffinityConfig // nil: none
	Health    HealthConfig
	Passive   PassiveConfig
	SlowStart time.Duration // over which an upstream that came back gets to its whole share; 0: at once
	Queue     QueueConfig
	Retry     RetryConfig
	Timeouts  Timeouts
	Drain     time.Duration // how long a draining upstream keeps its clients; 0: 1 h
	TLS       TLSConfig
	Upstreams []UpstreamConfig

	ProxyProtocol string // "v1" or "v2": connections begin with the client's address; "": none
}

// HashConfig is what the hash policy goes by.
type HashConfig struct {
	By   string // "address" (also ""), "header" or "cookie"
	Name string // of the header or the cookie
}

// QueueConfig bounds the requests that wait because all upstreams are full.
type QueueConfig struct {
	Size    int           // 0: 1000
	Timeout time.Duration // 0: 5 s
}

// RetryConfig bounds how often requests are sent again.
type RetryConfig struct {
	Attempts int     // for one request, the first one included; 0: 3
	Budget   float64 // retries in proportion to requests; 0: 0.2
}

// Timeouts of a pool. What is upgraded has none of them.
type Timeouts struct {
	Connect time.Duration // TCP and TLS; 0: 5 s
	Idle    time.Duration // between two reads or writes of an upstream's connection, so also for the first byte of its answer; 0: 60 s
	Keep    time.Duration // how long a connection waits for its next request; 0: 60 s
}

// TLSConfig is how the edge meets https:// upstreams.
type TLSConfig struct {
	CAFile            string // roots; "": the system's
	CertFile, KeyFile string // of the edge's client certificate; "": none
	ServerName        string // for SNI and the check of the certificate; "": the URL's host
}

// UpstreamConfig is one backend server.
type UpstreamConfig struct {
	ID             string // in the API and in metrics; "": the URL's "host:port"
	URL            string // "http://10.0.0.21:8080" or "https://…", without a path
	Weight         int    // 1 to 256, as in an upstream's own Streamspace-Weight; 0: 1
	MaxConnections int    // requests and upgraded connections at once; 0: no bound
}

const (
	defaultQueue     = 1000
	defaultQueueTime = 5 * time.Second
	defaultAttempts  = 3
	defaultBudget    = 0.2
	defaultConnect   = 5 * time.Second
	defaultIdle      = 60 * time.Second
	defaultDrain     = time.Hour
)

func (c PoolConfig) withDefaults() PoolConfig {
	setDefault(&c.Policy, LeastConnections)
	setDefault(&c.Queue.Size, defaultQueue)
	setDefault(&c.Queue.Timeout, defaultQueueTime)
	setDefault(&c.Retry.Attempts, defaultAttempts)
	setDefault(&c.Retry.Budget, defaultBudget)
	setDefault(&c.Timeouts.Connect, defaultConnect)
	setDefault(&c.Timeouts.Idle, defaultIdle)
	setDefault(&c.Timeouts.Keep, defaultIdle)
	setDefault(&c.Drain, defaultDrain)
	c.Upstreams = slices.Clone(c.Upstreams)
	for i := range c.Upstreams {
		u := &c.Upstreams[i]
		setDefault(&u.Weight, 1)
		if at, err := url.Parse(u.URL); err == nil {
			setDefault(&u.ID, hostPort(at))
		}
	}
	return c
}

func setDefault[T comparable](value *T, otherwise T) {
	var zero T
	if *value == zero {
		*value = otherwise
	}
}

func hostPort(u *url.URL) string {
	if u.Port() != "" {
		return u.Host
	}
	if u.Scheme == "https" {
		return u.Host + ":443"
	}
	return u.Host + ":80"
}

// Validate tells everything that is wrong with the config. The faults' keys are
// paths below Config: "pools[0].upstreams[1].url".
func (c Config) Validate() []Fault {
	f := &configFaults{}
	names := map[string]bool{}
	for i, p := range c.Pools {
		f.under(fmt.Sprintf("pools[%d].", i), func() { p.validate(f, names) })
	}
	seen, labels, limits := map[[2]string]bool{}, map[string]bool{}, map[string]bool{}
	for i, r := range c.Routes {
		f.under(fmt.Sprintf("routes[%d].", i), func() {
			r.validate(f, names, seen, labels)
			for j, l := range r.RateLimits {
				f.under(fmt.Sprintf("rate_limits[%d].", j), func() { l.validate(f, limits, true) })
			}
		})
	}
	for i, l := range c.RateLimits {
		f.under(fmt.Sprintf("rate_limits[%d].", i), func() { l.validate(f, limits, false) })
	}
	if len(f.list) == 0 {
		c.sharedCookies(f)
	}
	return f.list
}

type configFaults struct {
	prefix string
	list   []Fault
}

func (f *configFaults) under(prefix string, check func()) {
	before := f.prefix
	f.prefix += prefix
	check()
	f.prefix = before
}

func (f *configFaults) add(key, format string, args ...any) {
	f.list = append(f.list, Fault{Key: strings.TrimSuffix(f.prefix+key, "."), Text: fmt.Sprintf(format, args...)})
}

func (f *configFaults) of(section string, faults []Fault) {
	for _, fault := range faults {
		f.add(section+"."+fault.Key, "%s", fault.Text)
	}
}

var aName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// checkName adds a name to those that are given; twice says of one that is there
// already what it is.
func (f *configFaults) checkName(name string, given map[string]bool, twice string) {
	switch {
	case !aName.MatchString(name):
		f.add("name", "%q is not a name; use 1 to 63 letters, digits, dots, dashes and underscores", name)
	case given[name]:
		f.add("name", "%q is %s", name, twice)
	}
	given[name] = true
}

func (c PoolConfig) validate(f *configFaults, names map[string]bool) {
	f.checkName(c.Name, names, "given twice; a route names its pool")
	if _, err := ParsePoolStrategy(string(orElse(c.Policy, LeastConnections))); err != nil {
		f.add("policy", "%s", err)
	}
	switch {
	case !slices.Contains([]string{"", "address", "header", "cookie"}, c.Hash.By):
		f.add("hash.by", "%q is not one of: address, header, cookie", c.Hash.By)
	case (c.Hash.By == "header" || c.Hash.By == "cookie") && c.Hash.Name == "":
		f.add("hash.name", "is missing; it names the %s", c.Hash.By)
	case c.Hash != HashConfig{} && c.Policy != Hash:
		f.add("hash", "has no meaning with the policy %s; set policy: hash", orElse(c.Policy, LeastConnections))
	}
	if c.Affinity != nil {
		f.of("affinity", c.Affinity.Validate())
	}
	f.of("health", c.Health.Validate())
	f.of("passive", c.Passive.Validate())
	notNegative := func(key string, d time.Duration) {
		if d < 0 {
			f.add(key, "%s is negative", d)
		}
	}
	notNegative("slow_start", c.SlowStart)
	notNegative("queue.timeout", c.Queue.Timeout)
	notNegative("timeouts.connect", c.Timeouts.Connect)
	notNegative("timeouts.idle", c.Timeouts.Idle)
	notNegative("timeouts.keep", c.Timeouts.Keep)
	notNegative("drain", c.Drain)
	if c.Queue.Size < 0 {
		f.add("queue.size", "%d is negative; it is how many requests may wait", c.Queue.Size)
	}
	if c.Retry.Attempts < 0 {
		f.add("retry.attempts", "%d is negative; 1 sends each request once", c.Retry.Attempts)
	}
	if !(c.Retry.Budget >= 0 && c.Retry.Budget <= 1) { // also not a number
		f.add("retry.budget", "%g is out of range; it is retries in proportion to requests, 0 to 1", c.Retry.Budget)
	}
	switch _, err := c.TLS.config("upstream"); {
	case err != nil:
		f.add("tls."+err.key, "%s", err.text)
	case c.TLS.ServerName != "" && badServerName(c.TLS.ServerName):
		f.add("tls.server_name", "%q is not the name of a host; write it without scheme and port, like \"app.example.org\"", c.TLS.ServerName)
	case c.TLS != TLSConfig{} && allPlain(c.Upstreams):
		f.add("tls", "has no meaning for upstreams with http:// only; write https:// in their url, or remove it")
	}
	if !slices.Contains([]string{"", proxyV1, proxyV2}, c.ProxyProtocol) {
		f.add("proxy_protocol", "%q is not one of: v1, v2", c.ProxyProtocol)
	}
	if len(c.Upstreams) == 0 {
		f.add("upstreams", "at least one is needed, like {url: \"http://10.0.0.21:8080\"}")
	}
	ids := map[string]bool{}
	for i, u := range c.withDefaults().Upstreams {
		f.under(fmt.Sprintf("upstreams[%d].", i), func() { u.validate(f, ids) })
	}
}

func (c UpstreamConfig) validate(f *configFaults, ids map[string]bool) {
	if badUpstreamURL(c.URL) {
		f.add("url", "%q is not an upstream; write it like \"http://10.0.0.21:8080\"", c.URL)
		return
	}
	if at, err := url.Parse(c.URL); err == nil && c.ID != hostPort(at) && !upstreamID.MatchString(c.ID) {
		f.add("id", "%q is not an id; it is part of addresses of the API, so use 1 to 127 letters, digits, dots, colons, dashes and underscores", c.ID)
	}
	if ids[c.ID] {
		f.add("url", "%q is there twice; give one of them another id, or one of them more weight", c.ID)
	}
	ids[c.ID] = true
	if c.Weight < 0 || c.Weight > maxWeight {
		f.add("weight", "%d is out of range; 1 to %d", c.Weight, maxWeight)
	}
	if c.MaxConnections < 0 {
		f.add("max_connections", "%d is negative; 0 is no bound", c.MaxConnections)
	}
}

// label is the route's name in metrics and logs.
func (c RouteConfig) label() string { return orElse(c.Name, strings.ToLower(c.Host)+c.Path) }

func (c RouteConfig) validate(f *configFaults, pools map[string]bool, seen map[[2]string]bool, labels map[string]bool) {
	if c.Name != "" {
		f.checkName(c.Name, labels, "the name of another route")
	}
	if strings.ContainsAny(strings.TrimPrefix(c.Host, "*."), "*/:@ ") {
		f.add("host", "%q is not a host; write it without scheme and port, like \"desk.example.org\" or \"*.example.org\"", c.Host)
	}
	f.checkPath("path", c.Path)
	if !pools[c.Pool] {
		f.add("pool", "%q is not one of pools", c.Pool)
	}
	key := [2]string{strings.ToLower(c.Host), c.Path}
	if seen[key] {
		hosts := "for all hosts"
		if c.Host != "" {
			hosts = fmt.Sprintf("for the host %q", c.Host)
		}
		f.add("path", "%q is routed twice %s; the first would always win", c.Path, hosts)
	}
	seen[key] = true
}

func orElse[T comparable](value, otherwise T) T {
	setDefault(&value, otherwise)
	return value
}

// fingerprint tells whether the files have changed. One that can't be read counts
// as empty: whether it can is for config to tell.
func (c TLSConfig) fingerprint() [sha256.Size]byte {
	sum := sha256.New()
	for _, file := range []string{c.CAFile, c.CertFile, c.KeyFile} {
		text, _ := os.ReadFile(file)
		one := sha256.Sum256(text)
		_, _ = sum.Write(one[:])
	}
	return [sha256.Size]byte(sum.Sum(nil))
}

type keyFault struct{ key, text string }

// config is a client's TLS config for host.
func (c TLSConfig) config(host string) (*tls.Config, *keyFault) {
	t := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, ServerName: orElse(c.ServerName, host)}
	if c.CAFile != "" {
		text, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, &keyFault{"ca_file", "can't be read: " + err.Error()}
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(text) {
			return nil, &keyFault{"ca_file", c.CAFile + " has no certificate in PEM form"}
		}
	}
	switch {
	case c.CertFile == "" && c.KeyFile == "":
		return t, nil
	case c.CertFile == "":
		return nil, &keyFault{"cert_file", "is missing beside key_file"}
	case c.KeyFile == "":
		return nil, &keyFault{"key_file", "is missing beside cert_file"}
	}
	pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
	if err != nil {
		return nil, &keyFault{"cert_file", "can't be used with key_file: " + err.Error()}
	}
	t.Certificates = []tls.Certificate{pair}
	return t, nil
}
