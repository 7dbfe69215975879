package bench

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// clusterPlan says what a cluster is to be.
type clusterPlan struct {
	Program     string // the streamspace binary
	Folder      string // of the edges' files; not the cluster's own
	Edges       int
	PgBouncer   bool         // before PostgreSQL
	Certificate *certificate // nil: plain HTTP
	Drain       time.Duration
}

// cluster is several edges on databases of their own. Whoever makes it closes it.
type cluster struct {
	plan      clusterPlan
	databases *databases
	edges     []*clusterEdge
	admin     apiClient // of the first edge
	join      string    // the agents' token
	web       *http.Client
}

// clusterEdge is one of them, through all its starts.
type clusterEdge struct {
	name    string
	process *process
	address string // HOST:PORT of its API
	admin   string // HOST:PORT of its metrics
	config  string
}

// edgeConnections is more than an edge with its defaults opens to PostgreSQL.
const edgeConnections = 40

// startCluster starts the databases and the edges.
func startCluster(ctx context.Context, plan clusterPlan) (c *cluster, err error) {
	c = &cluster{plan: plan, web: &http.Client{Timeout: readyLimit, Transport: &http.Transport{
		MaxIdleConnsPerHost: 64,
		TLSClientConfig:     &tls.Config{InsecureSkipVerify: true}, // the certificate is the run's own
	}}}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	if c.databases, err = startDatabases(ctx, databasePlan{Connections: plan.Edges*edgeConnections + 20, PgBouncer: plan.PgBouncer}); err != nil {
		return nil, err
	}
	for i := range plan.Edges {
		e, err := c.configure(fmt.Sprintf("edge-%d", i+1))
		if err != nil {
			return nil, err
		}
		if err := c.start(ctx, e); err != nil {
			return nil, err
		}
		c.edges = append(c.edges, e)
		if i > 0 {
			continue // the first edge has made the keys
		}
		if err := c.readKeys(e); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// configure writes an edge's config.
func (c *cluster) configure(name string) (e *clusterEdge, err error) {
	e = &clusterEdge{name: name, config: filepath.Join(c.plan.Folder, name+".yml")}
	if e.address, err = freeAddress(); err != nil {
		return nil, err
	}
	if e.admin, err = freeAddress(); err != nil {
		return nil, err
	}
	if err := os.Mkdir(c.data(e), 0o700); err != nil {
		return nil, err
	}
	listen := fmt.Sprintf("{https: \"\", http: %q, admin: %q}\ntls: {off: true}\ncluster: {url: %q}", e.address, e.admin, c.url(e))
	if cert := c.plan.Certificate; cert != nil {
		listen = fmt.Sprintf("{https: %q, http: \"\", admin: %q}\ntls: {cert_file: %q, key_file: %q}\ncluster: {url: %q, ca_file: %q}",
			e.address, e.admin, cert.certFile, cert.keyFile, c.url(e), cert.certFile)
	}
	text := fmt.Sprintf(`listen: %s
node: {id: %s, data_dir: %q}
vnc: {max_streams: 100000}
agents: {headroom: 0}
drain: {timeout: %s}
%s`, listen, e.name, c.data(e), c.plan.Drain, c.databases.edgeConfig())
	return e, os.WriteFile(e.config, []byte(text), 0o600)
}

func (c *cluster) data(e *clusterEdge) string { return filepath.Join(c.plan.Folder, e.name) }

func (c *cluster) url(e *clusterEdge) string {
	if c.plan.Certificate != nil {
		return "https://" + e.address
	}
	return "http://" + e.address
}

// start starts an edge, also again after its end, and waits until it serves.
func (c *cluster) start(ctx context.Context, e *clusterEdge) error {
	p, err := launch(e.name, c.plan.Folder, c.plan.Program, "edge", "--config", e.config, "--log-level", "warn")
	if err != nil {
		return err
	}
	e.process = p
	err = until(ctx, p, readyLimit, "does not serve", func() error { return c.call(ctx, e, "GET", "/health", nil, nil) })
	if err != nil {
		p.stop(0)
	}
	return err
}

func (c *cluster) readKeys(e *clusterEdge) error {
	c.admin = apiClient{url: c.url(e), web: c.web}
	for file, secret := range map[string]*string{"admin.key": &c.admin.key, "join.token": &c.join} {
		text, err := os.ReadFile(filepath.Join(c.data(e), file))
		if err != nil {
			return fmt.Errorf("the edge did not write its first keys: %w", err)
		}
		*secret = strings.TrimSpace(string(text))
	}
	return nil
}

// call makes one request of an edge's API as the admin, as apiClient does.
func (c *cluster) call(ctx context.Context, e *clusterEdge, method, path string, body, result any) error {
	return c.callBy(ctx, c.web, e, method, path, body, result)
}

// callBy is call by a client with cookies of its own.
func (c *cluster) callBy(ctx context.Context, web *http.Client, e *clusterEdge, method, path string, body, result any) error {
	err := apiClient{c.url(e), c.admin.key, web}.call(ctx, method, path, body, result)
	if err != nil {
		return fmt.Errorf("%s: %w", e.name, err)
	}
	return nil
}

func (c *cluster) urls() (all []string) {
	for _, e := range c.edges {
		all = append(all, c.url(e))
	}
	return all
}

// processes are those of the system: the edges, then the databases.
func (c *cluster) processes() (all []*process) {
	for _, e := range c.edges {
		all = append(all, e.process)
	}
	return append(all, c.databases.servers...)
}

func (c *cluster) alive() error {
	for _, p := range c.processes() {
		if err := p.alive(); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) close() {
	for _, e := range c.edges {
		e.process.stop(min(c.plan.Drain, 5*time.Second))
	}
	if c.databases != nil {
		c.databases.close()
	}
	c.web.CloseIdleConnections()
}

// agentsOnline waits until every edge takes the agents for online.
func (c *cluster) agentsOnline(ctx context.Context, agents *simAgents) error {
	for _, e := range c.edges {
		err := until(ctx, e.process, 2*time.Minute, "does not have all agents", func() error {
			if err := agents.alive(); err != nil {
				return err
			}
			return c.hasAgents(ctx, e, len(agents.all), 1)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// hasAgents is nil when the edge takes n agents for online, each at so many edges
// at least.
func (c *cluster) hasAgents(ctx context.Context, e *clusterEdge, n, homes int) error {
	var list struct {
		Agents []struct {
			Status string   `json:"status"`
			Homes  []string `json:"homes"`
		} `json:"agents"`
	}
	if err := c.call(ctx, e, "GET", "/api/v1/agents", nil, &list); err != nil {
		return err
	}
	online := 0
	for _, a := range list.Agents {
		if a.Status == "online" && len(a.Homes) >= homes {
			online++
		}
	}
	if online != n {
		return fmt.Errorf("%s: %d of %d agents are online at %d edges or more", e.name, online, n, homes)
	}
	return nil
}

// knowsEdges is nil when the edge takes all edges for online, and knows no other.
func (c *cluster) knowsEdges(ctx context.Context, e *clusterEdge) error {
	var list struct {
		Nodes []struct {
			ID     string `json:"id"`
			Status string `json:"status"`
		} `json:"nodes"`
	}
	if err := c.call(ctx, e, "GET", "/api/v1/nodes", nil, &list); err != nil {
		return err
	}
	var errs []error
	for _, n := range list.Nodes {
		if n.Status != "online" {
			errs = append(errs, fmt.Errorf("%s: %s is %s", e.name, n.ID, n.Status))
		}
	}
	if len(list.Nodes) != len(c.edges) {
		errs = append(errs, fmt.Errorf("%s: it knows %d of %d edges", e.name, len(list.Nodes), len(c.edges)))
	}
	return errors.Join(errs...)
}
