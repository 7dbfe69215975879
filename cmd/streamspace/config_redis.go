package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/streamspace-dev/streamspace-edge/proxy/rfb"
	"github.com/streamspace-dev/streamspace-edge/store/redis"
)

// redisConfig says by which Redis the edges know of each other. Passwords are in
// files only.
type redisConfig struct {
	Addrs          []string `yaml:"addrs"`
	SentinelMaster string   `yaml:"sentinel_master"` // addrs are Sentinels that watch it
	Cluster        bool     `yaml:"cluster"`         // several addrs are a Cluster without it

	Username             string `yaml:"username"`
	PasswordFile         string `yaml:"password_file"`
	SentinelUsername     string `yaml:"sentinel_username"`
	SentinelPasswordFile string `yaml:"sentinel_password_file"`

	TLS       *redisTLSConfig `yaml:"tls"` // nil: plain TCP
	DB        int             `yaml:"db"`
	KeyPrefix *string         `yaml:"key_prefix"` // nil: defaultKeyPrefix
	Timeout   duration        `yaml:"timeout"`    // 0: store/redis's default
}

type redisTLSConfig struct {
	CAFile     string `yaml:"ca_file"` // empty: the system's roots
	CertFile   string `yaml:"cert_file"`
	KeyFile    string `yaml:"key_file"`
	ServerName string `yaml:"server_name"` // empty: the host of each address
}

const defaultKeyPrefix = "streamspace:"

func (c *redisConfig) validate(f *faults) {
	if c == nil {
		return
	}
	if len(c.Addrs) == 0 {
		f.add("redis.addrs", "at least one is needed, like \"10.0.0.5:6379\"")
	}
	for i, addr := range c.Addrs {
		host, port, err := net.SplitHostPort(addr)
		if err == nil && host != "" {
			_, err = net.LookupPort("tcp", port)
		}
		if err != nil || host == "" {
			f.add(fmt.Sprintf("redis.addrs[%d]", i), "%q is not an address; write \"HOST:PORT\"", addr)
		}
	}
	isCluster := c.SentinelMaster == "" && (c.Cluster || len(c.Addrs) > 1)
	switch {
	case c.Cluster && c.SentinelMaster != "":
		f.add("redis.cluster", "has no meaning with sentinel_master; remove one of them")
	case isCluster && c.DB != 0:
		f.add("redis.db", "%d can't be used: a Redis Cluster has database 0 only, and several addrs without sentinel_master are a Cluster", c.DB)
	case c.DB < 0:
		f.add("redis.db", "%d is too small; at least 0", c.DB)
	}
	c.validatePasswords(f)
	if c.KeyPrefix != nil && strings.ContainsAny(*c.KeyPrefix, "{}") {
		f.add("redis.key_prefix", "%q has a brace, which would keep all keys on one master of a Cluster; use another", *c.KeyPrefix)
	}
	if f.has("redis.timeout") {
		checkDuration(f, "redis.timeout", c.Timeout, 10*time.Millisecond, 10*time.Second)
	}
	if c.TLS != nil {
		if _, err := c.TLS.load(); err != nil {
			f.add(err.key, "%s", err.text)
		}
	}
}

func (c *redisConfig) validatePasswords(f *faults) {
	if c.Username != "" && c.PasswordFile == "" {
		f.add("redis.password_file", "is missing beside username")
	}
	if c.SentinelMaster == "" && (c.SentinelUsername != "" || c.SentinelPasswordFile != "") {
		f.add("redis.sentinel_master", "is missing beside sentinel_username and sentinel_password_file")
	}
	if c.SentinelUsername != "" && c.SentinelPasswordFile == "" {
		f.add("redis.sentinel_password_file", "is missing beside sentinel_username")
	}
	for key, file := range map[string]string{"redis.password_file": c.PasswordFile, "redis.sentinel_password_file": c.SentinelPasswordFile} {
		if file == "" {
			continue
		}
		if _, err := rfb.ReadPassword(file); err != nil {
			f.add(key, "%s", err)
		}
	}
}

// load is a client's TLS config. The error names the key.
func (c *redisTLSConfig) load() (*tls.Config, *keyPairError) {
	t := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.ServerName}
	if c.CAFile != "" {
		roots, err := readRoots(c.CAFile)
		if err != nil {
			return nil, &keyPairError{"redis.tls.ca_file", err.Error()}
		}
		t.RootCAs = roots
	}
	switch {
	case c.CertFile == "" && c.KeyFile == "":
	case c.CertFile == "":
		return nil, &keyPairError{"redis.tls.cert_file", "is missing beside key_file"}
	case c.KeyFile == "":
		return nil, &keyPairError{"redis.tls.key_file", "is missing beside cert_file"}
	default:
		pair, err := loadKeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return nil, &keyPairError{"redis." + err.key, err.text}
		}
		t.Certificates = []tls.Certificate{*pair}
	}
	return t, nil
}

// options are what Open of store/redis takes, but for log and metrics.
func (c *redisConfig) options() (redis.Options, error) {
	o := redis.Options{
		Addrs: c.Addrs, SentinelMaster: c.SentinelMaster, Cluster: c.Cluster,
		Username: c.Username, SentinelUsername: c.SentinelUsername,
		DB: c.DB, KeyPrefix: defaultKeyPrefix, Timeout: c.Timeout.std(),
	}
	if c.KeyPrefix != nil {
		o.KeyPrefix = *c.KeyPrefix
	}
	if c.PasswordFile != "" {
		o.Password = func() (string, error) { return rfb.ReadPassword(c.PasswordFile) }
	}
	if c.SentinelPasswordFile != "" {
		var err error
		if o.SentinelPassword, err = rfb.ReadPassword(c.SentinelPasswordFile); err != nil {
			return o, fmt.Errorf("redis.sentinel_password_file: %w", err)
		}
	}
	if c.TLS != nil {
		var fault *keyPairError
		if o.TLS, fault = c.TLS.load(); fault != nil {
			return o, fmt.Errorf("%s: %s", fault.key, fault.text)
		}
	}
	return o, nil
}

// openCoord connects to Redis where the config has it. An edge also starts while
// that is away.
func (e *edge) openCoord(ctx context.Context) error {
	if e.config.Redis == nil {
		return nil
	}
	o, err := e.config.Redis.options()
	if err != nil {
		return err
	}
	o.Log = e.log.Named("redis")
	o.Metrics = redis.NewMetrics(e.registry)
	alone := e.coord
	e.coord = redis.Open(ctx, o)
	return alone.Close()
}
