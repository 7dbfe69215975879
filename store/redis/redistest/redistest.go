// Package redistest starts real Redis servers for tests: on free ports, in
// folders of their own, until the test ends.
package redistest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/streamspace-dev/streamspace-edge/store/storetest/hostclock"
)

// hang is how long a start or a change may take, only so that a hang becomes a
// failure.
const hang = time.Minute

// Server is one process.
type Server struct {
	Addr string // 127.0.0.1:PORT

	t      testing.TB
	dir    string
	args   []string // what the process is started with, but its ports
	tls    bool
	clock  *hostclock.Clock // nil: this machine's
	log    *bytes.Buffer
	cmd    *exec.Cmd
	exited chan struct{}
	mu     sync.Mutex
}

// OwnClock among a server's settings gives it a clock that SetClock sets.
const OwnClock = "# a clock of its own"

// Start starts one server that keeps nothing on disk. settings are lines of
// redis.conf, such as "maxmemory 2mb", or OwnClock.
func Start(t testing.TB, settings ...string) *Server {
	t.Helper()
	s := prepare(t, settings...)
	s.Run()
	return s
}

// prepare writes the config of a server and starts nothing.
func prepare(t testing.TB, settings ...string) *Server {
	t.Helper()
	s := &Server{t: t, dir: t.TempDir(), log: &bytes.Buffer{}}
	config := append([]string{
		"bind 127.0.0.1", "save \"\"", "appendonly no", "dir " + s.dir, "daemonize no", "protected-mode no",
	}, settings...)
	for _, line := range settings {
		s.tls = s.tls || strings.HasPrefix(line, "tls-cert-file ")
	}
	if slices.Contains(settings, OwnClock) {
		s.clock = hostclock.New(t, s.dir)
	}
	s.write("redis.conf", config...)
	s.args = []string{filepath.Join(s.dir, "redis.conf")}
	s.Addr = freeAddress(t)
	t.Cleanup(s.Kill)
	return s
}

func (s *Server) write(name string, lines ...string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// Run starts the process, again after Kill, and waits until it listens.
func (s *Server) Run() {
	s.t.Helper()
	_, port, _ := net.SplitHostPort(s.Addr)
	args := append([]string{}, s.args...)
	if s.tls {
		args = append(args, "--port", "0", "--tls-port", port)
	} else {
		args = append(args, "--port", port)
	}
	environment := os.Environ()
	if s.clock != nil {
		environment = append(environment, s.clock.Preload()...)
	}
	s.mu.Lock()
	s.cmd = exec.Command("redis-server", args...)
	s.cmd.Stdout, s.cmd.Stderr, s.cmd.Env = s.log, s.log, environment
	s.cmd.SysProcAttr = dieWithParent()
	err := s.cmd.Start()
	exited := make(chan struct{})
	s.exited = exited
	s.mu.Unlock()
	if err != nil {
		s.t.Fatalf("redis-server can't be started; apt-get install redis-server: %v", err)
	}
	go func() {
		_ = s.cmd.Wait() // by a signal of ours
		close(exited)
	}()
	Eventually(s.t, "the server listens", func() error {
		select {
		case <-exited:
			s.t.Fatalf("redis-server has ended:\n%s", s.log)
		default:
		}
		conn, err := net.DialTimeout("tcp", s.Addr, time.Second)
		if err == nil {
			_ = conn.Close()
		}
		return err
	})
}

// Kill ends the process at once, as kill -9 does. Run starts it anew, empty.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil || s.cmd.Process == nil {
		return
	}
	_ = s.cmd.Process.Kill() // it may have ended
	<-s.exited
}

// Pause stops the process, as kill -STOP does: the port stays open and nobody answers.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// SetClock has the wall clock of the host of a server that runs be so much ahead.
func (s *Server) SetClock(ahead time.Duration) {
	s.t.Helper()
	s.clock.Set(ahead)
	c := goredis.NewClient(&goredis.Options{Addr: s.Addr, Protocol: 2, DisableIdentity: true})
	defer func() { _ = c.Close() }()
	told, err := c.Time(context.Background()).Result()
	if err != nil {
		s.t.Fatal(err)
	}
	s.clock.IsTold(told)
}

// Resume ends a Pause.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// Client is closed when the test ends.
func (s *Server) Client() *goredis.Client {
	c := goredis.NewClient(&goredis.Options{Addr: s.Addr, Protocol: 2, DisableIdentity: true})
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

// Info asks for a section of INFO, of a server that may not answer.
func (s *Server) Info(section string) (string, error) {
	c := goredis.NewClient(&goredis.Options{Addr: s.Addr, Protocol: 2, DisableIdentity: true, MaxRetries: -1})
	defer func() { _ = c.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return c.Info(ctx, section).Result()
}

// do runs a command that has to work.
func (s *Server) do(args ...any) {
	s.t.Helper()
	c := goredis.NewClient(&goredis.Options{Addr: s.Addr, Protocol: 2, DisableIdentity: true})
	defer func() { _ = c.Close() }()
	if err := c.Do(context.Background(), args...).Err(); err != nil {
		s.t.Fatalf("%v: %v", args, err)
	}
}

// Eventually asks until there is no error.
func Eventually(t testing.TB, what string, ask func() error) {
	t.Helper()
	for end := time.Now().Add(hang); ; time.Sleep(10 * time.Millisecond) {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("in vain: %s: %v", what, err)
		}
	}
}

func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func port(addr string) string {
	_, p, _ := net.SplitHostPort(addr)
	return p
}

func number(text string) int {
	n, _ := strconv.Atoi(text)
	return n
}

// Sentinels is a master with two replicas, watched by three Sentinels.
type Sentinels struct {
	Servers []*Server // the first was the master at the start
	Addrs   []string  // of the Sentinels
}

// MasterName is what Sentinels call their master.
const MasterName = "desk"

// StartSentinels starts all six processes. A master that does not answer for a
// second is replaced.
func StartSentinels(t testing.TB, settings ...string) *Sentinels {
	t.Helper()
	return StartSentinelsBehind(t, func(addr string) string { return addr }, settings...)
}

// StartSentinelsBehind is StartSentinels with each server at the address that
// behind gives for its own: there Sentinels, clients and replicas reach it.
func StartSentinelsBehind(t testing.TB, behind func(addr string) string, settings ...string) *Sentinels {
	t.Helper()
	settings = append(settings, "repl-diskless-sync yes", "repl-diskless-sync-delay 0")
	all := &Sentinels{}
	master := "" // its port
	for range 3 {
		lines := settings
		if master != "" {
			lines = append(slices.Clip(settings), "replicaof 127.0.0.1 "+master)
		}
		s := prepare(t, lines...)
		at := port(behind(s.Addr))
		s.args = append(s.args, "--replica-announce-ip", "127.0.0.1", "--replica-announce-port", at)
		if master == "" {
			master = at
		}
		s.Run()
		all.Servers = append(all.Servers, s)
	}
	for range 3 {
		s := prepare(t)
		s.write("sentinel.conf", "bind 127.0.0.1", "protected-mode no", "dir "+s.dir,
			fmt.Sprintf("sentinel monitor %s 127.0.0.1 %s 2", MasterName, master),
			"sentinel down-after-milliseconds "+MasterName+" 1000",
			"sentinel failover-timeout "+MasterName+" 5000")
		s.args = []string{filepath.Join(s.dir, "sentinel.conf"), "--sentinel"}
		s.Run()
		all.Addrs = append(all.Addrs, s.Addr)
	}
	for _, addr := range all.Addrs {
		c := goredis.NewSentinelClient(&goredis.Options{Addr: addr, Protocol: 2, DisableIdentity: true})
		Eventually(t, "the Sentinels know each other and the replicas", func() error {
			m, err := c.Master(context.Background(), MasterName).Result()
			if err == nil && (m["num-slaves"] != "2" || m["num-other-sentinels"] != "2") {
				err = fmt.Errorf("%s replicas, %s other Sentinels", m["num-slaves"], m["num-other-sentinels"])
			}
			return err
		})
		_ = c.Close()
	}
	all.waitForReplicas(t)
	return all
}

// waitForReplicas waits until the master has both in step: only these may take
// its place.
func (all *Sentinels) waitForReplicas(t testing.TB) {
	t.Helper()
	c := all.Servers[0].Client()
	Eventually(t, "the replicas are in step", func() error {
		info, err := c.Info(context.Background(), "replication").Result()
		if err == nil && strings.Count(info, "state=online") != 2 {
			err = fmt.Errorf("%s", info)
		}
		return err
	})
}

// Cluster is three masters, then their three replicas.
type Cluster struct {
	Servers []*Server
	Addrs   []string
}

// StartCluster starts masters with a replica each: three, or fewer with no
// replicas. A master that does not answer for a second is replaced.
func StartCluster(t testing.TB, masters, replicas int, settings ...string) *Cluster {
	t.Helper()
	all := &Cluster{}
	for range masters + replicas {
		bus := port(freeAddress(t))
		s := Start(t, append(settings, "cluster-enabled yes", "cluster-node-timeout 1000", "cluster-port "+bus,
			"cluster-replica-validity-factor 0", "repl-diskless-sync-delay 0")...)
		all.Servers = append(all.Servers, s)
		all.Addrs = append(all.Addrs, s.Addr)
		first := all.Servers[0]
		if s == first {
			s.do("CLUSTER", "SET-CONFIG-EPOCH", 1)
			continue
		}
		s.do("CLUSTER", "SET-CONFIG-EPOCH", len(all.Servers))
		s.do("CLUSTER", "MEET", "127.0.0.1", port(first.Addr), first.busPort())
	}
	for i := range masters {
		all.Servers[i].do("CLUSTER", "ADDSLOTSRANGE", 16384*i/masters, 16384*(i+1)/masters-1)
	}
	for _, s := range all.Servers {
		c := s.Client()
		Eventually(t, "the nodes know each other", func() error {
			return contains(c.ClusterInfo(context.Background()), "cluster_state:ok", fmt.Sprintf("cluster_known_nodes:%d\r", masters+replicas))
		})
	}
	for i := range replicas {
		id, err := all.Servers[i].Client().ClusterMyID(context.Background()).Result()
		if err != nil {
			t.Fatal(err)
		}
		all.Servers[masters+i].do("CLUSTER", "REPLICATE", id)
	}
	for i := range replicas {
		c := all.Servers[masters+i].Client()
		Eventually(t, "the replicas are in step", func() error {
			return contains(c.Info(context.Background(), "replication"), "role:slave", "master_link_status:up")
		})
	}
	for _, s := range all.Servers { // or else some take a replica for a master without slots
		c := s.Client()
		Eventually(t, "all know the replicas", func() error {
			nodes, err := c.ClusterNodes(context.Background()).Result()
			if err == nil && strings.Count(nodes, "slave ") != replicas {
				err = fmt.Errorf("%s", nodes)
			}
			return err
		})
	}
	return all
}

func contains(answer interface{ Result() (string, error) }, parts ...string) error {
	text, err := answer.Result()
	for _, part := range parts {
		if err == nil && !strings.Contains(text, part) {
			err = fmt.Errorf("no %q in\n%s", part, text)
		}
	}
	return err
}

// busPort is the one by which nodes of a Cluster speak to each other.
func (s *Server) busPort() int {
	text, err := os.ReadFile(filepath.Join(s.dir, "redis.conf"))
	if err != nil {
		s.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "cluster-port ")
	line, _, _ := strings.Cut(rest, "\n")
	return number(line)
}
