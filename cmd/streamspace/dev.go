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

	"github.com/streamspace-dev/streamspace-edge/api/auth"
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

// Run runs an edge and an agent until SIGTERM or SIGINT. The agent's desktops
// end with it; after a crash the next start adopts them.
func (c *devCommand) Run(s *surroundings) error {
	data, err := filepath.Abs(c.Data)
	if err != nil {
		return fmt.Errorf("--data: %w", err)
	}
	config := c.edgeConfig(data)
	if err := config.checkFlags(); err != nil {
		return err
	}
	ctx, stop := untilSignal()
	defer stop()
	e, err := openEdge(ctx, config, s.log)
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
	a, err := openAgent(c.agentConfig(data, info.URL, token), agentLog)
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
	config.Listen = listenConfig{HTTPS: c.Listen, Admin: c.Admin}
	config.TLS.SelfSigned = true
	config.Store.SQLite.Path = filepath.Join(data, "streamspace.db")
	config.Direct.Allow = c.DirectAllow
	config.Drain.Timeout = duration(3 * time.Second)
	config.flags = map[string]string{"listen.https": "--listen", "listen.admin": "--admin", "direct.allow": "--direct-allow", "store.sqlite.path": "--data"}
	return config
}

func (c *devCommand) agentConfig(data, url, tokenFile string) *agentConfig {
	config := defaultAgentConfig()
	config.Edge = url
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
	if text, err := os.ReadFile(filepath.Join(data, devInfoFile)); err == nil {
		_ = json.Unmarshal(text, &info) // a broken file is made anew
	}
	if info.APIKey, err = e.keepKey(ctx, info.APIKey, "dev", store.RoleAdmin); err != nil {
		return info, "", err
	}
	tokenFile = filepath.Join(data, "join.token")
	old, _ := readToken(tokenFile) // a missing or broken file is made anew
	token, err := e.keepKey(ctx, old.secret, "dev agent", store.RoleAgent)
	if err != nil {
		return info, "", err
	}
	if err := writeFile(tokenFile, []byte(token+"@"+e.joinPin()+"\n"), 0o600); err != nil {
		return info, "", err
	}
	info.URL = e.address()
	if e.admin != nil {
		info.AdminURL = "http://" + e.admin.Addr().String()
	}
	return info, tokenFile, nil
}

// keepKey returns secret when it is still a key of that role, else a new one.
func (e *edge) keepKey(ctx context.Context, secret, name string, role store.Role) (string, error) {
	if secret != "" {
		if caller, err := e.auth.Key(ctx, secret); err == nil && caller.Role == role {
			return secret, nil
		}
	}
	return e.newKey(ctx, name, role)
}

func (e *edge) newKey(ctx context.Context, name string, role store.Role) (string, error) {
	secret, key, err := auth.NewKey(name, "default", "admin", role)
	if err != nil {
		return "", err
	}
	return secret, e.store.CreateKey(ctx, key)
}

// writeFirstKeys puts an admin key and a join token beside the database when
// there is no key yet. Their files are the only place where the secrets stand.
func (e *edge) writeFirstKeys(ctx context.Context) error {
	keys, err := e.store.Keys(ctx)
	if err != nil || len(keys) > 0 {
		return err
	}
	for _, first := range []struct {
		file, name, suffix string
		role               store.Role
	}{
		{"join.token", "first agents", pinSuffix(e.joinPin()), store.RoleAgent},
		{"admin.key", "first admin", "", store.RoleAdmin},
	} {
		secret, err := e.newKey(ctx, first.name, first.role)
		if err != nil {
			return err
		}
		file := filepath.Join(e.config.dataDir(), first.file)
		if err := writeFile(file, []byte(secret+first.suffix+"\n"), 0o600); err != nil {
			return fmt.Errorf("the first key can't be written: %w", err)
		}
		e.log.Info("wrote a first key", zap.String("file", file), zap.String("role", string(first.role)))
	}
	return nil
}

func pinSuffix(pin string) string {
	if pin == "" {
		return ""
	}
	return "@" + pin
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
