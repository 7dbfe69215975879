// Package pgserver runs real PostgreSQL servers and PgBouncers for tests, as
// Debian installs them, on free ports and in temporary folders. PostgreSQL
// refuses to run as root; there it runs as the user that Debian made for it.
package pgserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/streamspace-dev/streamspace-edge/store/storetest/hostclock"
)

// What every server is asked with. The password has what URLs escape and is
// looked for in logs and errors.
const (
	User     = "streamspace"
	Password = "s3cret/with:odd@signs"
)

// patience is how long a server may take to start or stop; only so that a hang
// becomes a failure.
const patience = time.Minute

// Server is one PostgreSQL. It ends with its test.
type Server struct {
	t       testing.TB
	folder  string // of all its files
	port    int
	process *process
	clock   *hostclock.Clock // nil: this machine's
}

// Start makes a new and empty server.
func Start(t testing.TB) *Server {
	t.Helper()
	return startIn(t, makeFolder(t), nil)
}

// StartWithClock is Start for a server that, as its standbys, has a clock of its
// own, which SetClock sets.
func StartWithClock(t testing.TB) *Server {
	t.Helper()
	folder := makeFolder(t)
	return startIn(t, folder, hostclock.New(t, folder))
}

func startIn(t testing.TB, folder string, clock *hostclock.Clock) *Server {
	t.Helper()
	s := &Server{t: t, folder: folder, clock: clock}
	password := filepath.Join(s.folder, "password")
	if err := os.WriteFile(password, []byte(Password+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	command(t, "initdb", "--pgdata="+s.data(), "--username="+User, "--pwfile="+password, "--auth=scram-sha-256",
		"--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions")
	// For the standbys, which come from this host.
	hba := filepath.Join(s.data(), "pg_hba.conf")
	if err := appendTo(hba, "host replication all 127.0.0.1/32 scram-sha-256\n"); err != nil {
		t.Fatal(err)
	}
	s.port = freePort(t)
	s.Run()
	return s
}

// Standby makes a streaming standby of s, named name in its
// synchronous_standby_names.
func (s *Server) Standby(name string) *Server {
	s.t.Helper()
	standby := &Server{t: s.t, folder: makeFolder(s.t), port: freePort(s.t)}
	if s.clock != nil {
		standby.clock = hostclock.New(s.t, standby.folder)
	}
	standby.Rejoin(s, name)
	return standby
}

// Rejoin has a server that has ended run again as a standby of primary, with
// nothing of what it had.
func (s *Server) Rejoin(primary *Server, name string) {
	s.t.Helper()
	if err := os.RemoveAll(s.data()); err != nil {
		s.t.Fatal(err)
	}
	source := fmt.Sprintf("host=127.0.0.1 port=%d user=%s password='%s' application_name=%s", primary.port, User, Password, name)
	command(s.t, "pg_basebackup", "--pgdata="+s.data(), "--dbname="+source, "--wal-method=stream", "--checkpoint=fast",
		"--write-recovery-conf", "--no-sync")
	s.Run()
}

func (s *Server) data() string { return filepath.Join(s.folder, "data") }

// Run starts the server, also again after Kill or Stop, and waits until it
// answers.
func (s *Server) Run() {
	s.t.Helper()
	var clock []string
	if s.clock != nil {
		clock = s.clock.Preload()
	}
	s.process = start(s.t, filepath.Join(s.folder, "log"), syscall.SIGQUIT, clock, program("postgres"), "-D", s.data(), "-p", strconv.Itoa(s.port),
		"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "shared_buffers=16MB", "-c", "max_connections=300",
		"-c", "fsync=off", // what is killed here is the server and not the machine
		"-c", "wal_level=replica", "-c", "hot_standby=on", "-c", "wal_keep_size=64MB", "-c", "log_min_messages=warning", "-c", "log_min_error_statement=panic")
	s.process.await(func(ctx context.Context) error {
		conn, err := pgx.Connect(ctx, s.DSN("postgres"))
		if err != nil {
			return err
		}
		return conn.Close(ctx)
	})
}

// Kill ends the server as a crash does: SIGKILL to all its processes.
func (s *Server) Kill() { s.process.kill() }

// Stop ends the server as an operator does ("fast": connections are cut with
// 57P01) and waits.
func (s *Server) Stop() { s.process.stop(syscall.SIGINT) }

// Suspend stops all processes of the server, which then neither answers nor
// closes connections, until Resume.
func (s *Server) Suspend() { s.process.signalAll(syscall.SIGSTOP) }

// Resume goes on after Suspend.
func (s *Server) Resume() { s.process.signalAll(syscall.SIGCONT) }

// SetClock has the wall clock of the host of a server that runs be so much ahead.
func (s *Server) SetClock(ahead time.Duration) {
	s.t.Helper()
	s.clock.Set(ahead)
	told, err := strconv.ParseInt(s.Exec("postgres", "SELECT extract(epoch FROM clock_timestamp())::bigint"), 10, 64)
	if err != nil {
		s.t.Fatal(err)
	}
	s.clock.IsTold(time.Unix(told, 0))
}

// Promote makes a standby the primary and waits until it takes writes.
func (s *Server) Promote() {
	s.t.Helper()
	command(s.t, "pg_ctl", "promote", "--pgdata="+s.data(), "--wait", "--silent")
}

// Host is the server's address, as a DSN with several hosts has it.
func (s *Server) Host() string { return "127.0.0.1:" + strconv.Itoa(s.port) }

// DSN is the connection string of a database.
func (s *Server) DSN(database string) string { return DSN(database, s.Host()) }

// DSN is the connection string of a database on one of several hosts.
func DSN(database string, hosts ...string) string {
	return "postgres://" + url.UserPassword(User, Password).String() + "@" + strings.Join(hosts, ",") + "/" + database + "?sslmode=disable"
}

// Exec runs a statement in a database and returns the first column of the
// first row, if there is one, as text.
func (s *Server) Exec(database, statement string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.DSN(database))
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close(ctx)
	results, err := conn.PgConn().Exec(ctx, statement).ReadAll()
	if err != nil {
		s.t.Fatalf("%s: %v", statement, err)
	}
	if len(results) == 0 || len(results[0].Rows) == 0 {
		return ""
	}
	return string(results[0].Rows[0][0])
}

// NewDatabase makes an empty database and returns its name.
func (s *Server) NewDatabase() string {
	s.t.Helper()
	name := "d" + strconv.FormatInt(time.Now().UnixNano(), 36)
	s.Exec("postgres", "CREATE DATABASE "+name+" STRATEGY file_copy")
	return name
}

// makeFolder makes a folder that the server's user owns. It is not one of
// testing's, because nobody but its owner may look into those.
func makeFolder(t testing.TB) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "pgserver")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(folder); err != nil {
			t.Error(err)
		}
	})
	if c := credential(t); c != nil {
		err = os.Chown(folder, int(c.Uid), int(c.Gid))
	}
	if err = errors.Join(err, os.Chmod(folder, 0o755)); err != nil {
		t.Fatal(err)
	}
	return folder
}

// credential is the user for the servers when the test is root; nil: its own.
func credential(t testing.TB) *syscall.Credential {
	t.Helper()
	if os.Getuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		t.Fatalf("root can't run PostgreSQL, and the user that Debian's package makes is missing: %v", err)
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// program finds a program of PostgreSQL: Debian keeps them apart by version.
func program(name string) string {
	if found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name); len(found) > 0 {
		return found[len(found)-1]
	}
	return name
}

// command runs a program of PostgreSQL to its end.
func command(t testing.TB, name string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := exec.CommandContext(ctx, program(name), args...)
	c.Dir = "/"
	c.SysProcAttr = &syscall.SysProcAttr{Credential: credential(t)}
	if output, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, output)
	}
}

func appendTo(file, text string) error {
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
