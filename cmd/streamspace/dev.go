package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/streamspace-dev/streamspace-edge/proxy/agent"
	"github.com/streamspace-dev/streamspace-edge/store"
)

type devCommand struct {
	Data        string   `default:"${devData}" placeholder:"DIR" help:"The folder for everything this keeps (${default})."`
	Listen      string   `default:"127.0.0.1:8443" placeholder:"HOST:PORT" help:"Where the console is served (${default}); port 0 takes a free one."`
	Admin       string   `default:"127.0.0.1:9090" placeholder:"HOST:PORT" help:"Where metrics and profiles are served (${default}); port 0 takes a free one."`
	Runtime     string   `enum:"auto,demo,process" default:"auto" help:"What a desktop is: process (a real Xtigervnc), demo (the built-in VNC server), or auto: process where Xtigervnc is installed."`
	DirectAllow []string `placeholder:"CIDR:PORTS" help:"VNC servers that sessions with an endpoint may name, like 127.0.0.1/32:5900-5999. May be repeated."`
}

const devInfoFile = "dev.json"

// devInfo is DIR/dev.json: how scripts find a running dev.
type devInfo struct {
	URL      string `json:"url"`
	APIKey   string `json:"api_key"`
	AdminURL string `json:"admin_url"`
}

// defaultDevData follows the XDG base directories: what a program keeps
// between starts and nobody backs up.
func defaultDevData() string {
	if state := os.Getenv("XDG_STATE_HOME"); state != "" {
		return filepath.Join(state, "streamspace-dev")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "streamspace-dev"
	}
	return filepath.Join(home, ".local", "state", "streamspace-dev")
}

// Run runs an edge and an agent until SIGTERM, SIGINT or SIGHUP. The agent's
// desktops end with it; after a crash the next start adopts them.
func (c *devCommand) Run(s *surroundings) error {
	data, err := filepath.Abs(c.Data)
	if err != nil {
		return fmt.Errorf("--data: %w", err)
	}
	config := c.edgeConfig(data)
	if err := config.checkFlags(); err != nil {
		return err
	}
	ctx, stop := untilSignalOrHangup()
	defer stop()
	e, err := openEdge(ctx, config, s.log, s.processors)
	if err != nil {
		return err
	}
	info, token, err := e.devCredentials(ctx, data)
	if err != nil {
		return errors.Join(err, e.close())
	}
	agentLog := s.log
	if s.log.Level() == zap.InfoLevel { // what happens to the agent, the edge in the same process tells as well
		agentLog = s.log.WithOptions(zap.IncreaseLevel(zap.WarnLevel))
	}
	a, err := openAgent(c.agentConfig(data, info.URL, token), agentLog, s.processors)
	if err != nil {
		return errors.Join(err, e.close())
	}
	parts, failed := errgroup.WithContext(ctx)
	edgeContext, stopEdge := context.WithCancel(context.Background())
	defer stopEdge()
	parts.Go(func() error { return e.serve(edgeContext) })
	parts.Go(func() error {
		defer stopEdge() // the agent leaves first, so that the edge hears it
		return a.serve(failed)
	})
	parts.Go(func() error { return c.announce(failed, s, e, data, info) })
	return parts.Wait()
}

// announce tells where the console is, once a desktop can be started there.
func (c *devCommand) announce(ctx context.Context, s *surroundings, e *edge, data string, info devInfo) error {
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	patience := time.After(10 * time.Second) // then the console itself tells that the agent is missing
	for waiting := e.hub.Agents() == 0; waiting; {
		select {
		case <-ctx.Done():
			return nil
		case <-patience:
			waiting = false
		case <-look.C:
			waiting = e.hub.Agents() == 0
		}
	}
	text, err := json.MarshalIndent(info, "", "  ")
	if err != nil {
		return err
	}
	if err := writeFile(filepath.Join(data, devInfoFile), append(text, '\n'), 0o600); err != nil {
		return err
	}
	c.welcome(s, info)
	return nil
}

func (c *devCommand) edgeConfig(data string) *edgeConfig {
	config := defaultEdgeConfig()
	config.Listen = listenConfig{HTTPS: c.Listen, Admin: c.Admin, HTTP2: true}
	config.TLS.SelfSigned = true
	config.Store.SQLite.Path = filepath.Join(data, "streamspace.db")
	config.Direct.Allow = c.DirectAllow
	config.Drain.Timeout = duration(3 * time.Second)
	config.flags = map[string]string{"listen.https": "--listen", "listen.admin": "--admin", "direct.allow": "--direct-allow", "store.sqlite.path": "--data"}
	return config
}

func (c *devCommand) agentConfig(data, url, tokenFile string) *agentConfig {
	config := defaultAgentConfig()
	config.Edge = oneOrMore{url}
	config.TokenFile = tokenFile
	config.Data = filepath.Join(data, "agent")
	config.OnShutdown = endSessions
	runtime := c.Runtime
	if runtime == "auto" {
		runtime = "process"
		if _, err := agent.ProbeXvnc(); err != nil {
			runtime = "demo"
		}
	}
	config.Runtimes = []runtimeConfig{{Name: runtime, Type: runtime}}
	return config
}

// devCredentials gives the login key and the join token of the folder, the
// same at every start.
func (e *edge) devCredentials(ctx context.Context, data string) (info devInfo, tokenFile string, err error) {
	if info.APIKey, err = e.keepKey(ctx, filepath.Join(data, adminKeyFile), "", "dev", store.RoleAdmin); err != nil {
		return info, "", err
	}
	tokenFile = filepath.Join(data, joinTokenFile)
	if _, err = e.keepKey(ctx, tokenFile, "", "dev agent", store.RoleAgent); err != nil {
		return info, "", err
	}
	info.URL = e.address()
	if e.admin != nil {
		info.AdminURL = "http://" + hostPort(e.admin.Addr())
	}
	return info, tokenFile, nil
}

func (c *devCommand) welcome(s *surroundings, info devInfo) {
	fmt.Fprintf(s.stdout, "\n  StreamSpace Edge\n\n  Console    %s\n  Login key  %s\n", info.URL, info.APIKey)
	if info.AdminURL != "" {
		fmt.Fprintf(s.stdout, "  Metrics    %s/metrics\n", info.AdminURL)
	}
	fmt.Fprintln(s.stdout)
	fmt.Fprintf(s.stdout, "  The certificate is self-signed: the browser asks once whether to trust it.\n")
	if c.Runtime == "auto" {
		if _, err := agent.ProbeXvnc(); err != nil {
			fmt.Fprintf(s.stdout, "  Desktops are the built-in demo. For real ones: apt install tigervnc-standalone-server openbox xterm\n")
		}
	}
	fmt.Fprintf(s.stdout, "  Ctrl-C ends it and its desktops. --log-level info tells what happens.\n\n")
}
