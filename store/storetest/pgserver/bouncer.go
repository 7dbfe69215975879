package pgserver

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Bouncer is a PgBouncer in transaction mode before a server. It ends with its
// test.
type Bouncer struct {
	t       testing.TB
	folder  string
	port    int
	process *process
}

// StartBouncer starts one that opens at most size connections a database.
func StartBouncer(t testing.TB, s *Server, size int) *Bouncer {
	t.Helper()
	b := &Bouncer{t: t, folder: makeFolder(t), port: freePort(t)}
	for name, text := range map[string]string{
		"users.txt": fmt.Sprintf("%q %q\n", User, Password),
		"pgbouncer.ini": fmt.Sprintf(`[databases]
* = host=127.0.0.1 port=%d
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = scram-sha-256
auth_file = %s
pool_mode = transaction
max_client_conn = 1000
default_pool_size = %d
server_login_retry = 1
server_idle_timeout = 1
`, s.port, b.port, filepath.Join(b.folder, "users.txt"), size),
	} {
		if err := os.WriteFile(filepath.Join(b.folder, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b.Run()
	return b
}

// Run starts it, also again after Kill, and waits until it answers.
func (b *Bouncer) Run() {
	b.t.Helper()
	b.process = start(b.t, filepath.Join(b.folder, "log"), syscall.SIGTERM, nil, "/usr/sbin/pgbouncer", filepath.Join(b.folder, "pgbouncer.ini"))
	b.process.await(func(ctx context.Context) error {
		conn, err := pgx.Connect(ctx, b.DSN("postgres"))
		if err != nil {
			return err
		}
		return conn.Close(ctx)
	})
}

// Kill ends it with SIGKILL.
func (b *Bouncer) Kill() { b.process.kill() }

// DSN is the connection string of a database of its server.
func (b *Bouncer) DSN(database string) string { return DSN(database, b.Host()) }

// Host is where it listens, as a DSN with several hosts has it.
func (b *Bouncer) Host() string { return "127.0.0.1:" + strconv.Itoa(b.port) }
