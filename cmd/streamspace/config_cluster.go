package main

import (
	"strings"
	"time"

	"github.com/streamspace-dev/streamspace-edge/cluster"
	"github.com/streamspace-dev/streamspace-edge/proxy/websocket"
)

// peersConfig is how an edge and the others of its cluster reach each other.
type peersConfig struct {
	URL    string          `yaml:"url"`     // under which the others reach this one: "https://HOST:PORT"
	CAFile string          `yaml:"ca_file"` // PEM roots for edges with a certificate of their own CA; empty: the system's
	Check  peerCheckConfig `yaml:"check"`
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

func (c peersConfig) validate(f *faults) {
	if c.URL == "" {
		f.add("cluster.url", "must be the address under which the other edges reach this one, like \"https://10.0.0.11:443\"")
	} else {
		checkURL(f, "cluster.url", c.URL)
	}
	if err := (websocket.Trust{CAFile: c.CAFile}).Check(); err != nil {
		f.add("cluster.ca_file", "%s", err)
	}
	if err := c.Check.options().Validate(); err != nil {
		key, text, _ := strings.Cut(err.Error(), ": ")
		f.add("cluster.check."+key, "%s", text)
	}
}
