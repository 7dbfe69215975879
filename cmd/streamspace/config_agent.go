package main

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/streamspace-dev/streamspace-edge/proxy/agent"
	"github.com/streamspace-dev/streamspace-edge/session"
)

// agentConfig is the file of `streamspace agent`.
type agentConfig struct {
	Edge       oneOrMore         `yaml:"edge"` // "https://edge.example.org"
	Name       string            `yaml:"name"`
	TokenFile  string            `yaml:"token_file"`
	TLS        agentTLSConfig    `yaml:"tls"`
	Data       string            `yaml:"data"`
	Capacity   int               `yaml:"capacity"` // sessions at once
	Weight     int               `yaml:"weight"`
	Labels     map[string]string `yaml:"labels"`
	OnShutdown string            `yaml:"on_shutdown"`
	Runtimes   []runtimeConfig   `yaml:"runtimes"`
}

type agentTLSConfig struct {
	CAFile string `yaml:"ca_file"` // instead of the system's roots
}

type runtimeConfig struct {
	Name         string            `yaml:"name"`
	Type         string            `yaml:"type"`
	Command      []string          `yaml:"command"`
	Desktop      []string          `yaml:"desktop"`
	Env          map[string]string `yaml:"env"`
	Endpoints    []endpointConfig  `yaml:"endpoints"`
	Slots        *int              `yaml:"slots"` // nil: only the agent's capacity binds
	StartTimeout duration          `yaml:"start_timeout"`
}

type endpointConfig struct {
	Name         string `yaml:"name"`
	Address      string `yaml:"address"`
	PasswordFile string `yaml:"password_file"`
	User         string `yaml:"user"`
	CAFile       string `yaml:"ca_file"`
	Pin          string `yaml:"pin"`
}

// What an agent does with its sessions when it is told to stop.
const (
	keepSessions = "keep" // they run on; the next start adopts them
	endSessions  = "end"  // they end with it
)

func defaultAgentConfig() *agentConfig {
	host, err := os.Hostname()
	if err != nil {
		host = "agent"
	}
	return &agentConfig{
		Name:       host,
		Data:       "/var/lib/streamspace-agent",
		Capacity:   20, // sessions on a host of 8 cores and 32 GB
		Weight:     1,
		OnShutdown: keepSessions,
		Runtimes:   []runtimeConfig{{Name: "process", Type: "process"}},
	}
}

func (c *agentConfig) validate(f *faults) {
	c.validateEdge(f)
	if !nameRule.MatchString(c.Name) {
		f.add("name", "%q is not a name; use 1 to 63 letters, digits, dots, dashes and underscores", c.Name)
	}
	if c.TokenFile == "" {
		f.add("token_file", "must name the file that holds the join token")
	} else if _, err := readToken(c.TokenFile); err != nil {
		f.add("token_file", "%s", err)
	}
	if c.TLS.CAFile != "" {
		if _, err := readRoots(c.TLS.CAFile); err != nil {
			f.add("tls.ca_file", "%s", err)
		}
	}
	if c.Data == "" {
		f.add("data", "must name the folder for the agent's state")
	}
	if c.Capacity < 1 {
		f.add("capacity", "%d is too small; at least 1 session", c.Capacity)
	}
	if c.Weight < 1 {
		f.add("weight", "%d is too small; at least 1", c.Weight)
	}
	if c.OnShutdown != keepSessions && c.OnShutdown != endSessions {
		f.add("on_shutdown", "%q is neither %q nor %q", c.OnShutdown, keepSessions, endSessions)
	}
	if _, reserved := c.Labels[session.EndpointLabel]; reserved {
		f.add("labels."+session.EndpointLabel, "is reserved: by this label sessions ask for the endpoints of static runtimes; choose another name")
	}
	c.validateRuntimes(f)
}

func (c *agentConfig) validateEdge(f *faults) {
	if len(c.Edge) == 0 || len(c.Edge) == 1 && c.Edge[0] == "" {
		f.add("edge", "must be the edge's address, like \"https://edge.example.org\"")
		return
	}
	withTLS := false
	for i, address := range c.Edge {
		path := "edge"
		if len(c.Edge) > 1 {
			path = fmt.Sprintf("edge[%d]", i)
		}
		checkURL(f, path, address)
		if slices.Index(c.Edge, address) < i {
			f.add(path, "%q is there twice", address)
		}
		u, err := url.Parse(address)
		withTLS = withTLS || err != nil || u.Scheme != "http"
	}
	if !withTLS && c.TLS.CAFile != "" {
		f.add("tls.ca_file", "has no meaning with an http:// edge; use https:// or remove it")
	}
}

func (c *agentConfig) validateRuntimes(f *faults) {
	if len(c.Runtimes) == 0 {
		f.add("runtimes", "at least one is needed; the types are process, static and demo")
	}
	seen, addresses := map[string]bool{}, map[string]string{}
	for i, r := range c.Runtimes {
		path := fmt.Sprintf("runtimes[%d]", i)
		if !nameRule.MatchString(r.Name) {
			f.add(path+".name", "%q is not a name; use 1 to 63 letters, digits, dots, dashes and underscores", r.Name)
		}
		if seen[r.Name] {
			f.add(path+".name", "%q is used twice", r.Name)
		}
		seen[r.Name] = true
		if r.Slots != nil && *r.Slots == 0 {
			f.add(path+".slots", "0 is too small; at least 1 session, or leave it out for no limit of its own")
		}
		for _, bad := range r.options().Validate() {
			f.add(path+"."+bad.Key, "%s", bad.Text)
		}
		for j, e := range r.Endpoints {
			path := fmt.Sprintf("%s.endpoints[%d]", path, j)
			if other, found := addresses[e.Address]; found && other != r.Name {
				f.add(path+".address", "%q belongs to the runtime %s already; one session has it at a time", e.Address, other)
			}
			addresses[e.Address] = r.Name
			if filepath.IsAbs(e.PasswordFile) {
				if err := readable(e.PasswordFile); err != nil {
					f.add(path+".password_file", "%s can't be read: %s", e.PasswordFile, bareError(err))
				}
			}
		}
	}
}

func readable(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	return f.Close()
}

func (r runtimeConfig) options() agent.RuntimeConfig {
	var endpoints []agent.Endpoint
	for _, e := range r.Endpoints {
		endpoints = append(endpoints, agent.Endpoint(e))
	}
	slots := 0
	if r.Slots != nil {
		slots = *r.Slots
	}
	return agent.RuntimeConfig{
		Name: r.Name, Type: r.Type, Command: r.Command, Desktop: r.Desktop, Env: r.Env,
		Endpoints: endpoints, Slots: slots, StartTimeout: r.StartTimeout.std(),
	}
}

// tellValid says what --check found of a config without faults. What is not
// installed is no fault: it may be by the time the agent starts.
func (c *agentConfig) tellValid(s *surroundings, file string) error {
	for i, r := range c.Runtimes {
		if missing := r.options().Missing(); missing != "" {
			fmt.Fprintf(s.stderr, "%s: warning: runtimes[%d]: no desktop of %s can start: %s\n", file, i, r.Name, missing)
		}
	}
	_, err := fmt.Fprintf(s.stdout, "%s is valid\n", file)
	return err
}

// joinToken is what an agent presents to its edge, and how it knows that the
// edge is the right one.
type joinToken struct {
	secret string
	pin    string // "sha256:<hex>" of the edge's public key; empty: the certificate must verify
}

var pinRule = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

func readToken(file string) (joinToken, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return joinToken{}, fmt.Errorf("%s can't be read: %s", file, bareError(err))
	}
	secret, pin, pinned := strings.Cut(strings.TrimSpace(string(text)), "@")
	if !strings.HasPrefix(secret, "ssk_") || strings.ContainsAny(secret, " \t\r\n") {
		return joinToken{}, fmt.Errorf("%s holds no join token; a token is one line that starts with ssk_", file)
	}
	if pinned && !pinRule.MatchString(pin) {
		return joinToken{}, fmt.Errorf("the token in %s has a pin that is cut off or malformed; copy the whole line, which ends in @sha256: and 64 hex digits", file)
	}
	return joinToken{secret: secret, pin: pin}, nil
}
