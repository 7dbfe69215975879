package main

import (
	"os"
	"path/filepath"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store/sqldb"
)

// storeConfig chooses the database: a file, or a PostgreSQL when there is a
// section for it.
type storeConfig struct {
	SQLite   sqliteConfig    `yaml:"sqlite"`
	Postgres *postgresConfig `yaml:"postgres"`
}

type sqliteConfig struct {
	Path string `yaml:"path"`
}

// postgresConfig has the fields of sqldb.PostgresOptions.
type postgresConfig struct {
	Primary      string   `yaml:"primary"`
	PasswordFile string   `yaml:"password_file"`
	Replica      string   `yaml:"replica"`
	MaxLag       duration `yaml:"max_lag"`
	MaxConns     int      `yaml:"max_conns"`
	Reserve      *int     `yaml:"reserve"` // nil: sqldb.DefaultReserve
	ReserveAfter duration `yaml:"reserve_after"`
	Timeout      duration `yaml:"timeout"`
	PgBouncer    bool     `yaml:"pgbouncer"`
}

func (c *postgresConfig) options() sqldb.PostgresOptions {
	o := sqldb.PostgresOptions{
		Primary: c.Primary, PasswordFile: c.PasswordFile, Replica: c.Replica, MaxLag: c.MaxLag.std(),
		MaxConns: c.MaxConns, Reserve: sqldb.DefaultReserve, ReserveAfter: c.ReserveAfter.std(), Timeout: c.Timeout.std(),
		PgBouncer: c.PgBouncer,
	}
	if c.Reserve != nil {
		o.Reserve = *c.Reserve
	}
	return o
}

// mostConnections is more than a PostgreSQL serves well; a larger number is a
// slip of the pen.
const mostConnections = 1000

func (c *storeConfig) validate(f *faults) {
	p := c.Postgres
	if p == nil {
		if f.has("store.postgres") {
			f.add("store.postgres", "has no keys; primary at least is needed")
		}
		if c.SQLite.Path == "" {
			f.add("store.sqlite.path", "must name the database file")
		}
		return
	}
	if f.has("store.sqlite") {
		f.add("store.postgres", "choose only one of sqlite and postgres")
	}
	if p.Primary == "" {
		f.add("store.postgres.primary", `must be a connection string, like "postgres://streamspace@db1,db2/streamspace"`)
	} else if err := sqldb.CheckDSN(p.Primary); err != nil {
		f.add("store.postgres.primary", "%s", err)
	}
	if p.Replica != "" {
		if err := sqldb.CheckReplicaDSN(p.Replica); err != nil {
			f.add("store.postgres.replica", "%s", err)
		}
	} else if f.has("store.postgres.max_lag") {
		f.add("store.postgres.max_lag", "means nothing without replica; name a replica, or remove it")
	}
	if p.PasswordFile != "" {
		if _, err := os.ReadFile(p.PasswordFile); err != nil {
			f.add("store.postgres.password_file", "can't be read: %s", err)
		}
	}
	if f.has("store.postgres.max_conns") && (p.MaxConns < 1 || p.MaxConns > mostConnections) {
		f.add("store.postgres.max_conns", "%d is out of range; 1 to %d", p.MaxConns, mostConnections)
	}
	if p.Reserve != nil && (*p.Reserve < 0 || *p.Reserve > mostConnections) {
		f.add("store.postgres.reserve", "%d is out of range; 0 to %d", *p.Reserve, mostConnections)
	}
	for _, d := range []struct {
		key       string
		value     duration
		low, high time.Duration
	}{
		{"max_lag", p.MaxLag, 200 * time.Millisecond, 10 * time.Second},
		{"reserve_after", p.ReserveAfter, time.Millisecond, time.Minute},
		{"timeout", p.Timeout, 500 * time.Millisecond, time.Minute},
	} {
		if key := "store.postgres." + d.key; f.has(key) {
			checkDuration(f, key, d.value, d.low, d.high)
		}
	}
}

// defaultDataDir is for edges without a database file.
const defaultDataDir = "/var/lib/streamspace"

// dataDir is where the edge keeps what it makes itself: the self-signed
// certificate and the first keys.
func (c *edgeConfig) dataDir() string {
	switch {
	case c.Node.DataDir != "":
		return c.Node.DataDir
	case c.Store.Postgres != nil:
		return defaultDataDir
	default:
		return filepath.Dir(c.Store.SQLite.Path)
	}
}

// dataKey is what the person who runs the edge knows the choice of dataDir by.
func (c *edgeConfig) dataKey() string {
	if c.Node.DataDir != "" || c.Store.Postgres != nil {
		return c.called("node.data_dir")
	}
	return c.called("store.sqlite.path")
}
