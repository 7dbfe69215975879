package bench

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// cluster is several edges on databases of their own. Whoever makes it closes it.
type cluster struct {
	databases *databases
	edges     []*clusterEdge
	admin     apiClient // of the first edge
	join      string    // the agents' token
	web       *http.Client
	folder    string // of the edges' files; not its own
}

type clusterEdge struct {
	process *process
	address string // HOST:PORT of its API, plain HTTP
	admin   string // HOST:PORT of its metrics
}

// edgeConnections is more than an edge with its defaults opens to PostgreSQL.
const edgeConnections = 40

// startCluster starts the databases and n edges, whose files are in folder; more is
// added to the edges' config.
func startCluster(ctx context.Context, program, folder string, n int, pgBouncer bool, more string) (c *cluster, err error) {
	c = &cluster{folder: folder, web: &http.Client{Timeout: readyLimit, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	if c.databases, err = startDatabases(ctx, databasePlan{Connections: n*edgeConnections + 20, PgBouncer: pgBouncer}); err != nil {
		return nil, err
	}
	for i := range n {
		if err = c.startEdge(ctx, program, i, more); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *cluster) startEdge(ctx context.Context, program string, i int, more string) error {
	e := &clusterEdge{}
	var err error
	if e.address, err = freeAddress(); err != nil {
		return err
	}
	if e.admin, err = freeAddress(); err != nil {
		return err
	}
	name := fmt.Sprintf("edge-%d", i+1)
	data := filepath.Join(c.folder, name)
	if err := os.Mkdir(data, 0o700); err != nil {
		return err
	}
	config := filepath.Join(c.folder, name+".yml")
	text := fmt.Sprintf(`listen: {https: "", http: %q, admin: %q}
tls: {off: true}
node: {id: %s, data_dir: %q}
cluster: {url: "http://%s"}
agents: {headroom: 0}
drain: {timeout: 1s}
%s%s`, e.address, e.admin, name, data, e.address, c.databases.edgeConfig(), more)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	if e.process, err = launch(name, c.folder, program, "edge", "--config", config, "--log-level", "warn"); err != nil {
		return err
	}
	c.edges = append(c.edges, e)
	client := apiClient{url: "http://" + e.address, web: c.web}
	if err := until(ctx, e.process, readyLimit, "does not serve", func() error { return client.call(ctx, "GET", "/health", nil, nil) }); err != nil {
		return err
	}
	if i > 0 {
		return nil // the first edge has made the keys
	}
	for file, secret := range map[string]*string{"admin.key": &client.key, "join.token": &c.join} {
		text, err := os.ReadFile(filepath.Join(data, file))
		if err != nil {
			return fmt.Errorf("the edge did not write its first keys: %w", err)
		}
		*secret = strings.TrimSpace(string(text))
	}
	c.admin = client
	return nil
}

func (c *cluster) urls() (all []string) {
	for _, e := range c.edges {
		all = append(all, "http://"+e.address)
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
		e.process.stop(5 * time.Second)
	}
	if c.databases != nil {
		c.databases.close()
	}
	c.web.CloseIdleConnections()
}

// agentsOnline waits until every edge takes so many agents for online.
func (c *cluster) agentsOnline(ctx context.Context, agents *simAgents) error {
	for _, e := range c.edges {
		client := apiClient{"http://" + e.address, c.admin.key, c.web}
		err := until(ctx, e.process, 2*time.Minute, "does not have all agents", func() error {
			if err := agents.alive(); err != nil {
				return err
			}
			var list struct {
				Agents []struct {
					Status string `json:"status"`
				} `json:"agents"`
			}
			if err := client.call(ctx, "GET", "/api/v1/agents", nil, &list); err != nil {
				return err
			}
			online := 0
			for _, a := range list.Agents {
				if a.Status == "online" {
					online++
				}
			}
			if online != len(agents.all) {
				return fmt.Errorf("%d of %d agents are online", online, len(agents.all))
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
