package sqldb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// Defaults of PostgresOptions.
const (
	DefaultMaxConns     = 25
	DefaultReserve      = 5
	DefaultReserveAfter = time.Second
	DefaultTimeout      = 5 * time.Second
	DefaultMaxLag       = time.Second

	// connectShare of a call's time, within these bounds, is for each host of a DSN
	// that sets none: one that is silent must leave time for the next within an
	// attempt, which has two fifths.
	connectShare              = 0.3
	leastConnect, fullConnect = 500 * time.Millisecond, 1500 * time.Millisecond
	// cancelTimeout is for the cancel of a statement that took too long: until then
	// it keeps its place in the pool, and a host that fell silent has all of them.
	cancelTimeout = 200 * time.Millisecond
)

// PostgresOptions says where a PostgreSQL is and how it is used.
type PostgresOptions struct {
	// Primary is a connection string of libpq, as a URL or as key=value. Of
	// several hosts the one that takes writes is used, whatever
	// target_session_attrs says.
	Primary string
	// PasswordFile has the password of Primary and Replica, and nothing else.
	// It is read at each connect. Empty: the connection strings or libpq's
	// environment and files have it.
	PasswordFile string
	// Replica is the connection string of a streaming standby that answers
	// reads with store.AllowLag; empty: there is none.
	Replica string
	// MaxLag is how far Replica may be behind to be used; 0: DefaultMaxLag.
	MaxLag time.Duration

	MaxConns     int           // at once; 0: DefaultMaxConns
	Reserve      int           // more of them, for calls that waited ReserveAfter; 0: none
	ReserveAfter time.Duration // 0: DefaultReserveAfter
	Timeout      time.Duration // of one call with all its attempts; 0: DefaultTimeout

	// PgBouncer makes the connections fit for transaction pooling: no prepared
	// statements, nothing that lasts beyond a transaction.
	PgBouncer bool

	Metrics *Metrics // nil: nobody sees them

	fence *fence // of all connections to Primary
}

func (o PostgresOptions) withDefaults() PostgresOptions {
	o.MaxLag = cmp.Or(o.MaxLag, DefaultMaxLag)
	o.MaxConns = cmp.Or(o.MaxConns, DefaultMaxConns)
	o.ReserveAfter = cmp.Or(o.ReserveAfter, DefaultReserveAfter)
	o.Timeout = cmp.Or(o.Timeout, DefaultTimeout)
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	if o.fence == nil {
		o.fence = &fence{}
	}
	return o
}

// ErrDSN is what CheckDSN returns. It quotes nothing: a password with an
// unescaped character would show in what a parser says.
var ErrDSN = errors.New(`is not a connection string of PostgreSQL; write it like "postgres://streamspace@db1,db2:5432/streamspace", with %-escapes for special characters in user and password, or better the password in password_file`)

// CheckDSN tells whether text is a connection string.
func CheckDSN(text string) error {
	_, err := parseDSN(text)
	return err
}

// CheckReplicaDSN is CheckDSN for a replica, which is one host: what one standby
// has replayed says nothing of another.
func CheckReplicaDSN(text string) error {
	c, err := parseDSN(text)
	if err != nil {
		return err
	}
	first := &c.ConnConfig.Config
	for _, other := range first.Fallbacks { // also the same host without TLS
		if other.Host != first.Host || other.Port != first.Port {
			return fmt.Errorf("has several hosts (%s:%d, %s:%d); name one standby, the nearest: how far it is behind is measured, and says nothing of another",
				first.Host, first.Port, other.Host, other.Port)
		}
	}
	return nil
}

// parseDSN refuses what pgx takes for a list of key=value without any key that it
// knows, and so for a server on this host: a URL whose scheme is misspelt.
func parseDSN(text string) (*pgxpool.Config, error) {
	scheme, _, isURL := strings.Cut(text, "://")
	isURL = isURL && !strings.ContainsAny(scheme, "= ")
	if text == "" || isURL && scheme != "postgres" && scheme != "postgresql" {
		return nil, ErrDSN
	}
	c, err := pgxpool.ParseConfig(text)
	if err != nil {
		return nil, ErrDSN
	}
	return c, nil
}

// poolConfig is how connections to dsn are made.
func (o PostgresOptions) poolConfig(dsn string) (*pgxpool.Config, error) {
	c, err := parseDSN(dsn)
	if err != nil {
		return nil, err
	}
	c.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheStatement
	if o.PgBouncer {
		c.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	}
	if c.ConnConfig.ConnectTimeout == 0 || !strings.Contains(dsn, "connect_timeout") {
		share := time.Duration(connectShare * float64(o.Timeout))
		c.ConnConfig.ConnectTimeout = min(max(share, leastConnect), fullConnect)
	}
	if c.ConnConfig.RuntimeParams["application_name"] == "" {
		c.ConnConfig.RuntimeParams["application_name"] = "streamspace"
	}
	c.MaxConns = int32(o.MaxConns + o.Reserve)
	c.PingTimeout = o.Timeout / 2
	c.BeforeConnect = o.beforeConnect
	c.ConnConfig.DialFunc = dialWithin(c.ConnConfig.ConnectTimeout, c.ConnConfig.DialFunc)
	c.AfterConnect = connected
	c.BeforeClose = hasten
	return c, nil
}

// dialWithin gives dial, and what is said first on its connection, limit; to a cancel
// cancelTimeout, which a host that is gone from the network would let dial for longer.
func dialWithin(limit time.Duration, dial pgconn.DialFunc) pgconn.DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		limit := limit
		if ends, ok := ctx.Deadline(); ok && time.Until(ends) > limit {
			limit = cancelTimeout // pgx gives 15 s to a cancel, and to a connect no more than the timeout
		}
		ends := time.Now().Add(limit)
		ctx, cancel := context.WithDeadline(ctx, ends)
		defer cancel()
		conn, err := dial(ctx, network, address)
		if err == nil {
			err = conn.SetDeadline(ends)
		}
		return conn, err
	}
}

// connected lifts the deadline of a new connection. Those that pgx makes to
// cancel a statement never get here.
func connected(_ context.Context, conn *pgx.Conn) error {
	return conn.PgConn().Conn().SetDeadline(time.Time{})
}

// hasten ends a connection's last words: they need no answer, and where none
// comes its place in the pool is wanted.
func hasten(conn *pgx.Conn) {
	wire := conn.PgConn().Conn()
	if conn.IsClosed() {
		_ = wire.Close()
	} else {
		_ = wire.SetDeadline(time.Now().Add(time.Second))
	}
}

func (o PostgresOptions) beforeConnect(_ context.Context, c *pgx.ConnConfig) error {
	if o.PasswordFile == "" {
		return nil
	}
	text, err := os.ReadFile(o.PasswordFile)
	if err != nil {
		return &store.Error{Code: store.Unavailable, Text: "the password file of the database can't be read; make it readable for this user", Cause: err}
	}
	c.Password = strings.TrimRight(string(text), "\r\n")
	return nil
}

// postgres is the engine on a PostgreSQL.
type postgres struct {
	*pgPool
	replica   *replica // nil: there is none
	stopClock func()   // nil: it was not begun
	forget    []func() // metrics
}

// OpenPostgres opens a DB on PostgreSQL 13 or later and brings its schema up
// to date; of edges that start at once one does. The caller closes the DB.
func OpenPostgres(ctx context.Context, o PostgresOptions) (*DB, error) {
	o = o.withDefaults()
	if _, err := MigratePostgres(ctx, o); err != nil {
		return nil, err
	}
	primary, err := o.open(ctx, targetPrimary, o.Primary)
	if err != nil {
		return nil, err
	}
	e := &postgres{pgPool: primary, forget: []func(){o.Metrics.watch(primary)}}
	db := &DB{engine: e, writer: pgWrites{primary}, reader: pgReads{primary}}
	if err := e.durable(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if db.tickets, err = openTableLedger(ctx, primary); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	db.clock, e.stopClock = watchClock(ctx, primary)
	e.forget = append(e.forget, o.Metrics.watchClock(db.clock))
	if o.Replica == "" {
		return db, nil
	}
	near := o
	near.Timeout = min(o.Timeout, replicaTimeout)
	pool, err := near.open(ctx, targetReplica, o.Replica)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	e.replica = newReplica(pool, primary, o.MaxLag)
	e.forget = append(e.forget, o.Metrics.watch(pool), o.Metrics.watchLag(e.replica))
	db.replica = e.replica
	return db, nil
}

// open makes a pool; it connects when it is used.
func (o PostgresOptions) open(ctx context.Context, target, dsn string) (*pgPool, error) {
	c, err := o.poolConfig(dsn)
	if err != nil {
		return nil, err
	}
	if target == targetPrimary {
		c.ConnConfig.ValidateConnect = o.fence.admit
		c.PrepareConn = o.fence.keeps
	}
	pool, err := pgxpool.NewWithConfig(ctx, c)
	if err != nil {
		return nil, fault(ctx, err)
	}
	return &pgPool{
		target: target, pool: pool, slots: newSlots(o.MaxConns, o.Reserve, o.ReserveAfter),
		timeout: o.Timeout, metrics: o.Metrics,
	}, nil
}

// durable refuses a database that acknowledges what it may lose.
func (e *postgres) durable(ctx context.Context) error {
	setting, err := one(ctx, e.pgPool, nil, func(v *string) []any { return []any{v} }, "SHOW synchronous_commit")
	if err == nil && *setting == "off" {
		err = store.Errorf(store.Unavailable,
			"synchronous_commit is off, so the database acknowledges writes that a crash may lose; turn it on for this user or this database")
	}
	return err
}

func (e *postgres) locking() string { return " FOR UPDATE" }

// ping also shows that writes are possible: the connection is to a host that
// takes them, which a server that became a standby no longer is.
func (e *postgres) ping(ctx context.Context) error {
	return e.transact(ctx, func(tx querier) error { return execute(ctx, tx, "SELECT txid_current()") })
}

func (e *postgres) close() error {
	if e.replica != nil {
		e.replica.close()
		e.replica.pool.pool.Close()
	}
	if e.stopClock != nil {
		e.stopClock()
	}
	for _, forget := range e.forget {
		forget()
	}
	e.forget = nil
	e.pool.Close()
	return nil
}
