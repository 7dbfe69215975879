package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/streamspace-dev/streamspace-edge/accesslog"
	"github.com/streamspace-dev/streamspace-edge/balancer"
)

// accessLogConfig is where each request is told.
type accessLogConfig struct {
	File   string  `yaml:"file"`   // a path, or accesslog.Stdout; empty: off
	Sample float64 `yaml:"sample"` // the share of requests that are told
}

type limitsConfig struct {
	ConnectionsPerAddress int `yaml:"connections_per_address"` // 0: no bound
	SessionsPerUser       int `yaml:"sessions_per_user"`       // that have not ended, on all edges of one store; 0: no bound
}

// rateLimitConfig has the fields of balancer.RateLimitConfig.
type rateLimitConfig struct {
	Name     string         `yaml:"name"`
	By       string         `yaml:"by"`
	Header   string         `yaml:"header"`
	Match    rateLimitMatch `yaml:"match"`
	Requests int            `yaml:"requests"`
	Per      duration       `yaml:"per"`
	Burst    int            `yaml:"burst"`
}

type rateLimitMatch struct {
	Host string `yaml:"host"`
	Path string `yaml:"path"`
}

func rateLimits(configs []rateLimitConfig) []balancer.RateLimitConfig {
	var all []balancer.RateLimitConfig
	for _, c := range configs {
		all = append(all, balancer.RateLimitConfig{
			Name: c.Name, By: balancer.LimitBy(c.By), Header: c.Header, Host: c.Match.Host, Path: c.Match.Path,
			Requests: c.Requests, Per: c.Per.std(), Burst: c.Burst,
		})
	}
	return all
}

// hstsConfig makes browsers come by HTTPS only (RFC 6797).
type hstsConfig struct {
	MaxAge            duration `yaml:"max_age"` // 0: off
	IncludeSubdomains bool     `yaml:"include_subdomains"`
	Preload           bool     `yaml:"preload"`
}

// preloadAge is what the browsers' preload lists ask for.
const preloadAge = duration(365 * 24 * time.Hour)

// header is the value of Strict-Transport-Security; empty: none is sent.
func (c hstsConfig) header() string {
	if c.MaxAge == 0 {
		return ""
	}
	value := fmt.Sprintf("max-age=%d", int64(c.MaxAge.std()/time.Second))
	if c.IncludeSubdomains {
		value += "; includeSubDomains"
	}
	if c.Preload {
		value += "; preload"
	}
	return value
}

func (c *edgeConfig) validateWatch(f *faults) {
	a := c.AccessLog
	if f.has("access_log") && a.File == "" {
		f.add("access_log.file", "is missing; a path, or \"stdout\"")
	}
	if a.File != "" && a.File != accesslog.Stdout {
		if folder, err := os.Stat(filepath.Dir(a.File)); err != nil || !folder.IsDir() {
			f.add("access_log.file", "the folder of %q does not exist; make it, or choose another", a.File)
		}
	}
	if !(a.Sample >= 0 && a.Sample <= 1) { // also not a number
		f.add("access_log.sample", "%g is out of range; the share of requests that are told, 0 to 1", a.Sample)
	}
	checkBound(f, "limits.connections_per_address", c.Limits.ConnectionsPerAddress)
	checkBound(f, "limits.sessions_per_user", c.Limits.SessionsPerUser)
	h := c.TLS.HSTS
	checkDuration(f, "tls.hsts.max_age", h.MaxAge, 0, 0)
	switch {
	case h == hstsConfig{}:
	case c.TLS.Off:
		f.add("tls.hsts", "can't be used with tls.off: browsers believe it over HTTPS only")
	case h.MaxAge > 0 && h.MaxAge.std() < time.Second, h.MaxAge == 0:
		f.add("tls.hsts.max_age", "must be a second at least, like 4320h, which is 180 days")
	case h.Preload && (!h.IncludeSubdomains || h.MaxAge < preloadAge):
		f.add("tls.hsts.preload", "the lists take only hosts with include_subdomains and a max_age of 8760h or more")
	}
}
