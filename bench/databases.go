package bench

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// databases are the servers that edges of a cluster share, fresh and empty, with
// the settings that Debian's packages have: what is acknowledged is on the disk.
// Whoever makes them closes them, after the edges.
type databases struct {
	folder   string // of all their files; PostgreSQL's user owns it
	user     *hostUser
	password string
	servers  []*process // PostgreSQL, Redis and, if there is one, PgBouncer
	postgres string     // HOST:PORT that edges are to use: PgBouncer's if there is one
	redis    string     // HOST:PORT
	pooled   bool       // a PgBouncer is before PostgreSQL
}

// databasePlan says what is wanted.
type databasePlan struct {
	Connections int  // that PostgreSQL accepts
	PgBouncer   bool // in transaction mode
}

const databaseUser = "streamspace"

// databasesInstalled is a *UsageError unless the plan can be carried out here.
func databasesInstalled(plan databasePlan) error {
	var missing []string
	for program, name := range map[string]string{findPostgres("initdb"): "postgresql", findProgram("redis-server"): "redis-server"} {
		if program == "" {
			missing = append(missing, name)
		}
	}
	if plan.PgBouncer && findProgram("pgbouncer") == "" {
		missing = append(missing, "pgbouncer")
	}
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	packages := strings.Join(missing, " ")
	return &UsageError{fmt.Sprintf("this needs databases that are not installed: %s; to get them: apt-get install -y --no-install-recommends %[1]s", packages)}
}

// startDatabases starts them on free ports of 127.0.0.1.
func startDatabases(ctx context.Context, plan databasePlan) (d *databases, err error) {
	secret := make([]byte, 16)
	_, _ = rand.Read(secret) // never fails
	d = &databases{password: hex.EncodeToString(secret), pooled: plan.PgBouncer}
	defer func() {
		if err != nil {
			d.close()
		}
	}()
	if d.user, err = databaseHostUser(); err != nil {
		return nil, err
	}
	if d.folder, err = os.MkdirTemp("", "streamspace-bench-"); err != nil {
		return nil, err
	}
	if err = d.user.own(d.folder); err != nil {
		return nil, err
	}
	if err = d.startPostgres(ctx, plan.Connections); err != nil {
		return nil, err
	}
	if plan.PgBouncer {
		if err = d.startPgBouncer(ctx, plan.Connections); err != nil {
			return nil, err
		}
	}
	return d, d.startRedis(ctx)
}

// dsn is what an edge's store.postgres.primary says.
func (d *databases) dsn() string {
	return "postgres://" + databaseUser + ":" + d.password + "@" + d.postgres + "/postgres?sslmode=disable"
}

// edgeConfig is the sections of an edge's config that name them.
func (d *databases) edgeConfig() string {
	return fmt.Sprintf("store: {postgres: {primary: %q, pgbouncer: %t}}\nredis: {addrs: [%q]}\n", d.dsn(), d.pooled, d.redis)
}

func (d *databases) alive() error {
	for _, p := range d.servers {
		if err := p.alive(); err != nil {
			return err
		}
	}
	return nil
}

func (d *databases) close() {
	for _, p := range slices.Backward(d.servers) {
		p.stop(10 * time.Second)
	}
	if d.folder != "" {
		_ = os.RemoveAll(d.folder)
	}
}

// file writes one that only the servers' user can read.
func (d *databases) file(name, text string) (string, error) {
	path := filepath.Join(d.folder, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return "", err
	}
	return path, d.user.own(path)
}

// start starts one as the servers' user and waits until ready has no error.
func (d *databases) start(ctx context.Context, name string, ready func() error, argv ...string) error {
	p := prepare(name, d.folder, argv...)
	p.cmd.Stdout = &p.output
	d.user.run(p.cmd)
	if err := p.begin(); err != nil {
		return err
	}
	d.servers = append(d.servers, p)
	return until(ctx, p, readyLimit, "does not answer", ready)
}

func (d *databases) startPostgres(ctx context.Context, connections int) error {
	password, err := d.file("password", d.password+"\n")
	if err != nil {
		return err
	}
	data := filepath.Join(d.folder, "postgres")
	initdb := exec.CommandContext(ctx, findPostgres("initdb"), "--pgdata="+data, "--username="+databaseUser, "--pwfile="+password, "--auth=scram-sha-256",
		"--encoding=UTF8", "--locale=C.UTF-8", "--no-instructions")
	initdb.Dir = d.folder
	d.user.run(initdb)
	if output, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("PostgreSQL's initdb: %w: %s", err, output)
	}
	if d.postgres, err = freeAddress(); err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(d.postgres)
	if err != nil {
		return err
	}
	ready := func() error {
		return exec.CommandContext(ctx, findPostgres("pg_isready"), "--quiet", "--host="+host, "--port="+port).Run()
	}
	return d.start(ctx, "postgres", ready, findPostgres("postgres"), "-D", data, "-p", port, "-c", "listen_addresses="+host,
		"-c", "unix_socket_directories=", "-c", "max_connections="+strconv.Itoa(connections))
}

func (d *databases) startPgBouncer(ctx context.Context, connections int) error {
	server := d.postgres
	address, err := freeAddress()
	if err != nil {
		return err
	}
	serverHost, serverPort, err1 := net.SplitHostPort(server)
	host, port, err2 := net.SplitHostPort(address)
	users, err3 := d.file("pgbouncer.users", fmt.Sprintf("%q %q\n", databaseUser, d.password))
	config, err4 := d.file("pgbouncer.ini", fmt.Sprintf(`[databases]
* = host=%s port=%s
[pgbouncer]
listen_addr = %s
listen_port = %s
unix_socket_dir =
auth_type = scram-sha-256
auth_file = %s
pool_mode = transaction
max_client_conn = 1000
default_pool_size = %d
`, serverHost, serverPort, host, port, users, connections-10))
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return err
	}
	if err := d.start(ctx, "pgbouncer", answers(address), findProgram("pgbouncer"), "--quiet", config); err != nil {
		return err
	}
	d.postgres = address
	return nil
}

func (d *databases) startRedis(ctx context.Context) (err error) {
	if d.redis, err = freeAddress(); err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(d.redis)
	if err != nil {
		return err
	}
	return d.start(ctx, "redis", answers(d.redis), findProgram("redis-server"), "--bind", host, "--port", port, "--save", "", "--appendonly", "no",
		"--dir", d.folder)
}

// answers tells whether somebody listens on the address.
func answers(address string) func() error {
	return func() error {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			_ = conn.Close()
		}
		return err
	}
}

// findPostgres finds one of PostgreSQL's programs; Debian keeps the servers apart
// by version, of which the newest is taken.
func findPostgres(name string) string {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name) // the pattern is good
	if len(found) == 0 {
		return findProgram(name)
	}
	version := func(file string) int {
		n, _ := strconv.Atoi(strings.Split(file, "/")[4])
		return n
	}
	return slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })
}
