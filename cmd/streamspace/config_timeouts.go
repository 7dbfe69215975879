package main

import (
	"time"

	"github.com/streamspace-dev/streamspace-edge/listen"
)

// timeoutsConfig is how long clients may take. What is upgraded has none of
// these.
type timeoutsConfig struct {
	Header duration `yaml:"header"` // TLS handshake and header of one request, each
	Body   duration `yaml:"body"`   // between two reads of a request's body
	Idle   duration `yaml:"idle"`   // a kept-alive connection between requests
	Write  duration `yaml:"write"`  // in which a client takes nothing of an answer
}

func defaultTimeouts() timeoutsConfig {
	return timeoutsConfig{
		Header: duration(20 * time.Second), Body: duration(60 * time.Second),
		Idle: duration(75 * time.Second), Write: duration(30 * time.Second),
	}
}

// longestTimeout keeps all of them far below listen.WhileMoving.
const longestTimeout = 24 * time.Hour

func (c timeoutsConfig) validate(f *faults) {
	for _, t := range []struct {
		key  string
		time duration
	}{{"header", c.Header}, {"body", c.Body}, {"idle", c.Idle}, {"write", c.Write}} {
		checkDuration(f, "timeouts."+t.key, t.time, 100*time.Millisecond, longestTimeout)
	}
}

// accepting is what the public listeners accept connections by.
func (c *edgeConfig) accepting() listen.Options {
	o := listen.Options{Body: c.Timeouts.Body.std(), Write: c.Timeouts.Write.std()}
	for _, text := range c.Listen.ProxyProtocol {
		if p, err := parseNetwork(text); err == nil { // validate tells the others
			o.Proxies = append(o.Proxies, p)
		}
	}
	return o
}
