package sqldb

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// fence keeps an edge from a primary of before: one that was replaced by a
// standby and runs again as if nothing had happened. A promotion begins a new
// timeline, so of two hosts that have the same system and take writes it is the
// lower one's that nobody replicates any more. Safe for concurrent use.
type fence struct {
	mu   sync.Mutex
	seen history // of the primary that was seen last, the highest of its system; zero: none was
}

// history is what the connections to one primary have in common.
type history struct {
	system   string
	timeline int64
}

// historyOf is the key of a connection's history among its custom data.
const historyOf = "history"

const hostOf = `SELECT current_setting('transaction_read_only'), (SELECT system_identifier FROM pg_control_system()),
	CASE WHEN NOT pg_is_in_recovery() THEN ('x' || substr(pg_walfile_name(pg_current_wal_flush_lsn()), 1, 8))::bit(32)::bigint END`

// admit wants a host that takes writes and is not of before.
func (f *fence) admit(ctx context.Context, conn *pgconn.PgConn) error {
	results, err := conn.Exec(ctx, hostOf).ReadAll()
	var refusal *pgconn.PgError
	switch {
	case errors.As(err, &refusal): // what only speaks PostgreSQL's protocol may have no timelines
		return pgconn.ValidateConnectTargetSessionAttrsReadWrite(ctx, conn)
	case err != nil:
		return err
	}
	row := results[0].Rows[0]
	if string(row[0]) == "on" {
		return pgconn.ErrReadOnlyConnection
	}
	timeline, err := strconv.ParseInt(string(row[2]), 10, 64)
	if err != nil {
		return fmt.Errorf("a timeline of the database: %w", err)
	}
	at := history{string(row[1]), timeline}
	conn.CustomData()[historyOf] = at
	return f.pass(at)
}

func (f *fence) pass(at history) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if at.system == f.seen.system && at.timeline < f.seen.timeline {
		return store.Errorf(store.Unavailable,
			"a primary of before takes writes again: it is on timeline %d, and a standby was promoted to %d since; stop it and make it a standby of the new one (pg_rewind), or restart the edges if it was restored from a backup", at.timeline, f.seen.timeline)
	}
	f.seen = at
	return nil
}

// keeps tells whether a connection of a pool may go on: it may not once another
// one has met a newer primary, although its own still answers.
func (f *fence) keeps(_ context.Context, conn *pgx.Conn) (bool, error) {
	at, known := conn.PgConn().CustomData()[historyOf]
	f.mu.Lock()
	defer f.mu.Unlock()
	return !known || at == f.seen, nil
}

// survey looks at all hosts of a connection string at once, so that the first of
// them is not taken for the primary only because the newer one was not asked yet.
func (f *fence) survey(ctx context.Context, c *pgx.ConnConfig) {
	hosts := []*pgconn.FallbackConfig{{Host: c.Host, Port: c.Port, TLSConfig: c.TLSConfig}}
	several := false
	for _, other := range c.Fallbacks {
		several = several || other.Host != c.Host || other.Port != c.Port
		hosts = append(hosts, other)
	}
	if !several {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, c.ConnectTimeout)
	defer cancel()
	var asking sync.WaitGroup
	for _, host := range hosts {
		one := c.Config.Copy()
		one.Host, one.Port, one.TLSConfig, one.Fallbacks = host.Host, host.Port, host.TLSConfig, nil
		one.ValidateConnect = f.admit
		asking.Go(func() {
			conn, err := pgconn.ConnectConfig(ctx, one)
			if err != nil {
				return // whether there is one to work with will be seen
			}
			closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			_ = conn.Close(closing)
		})
	}
	asking.Wait()
}
