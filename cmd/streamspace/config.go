package main

import (
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/streamspace-dev/streamspace-edge/balancer"
	"github.com/streamspace-dev/streamspace-edge/proxy"
)

// edgeConfig is the file of `streamspace edge`.
type edgeConfig struct {
	Listen  listenConfig  `yaml:"listen"`
	TLS     tlsConfig     `yaml:"tls"`
	Node    nodeConfig    `yaml:"node"`
	Store   storeConfig   `yaml:"store"`
	VNC     vncConfig     `yaml:"vnc"`
	Drain   drainConfig   `yaml:"drain"`
	Direct  directConfig  `yaml:"direct"`
	Agents  agentsConfig  `yaml:"agents"`
	Redis   *redisConfig  `yaml:"redis"`
	Cluster clusterConfig `yaml:"cluster"`
	Pools   []poolConfig  `yaml:"pools"`
	Routes  []routeConfig `yaml:"routes"`

	Timeouts timeoutsConfig `yaml:"timeouts"`

	TrustedProxies []string `yaml:"trusted_proxies"` // whose words about a client count

	AccessLog  accessLogConfig   `yaml:"access_log"`
	RateLimits []rateLimitConfig `yaml:"rate_limits"`
	Limits     limitsConfig      `yaml:"limits"`

	flags map[string]string // by key: the flag that set it, for errors to name; nil: all came from a file
}

// checkFlags validates a config that came from flags and names each fault by
// its flag.
func (c *edgeConfig) checkFlags() error {
	found := &faults{}
	c.validate(found)
	for i := range found.list {
		key, _, _ := strings.Cut(found.list[i].Path, "[")
		found.list[i].Path = c.called(key)
	}
	if len(found.list) > 0 {
		return &configError{File: "streamspace", Faults: found.list}
	}
	return nil
}

// called is what the person who runs the edge knows a key by.
func (c *edgeConfig) called(key string) string {
	if flag, ok := c.flags[key]; ok {
		return flag
	}
	return key
}

type listenConfig struct {
	HTTPS string `yaml:"https"`
	HTTP  string `yaml:"http"` // redirects to HTTPS; serves everything when TLS is off; empty: not opened
	Admin string `yaml:"admin"`

	HTTP2         bool     `yaml:"http2"`
	ProxyProtocol []string `yaml:"proxy_protocol"` // who may begin a connection with a PROXY header
}

type tlsConfig struct {
	CertFile   string `yaml:"cert_file"`
	KeyFile    string `yaml:"key_file"`
	SelfSigned bool   `yaml:"self_signed"`
	Off        bool   `yaml:"off"`
	ACME       *later `yaml:"acme"`

	HSTS hstsConfig `yaml:"hsts"`
}

type nodeConfig struct {
	ID        string `yaml:"id"`
	DataDir   string `yaml:"data_dir"`  // of what the edge makes itself; empty: beside the database, or defaultDataDir
	Advertise string `yaml:"advertise"` // the public address of the installation; empty: what the browser asked for
}

type vncConfig struct {
	MaxStreams           int `yaml:"max_streams"`
	MaxStreamsPerSession int `yaml:"max_streams_per_session"` // 0: no bound
	MaxStreamsPerUser    int `yaml:"max_streams_per_user"`    // of all the sessions that a user owns; 0: no bound

	Bandwidth   bandwidthConfig `yaml:"bandwidth"`
	ClipboardIn bool            `yaml:"clipboard_in"` // what viewers paste reaches desktops

	TicketTTL      duration `yaml:"ticket_ttl"`
	AllowedOrigins []string `yaml:"allowed_origins"`
	IdleTimeout    duration `yaml:"idle_timeout"` // what a session without its own gets; 0: never
	MaxDuration    duration `yaml:"max_duration"` // the same; 0: no end
}

// bandwidthConfig limits what viewers are sent, in bytes a second. 0: no limit.
type bandwidthConfig struct {
	PerStream byteRate `yaml:"per_stream"`
	PerNode   byteRate `yaml:"per_node"`
}

// slowest is the smallest limit of bandwidth: below it not even a terminal can
// be worked with.
const slowest byteRate = 10_000

type drainConfig struct {
	Timeout duration `yaml:"timeout"`
}

type directConfig struct {
	Allow     []string               `yaml:"allow"`
	Passwords []directPasswordConfig `yaml:"passwords"`
	CAFile    string                 `yaml:"ca_file"` // for wss:// endpoints; empty: the system's roots
}

// directPasswordConfig has the fields of proxy.Password.
type directPasswordConfig struct {
	Endpoint string `yaml:"endpoint"`
	User     string `yaml:"user"`
	File     string `yaml:"file"`
}

func (c directConfig) options() proxy.DirectConfig {
	o := proxy.DirectConfig{Allow: c.Allow, CAFile: c.CAFile}
	for _, p := range c.Passwords {
		o.Passwords = append(o.Passwords, proxy.Password(p))
	}
	return o
}

type agentsConfig struct {
	Strategy  string   `yaml:"strategy"`
	Headroom  float64  `yaml:"headroom"`
	LostAfter duration `yaml:"lost_after"` // an unreachable session is lost after this
	Lost      string   `yaml:"lost"`       // what becomes of it: lostFail or lostRestart
}

// Values of agentsConfig.Lost.
const (
	lostFail    = "fail"
	lostRestart = "restart"
)

// later marks a key of the public config that this version does not serve yet:
// setting it is a fault, so that nobody believes it works.
type later struct{}

func defaultEdgeConfig() *edgeConfig {
	host, err := os.Hostname()
	if err != nil {
		host = "edge"
	}
	return &edgeConfig{
		Listen: listenConfig{HTTPS: ":443", HTTP: ":80", Admin: "127.0.0.1:9090", HTTP2: true},
		Node:   nodeConfig{ID: host},
		Store:  storeConfig{SQLite: sqliteConfig{Path: "/var/lib/streamspace/streamspace.db"}},
		VNC:    vncConfig{MaxStreams: 1000, ClipboardIn: true, TicketTTL: duration(time.Hour)},
		Drain:  drainConfig{Timeout: duration(30 * time.Second)},
		Agents: agentsConfig{Strategy: "weighted_least_connections", Headroom: 0.2, LostAfter: duration(10 * time.Minute), Lost: lostFail},

		Timeouts:  defaultTimeouts(),
		AccessLog: accessLogConfig{Sample: 1},
	}
}

// allowedOrigins are those whose pages may use the edge beside the one that a
// request is sent to.
func (c *edgeConfig) allowedOrigins() []string {
	origins := slices.Clone(c.VNC.AllowedOrigins)
	if c.Node.Advertise != "" {
		origins = append(origins, strings.TrimSuffix(c.Node.Advertise, "/"))
	}
	return origins
}

var nameRule = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

func (c *edgeConfig) validate(f *faults) {
	if c.TLS.Off && c.flags == nil && !f.has("listen.https") {
		c.Listen.HTTPS = "" // the default is for TLS
	}
	c.validateListen(f)
	c.validateTLS(f)
	c.Timeouts.validate(f)
	if !nameRule.MatchString(c.Node.ID) {
		f.add("node.id", "%q is not a name; use 1 to 63 letters, digits, dots, dashes and underscores", c.Node.ID)
	}
	if c.Node.Advertise != "" {
		checkURL(f, "node.advertise", c.Node.Advertise)
	}
	c.Store.validate(f)
	if c.VNC.MaxStreams < 1 {
		f.add("vnc.max_streams", "%d is too small; at least 1", c.VNC.MaxStreams)
	}
	checkBound(f, "vnc.max_streams_per_session", c.VNC.MaxStreamsPerSession)
	checkBound(f, "vnc.max_streams_per_user", c.VNC.MaxStreamsPerUser)
	checkRate(f, "vnc.bandwidth.per_stream", c.VNC.Bandwidth.PerStream)
	checkRate(f, "vnc.bandwidth.per_node", c.VNC.Bandwidth.PerNode)
	checkDuration(f, "vnc.ticket_ttl", c.VNC.TicketTTL, 10*time.Second, 24*time.Hour)
	checkDuration(f, "vnc.idle_timeout", c.VNC.IdleTimeout, 0, 0)
	checkDuration(f, "vnc.max_duration", c.VNC.MaxDuration, 0, 0)
	checkDuration(f, "drain.timeout", c.Drain.Timeout, 0, time.Hour)
	checkDuration(f, "agents.lost_after", c.Agents.LostAfter, time.Second, 0)
	if c.Agents.Lost != lostFail && c.Agents.Lost != lostRestart {
		f.add("agents.lost", "%q is unknown; %s or %s", c.Agents.Lost, lostFail, lostRestart)
	}
	for i, origin := range c.VNC.AllowedOrigins {
		if err := proxy.CheckOrigin(origin); err != nil {
			f.add(fmt.Sprintf("vnc.allowed_origins[%d]", i), "%s", err)
		}
	}
	for _, bad := range c.Direct.options().Validate() {
		f.add("direct."+bad.Key, "%s", bad.Text)
	}
	if _, err := balancer.ParseStrategy(c.Agents.Strategy); err != nil {
		f.add("agents.strategy", "%s", err)
	}
	if h := c.Agents.Headroom; !(h >= 0 && h < 1) { // so that .nan is out of range too
		f.add("agents.headroom", "%g is out of range; a share from 0 to below 1, 0.2 keeps a fifth free", h)
	}
	c.validateCluster(f)
	c.Redis.validate(f)
	c.validateBalancer(f)
	c.validateWatch(f)
	for _, path := range []string{"tls.acme"} {
		if f.has(path) {
			f.add(path, "this version does not support it yet; remove it")
		}
	}
}

func (c *edgeConfig) validateListen(f *faults) {
	all := []struct{ key, address string }{
		{"listen.https", c.Listen.HTTPS}, {"listen.http", c.Listen.HTTP}, {"listen.admin", c.Listen.Admin},
	}
	for i, l := range all {
		checkListen(f, l.key, l.address)
		for _, other := range all[:i] {
			if overlap(l.address, other.address) {
				f.add(l.key, "%q is the port of %s (%q); choose another", l.address, c.called(other.key), other.address)
			}
		}
	}
	for i, text := range c.Listen.ProxyProtocol {
		if _, err := parseNetwork(text); err != nil {
			f.add(fmt.Sprintf("listen.proxy_protocol[%d]", i), "%s", err)
		}
	}
	if !c.TLS.Off && c.Listen.HTTPS == "" {
		f.add("listen.https", "must be an address; or set tls.off to serve without TLS")
	}
	if c.TLS.Off && c.Listen.HTTP == "" {
		f.add("listen.http", "must be an address when tls.off is set")
	}
}

func (c *edgeConfig) validateTLS(f *faults) {
	files := c.TLS.CertFile != "" || c.TLS.KeyFile != ""
	chosen := 0
	for _, on := range []bool{files, c.TLS.SelfSigned, c.TLS.Off, f.has("tls.acme")} {
		if on {
			chosen++
		}
	}
	switch {
	case chosen == 0:
		f.add("tls", "choose one: cert_file and key_file, self_signed: true, or off: true")
	case chosen > 1:
		f.add("tls", "choose only one of cert_file with key_file, self_signed and off")
	case files && c.TLS.CertFile == "":
		f.add("tls.cert_file", "is missing beside key_file")
	case files && c.TLS.KeyFile == "":
		f.add("tls.key_file", "is missing beside cert_file")
	case files:
		if _, err := loadKeyPair(c.TLS.CertFile, c.TLS.KeyFile); err != nil {
			f.add(err.key, "%s", err.text)
		}
	}
}

// checkListen takes an empty address too: it is not opened.
func checkListen(f *faults, path, address string) {
	if address == "" {
		return
	}
	if _, port, err := net.SplitHostPort(address); err != nil {
		f.add(path, "%q is not an address; write \"HOST:PORT\" or \":PORT\"", address)
	} else if _, err := net.LookupPort("tcp", port); err != nil {
		f.add(path, "%q has no valid port; 0 to 65535", address)
	}
}

// overlap tells whether no two listeners can have these addresses. Names of
// hosts are not looked up; empty and wrong addresses overlap with none, nor does
// port 0.
func overlap(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil {
		return false
	}
	numberA, errA := net.LookupPort("tcp", portA)
	numberB, errB := net.LookupPort("tcp", portB)
	every := func(host string) bool { return host == "" || net.ParseIP(host).IsUnspecified() }
	return errA == nil && errB == nil && numberA == numberB && numberA != 0 &&
		(every(hostA) || every(hostB) || strings.EqualFold(hostA, hostB))
}

func checkBound(f *faults, path string, n int) {
	if n < 0 {
		f.add(path, "%d is too small; at least 1, or 0 for no bound", n)
	}
}

func checkRate(f *faults, path string, rate byteRate) {
	if rate != 0 && rate < slowest {
		f.add(path, "%d bytes a second is too slow; at least 10KB, or 0 for no limit", rate)
	}
}

// checkURL wants the origin of one host; a slash may end it.
func checkURL(f *faults, path, text string) {
	if strings.Contains(text, "*") || proxy.CheckOrigin(strings.TrimSuffix(text, "/")) != nil {
		f.add(path, "%q is not an origin; write it like \"https://desk.example.org\"", text)
	}
}

// checkDuration wants low <= d, and d <= high unless high is 0.
func checkDuration(f *faults, path string, d duration, low, high time.Duration) {
	switch v := time.Duration(d); {
	case v < low:
		f.add(path, "%s is too short; at least %s", v, low)
	case high > 0 && v > high:
		f.add(path, "%s is too long; at most %s", v, high)
	}
}
