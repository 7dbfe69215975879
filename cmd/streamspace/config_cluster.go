package main

import (
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/streamspace-dev/streamspace-edge/cluster"
)

// peerURL is where the other edges and the agents reach this very edge; empty
// when the config does not say it.
func (c *edgeConfig) peerURL() string {
	if c.Cluster.URL != "" {
		return strings.TrimSuffix(c.Cluster.URL, "/")
	}
	scheme, address := "https", c.Listen.HTTPS
	if c.TLS.Off {
		scheme, address = "http", c.Listen.HTTP
	}
	if host, _, err := net.SplitHostPort(address); err == nil && host != "" {
		if ip, err := netip.ParseAddr(host); err != nil || !ip.IsUnspecified() {
			return scheme + "://" + address
		}
	}
	return strings.TrimSuffix(c.Node.Advertise, "/")
}

// peerCheckConfig has the fields of cluster.CheckConfig.
type peerCheckConfig struct {
	Interval  duration `yaml:"interval"`
	Timeout   duration `yaml:"timeout"`
	Healthy   int      `yaml:"healthy"`
	Unhealthy int      `yaml:"unhealthy"`
}

func (c peerCheckConfig) options() cluster.CheckConfig {
	return cluster.CheckConfig{
		Interval: time.Duration(c.Interval), Timeout: time.Duration(c.Timeout), Healthy: c.Healthy, Unhealthy: c.Unhealthy,
	}
}
