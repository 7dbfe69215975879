package bench

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	agentEndpoints = 16 // VNC servers behind the agent; a static endpoint is one session
	readyLimit     = 30 * time.Second
)

// startEdge starts an edge that knows a session for each viewer, and gets a
// ticket for each. What is measured is a fresh process: sessions and tickets
// are made by one that has left again.
func startEdge(ctx context.Context, s *site, secure, withAgent bool) error {
	e := &edgeSite{site: s, secure: secure, withAgent: withAgent}
	if err := e.prepare(); err != nil {
		return err
	}
	if err := e.start(ctx); err != nil {
		return err
	}
	tickets, err := e.invite(ctx)
	if err != nil {
		return err
	}
	s.close()
	if err := e.start(ctx); err != nil {
		return err
	}
	s.door = door{Address: e.address, TLS: secure, Tickets: tickets}
	return nil
}

type edgeSite struct {
	*site
	secure, withAgent bool
	address, config   string
	key               string // an admin's
	sessions          []string
	web               *http.Client
}

func (e *edgeSite) url() string {
	if e.secure {
		return "https://" + e.address
	}
	return "http://" + e.address
}

// prepare writes the configs.
func (e *edgeSite) prepare() (err error) {
	if e.address, err = freeAddress(); err != nil {
		return err
	}
	if e.admin, err = freeAddress(); err != nil {
		return err
	}
	var allow []string
	for _, a := range e.servers {
		allow = append(allow, fmt.Sprintf("%q", "127.0.0.1/32"+a[strings.LastIndexByte(a, ':'):]))
	}
	e.config, err = e.file("edge.yml", e.edgeHead(e.address, e.secure)+fmt.Sprintf(`vnc: {max_streams: 100000, ticket_ttl: 24h}
drain: {timeout: 1s}
direct: {allow: [%s]}
agents: {headroom: 0}
`, strings.Join(allow, ", ")))
	if err != nil || !e.withAgent {
		return err
	}
	var endpoints []string
	for i, a := range e.servers {
		endpoints = append(endpoints, fmt.Sprintf("      - {name: vnc-%d, address: %q}", i, a))
	}
	ca := ""
	if e.secure {
		ca = fmt.Sprintf("tls: {ca_file: %q}\n", e.certFile)
	}
	_, err = e.file("agent.yml", fmt.Sprintf(`edge: %q
name: bench
token_file: %q
%sdata: %q
capacity: %d
runtimes:
  - name: vnc
    type: static
    endpoints:
%s
`, e.url(), filepath.Join(e.dir, "join.token"), ca, filepath.Join(e.dir, "agent"), len(e.servers), strings.Join(endpoints, "\n")))
	return err
}

// edgeHead is what every edge's config begins with.
func (s *site) edgeHead(address string, secure bool) string {
	listen := fmt.Sprintf("{https: \"\", http: %q, admin: %q}\ntls: {off: true}", address, s.admin)
	if secure {
		listen = fmt.Sprintf("{https: %q, http: \"\", admin: %q}\ntls: {cert_file: %q, key_file: %q}", address, s.admin, s.certFile, s.keyFile)
	}
	return fmt.Sprintf("listen: %s\nnode: {id: bench}\nstore: {sqlite: {path: %q}}\n", listen, filepath.Join(s.dir, "edge.db"))
}

func (e *edgeSite) start(ctx context.Context) error {
	p, err := e.run("edge", e.program, "edge", "--config", e.config, "--log-level", "warn")
	if err != nil {
		return err
	}
	if e.web == nil {
		e.web = &http.Client{Timeout: readyLimit, Transport: &http.Transport{
			TLSClientConfig:     &tls.Config{InsecureSkipVerify: true}, // the certificate is the run's own
			MaxIdleConnsPerHost: 8,
		}}
	}
	defer e.web.CloseIdleConnections()
	if err := until(ctx, p, readyLimit, "does not serve", func() error { return e.call(ctx, "GET", "/health", nil, nil) }); err != nil {
		return err
	}
	key, err := os.ReadFile(filepath.Join(e.dir, "admin.key"))
	if err != nil {
		return fmt.Errorf("the edge wrote no admin key: %w", err)
	}
	e.key = strings.TrimSpace(string(key))
	if !e.withAgent {
		return nil
	}
	a, err := e.run("agent", e.program, "agent", "--config", filepath.Join(e.dir, "agent.yml"), "--log-level", "warn")
	if err != nil {
		return err
	}
	if err := until(ctx, a, readyLimit, "did not join", func() error { return e.agentOnline(ctx) }); err != nil {
		return err
	}
	for _, id := range e.sessions {
		if err := e.running(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

func (e *edgeSite) agentOnline(ctx context.Context) error {
	var list struct {
		Agents []struct {
			Status string `json:"status"`
		} `json:"agents"`
	}
	if err := e.call(ctx, "GET", "/api/v1/agents", nil, &list); err != nil {
		return err
	}
	if len(list.Agents) != 1 || list.Agents[0].Status != "online" {
		return fmt.Errorf("the edge lists %v", list.Agents)
	}
	return nil
}

// invite makes the sessions and gets a ticket for each viewer.
func (e *edgeSite) invite(ctx context.Context) ([]string, error) {
	defer e.web.CloseIdleConnections()
	n := min(e.viewers, maxSessions)
	if e.withAgent {
		n = min(n, len(e.servers))
	}
	e.sessions = make([]string, n)
	err := inParallel(ctx, 8, n, func(ctx context.Context, i int) error {
		body := map[string]string{"name": fmt.Sprintf("desk-%d", i)}
		if !e.withAgent {
			body["endpoint"] = e.servers[0]
		}
		var made struct {
			ID string `json:"id"`
		}
		if err := e.call(ctx, "POST", "/api/v1/sessions", body, &made); err != nil {
			return err
		}
		e.sessions[i] = made.ID
		return e.running(ctx, made.ID)
	})
	if err != nil {
		return nil, err
	}
	tickets := make([]string, e.viewers)
	return tickets, inParallel(ctx, 8, e.viewers, func(ctx context.Context, i int) error {
		var ticket struct {
			Token string `json:"token"`
		}
		err := e.call(ctx, "POST", "/api/v1/sessions/"+e.sessions[i%n]+"/vnc", map[string]string{"mode": "control"}, &ticket)
		tickets[i] = ticket.Token
		return err
	})
}

// maxSessions is where viewers begin to share sessions.
const maxSessions = 8000

func (e *edgeSite) running(ctx context.Context, id string) error {
	return until(ctx, e.processes[0], readyLimit, "the session "+id+" does not run", func() error {
		var session struct {
			State  string `json:"state"`
			Reason string `json:"reason"`
		}
		if err := e.call(ctx, "GET", "/api/v1/sessions/"+id, nil, &session); err != nil {
			return err
		}
		if session.State != "running" {
			return fmt.Errorf("its state is %s (%s)", session.State, session.Reason)
		}
		return nil
	})
}

// call makes one request of the API as an admin; result may be nil.
func (e *edgeSite) call(ctx context.Context, method, path string, body, result any) error {
	return apiClient{e.url(), e.key, e.web}.call(ctx, method, path, body, result)
}

// goroutines reads how many the edge has from its own metrics.
func (s *site) goroutines(ctx context.Context) (int, error) {
	request, err := http.NewRequestWithContext(ctx, "GET", "http://"+s.admin+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(response.Body, 4<<20))
	if err != nil {
		return 0, err
	}
	_, rest, found := strings.Cut(string(text), "\ngo_goroutines ")
	var n int
	if _, err := fmt.Sscan(rest, &n); !found || err != nil {
		return 0, fmt.Errorf("the edge's metrics tell no go_goroutines")
	}
	return n, nil
}
