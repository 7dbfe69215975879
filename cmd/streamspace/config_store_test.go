package main

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store/sqldb"
)

func TestPostgresConfig(t *testing.T) {
	password := filepath.Join(t.TempDir(), "password")
	if err := writeFile(password, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	config := defaultEdgeConfig()
	err := parseConfig("edge.yml", []byte(smallestEdge+`
node: {data_dir: /srv/streamspace}
store:
  postgres:
    primary: "postgres://streamspace@db1:5432,db2:5432/streamspace?sslmode=verify-full"
    password_file: `+password+`
    replica: "host=db2 user=streamspace dbname=streamspace"
    max_lag: 500ms
    max_conns: 10
    reserve: 0
    reserve_after: 3s
    timeout: 4s
    pgbouncer: true
`), config)
	if err != nil {
		t.Fatal(err)
	}
	want := sqldb.PostgresOptions{
		Primary:      "postgres://streamspace@db1:5432,db2:5432/streamspace?sslmode=verify-full",
		PasswordFile: password, Replica: "host=db2 user=streamspace dbname=streamspace", MaxLag: 500 * time.Millisecond,
		MaxConns: 10, ReserveAfter: 3 * time.Second, Timeout: 4 * time.Second, PgBouncer: true,
	}
	if got := config.Store.Postgres.options(); got != want || config.dataDir() != "/srv/streamspace" {
		t.Errorf("got %+v and %s", got, config.dataDir())
	}

	config = defaultEdgeConfig()
	if err := parseConfig("edge.yml", []byte(smallestEdge+"store: {postgres: {primary: \"host=db1\", replica: \"host=db2 sslmode=prefer\"}}\n"), config); err != nil {
		t.Fatal(err)
	}
	if o := config.Store.Postgres.options(); o.Reserve != sqldb.DefaultReserve || config.dataDir() != defaultDataDir {
		t.Errorf("by default: %+v and %s", o, config.dataDir())
	}
}

func TestPostgresConfigFaults(t *testing.T) {
	const good = `primary: "host=db1"`
	for section, want := range map[string]string{
		"":                         "edge.yml:2:19: store.postgres.primary: must be a connection string",
		"primary: \"db1 hunter2\"": "edge.yml:2:29: store.postgres.primary: is not a connection string of PostgreSQL",
		"primary: \"postgers://a:hunter2@db1/d\"":                   "edge.yml:2:29: store.postgres.primary: is not a connection string of PostgreSQL",
		"primary: \"postgres://a:hunter2/x@db1/d\"":                 "edge.yml:2:29: store.postgres.primary: is not a connection string of PostgreSQL",
		good + ", replica: \"postgres://a:hunter2/x@db1/d\"":        "store.postgres.replica: is not a connection string of PostgreSQL",
		good + ", replica: \"postgres://a:hunter2@db1,db2:5433/d\"": "store.postgres.replica: has several hosts (db1:5432, db2:5433); name one",
		good + ", max_lag: 1s":                                      "store.postgres.max_lag: means nothing without replica",
		good + ", replica: \"host=db2\", max_lag: 1m":               "store.postgres.max_lag: 1m0s is too long; at most 10s",
		good + ", password_file: /does/not/exist":                   "store.postgres.password_file: can't be read: open /does/not/exist",
		good + ", max_conns: 0":                                     "store.postgres.max_conns: 0 is out of range; 1 to 1000",
		good + ", reserve: -1":                                      "store.postgres.reserve: -1 is out of range; 0 to 1000",
		good + ", timeout: 1ms":                                     "store.postgres.timeout: 1ms is too short; at least 500ms",
		good + ", reserve_after: 0":                                 "store.postgres.reserve_after: 0s is too short; at least 1ms",
		good + ", password: hunter2":                                "store.postgres.password: unknown key",
		good + "}, sqlite: {path: /x":                               "edge.yml:2:19: store.postgres: choose only one of sqlite and postgres",
	} {
		err := parseConfig("edge.yml", []byte(smallestEdge+"store: {postgres: {"+section+"}}\n"), defaultEdgeConfig())
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v; want %q", section, err, want)
		}
	}
	err := parseConfig("edge.yml", []byte(smallestEdge+"store: {postgres: }\n"), defaultEdgeConfig())
	if err == nil || !strings.Contains(err.Error(), "store.postgres: has no keys; primary at least is needed") {
		t.Errorf("an empty section: %v", err)
	}
}

func TestTheExamplesHaveOneFaultForEachFileThatIsNotHere(t *testing.T) {
	for file, config := range map[string]validator{
		"postgres/edge.yml": defaultEdgeConfig(), "cluster/edge.yml": defaultEdgeConfig(), "cluster/agent.yml": defaultAgentConfig(),
	} {
		err := loadConfig("../../deploy/"+file, config)
		var faults *configError
		if !errors.As(err, &faults) {
			t.Fatalf("%s: got %v", file, err)
		}
		for _, f := range faults.Faults {
			if !slices.Contains([]string{"tls.cert_file", "store.postgres.password_file", "redis.password_file", "token_file"}, f.Path) {
				t.Errorf("%s: %s: %s", file, f.Path, f.Text)
			}
		}
	}
}
