package sqldb

import (
	"context"
	"database/sql/driver"
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// Pauses between attempts, each drawn from the upper half of its span so that
// callers come back one by one.
const (
	firstPause   = 20 * time.Millisecond
	longestPause = 500 * time.Millisecond
)

// pgPool is the connections to one PostgreSQL, or to the one of several hosts
// that takes writes. It repeats what is safe to repeat and keeps callers away
// from a database that is gone.
type pgPool struct {
	target  string // for metrics
	pool    *pgxpool.Pool
	slots   *slots
	breaker breaker
	lost    atomic.Pointer[error] // the words of the latest attempt that the breaker counts as failed
	timeout time.Duration         // of a call with all its attempts
	metrics *Metrics
}

// attempts runs work on a connection until it succeeds or must not be
// repeated. The ctx that work gets ends at the latest with the call.
func (p *pgPool) attempts(ctx context.Context, work func(context.Context, *pgxpool.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		err := p.attempt(ctx, work)
		if err == nil || !repeatable(err) {
			return err
		}
		timer := time.NewTimer(pause/2 + rand.N(pause/2))
		select {
		case <-ctx.Done():
			timer.Stop()
			return err
		case <-timer.C:
			p.metrics.retries.WithLabelValues(p.target).Inc()
		}
	}
}

func (p *pgPool) attempt(ctx context.Context, work func(context.Context, *pgxpool.Conn) error) error {
	began := time.Now()
	defer func() { p.metrics.queries.WithLabelValues(p.target).Observe(time.Since(began).Seconds()) }()
	release := p.slots.take(ctx)
	if release == nil {
		return &store.Error{
			Code:  store.Unavailable,
			Text:  "every connection to the database is in use; try again in a moment",
			Cause: ctx.Err(),
		}
	}
	defer release()
	began = time.Now()
	if !p.breaker.enter(began) {
		p.metrics.refused.WithLabelValues(p.target).Inc()
		return &store.Error{Code: store.Unavailable, Text: "the database does not answer; try again in a moment", Cause: *p.lost.Load()}
	}
	how := unknown // what a panic of work leaves
	defer func() {
		if tripped := p.breaker.leave(began, time.Now(), how); tripped {
			p.pool.Reset()
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, p.timeout*2/5) // when a host falls silent there is time to go to the next
	defer cancel()
	conn, err := p.pool.Acquire(ctx)
	if err == nil {
		err = func() error {
			defer conn.Release()
			return work(ctx, conn)
		}()
	}
	if how = judge(ctx, err); how == gone {
		words := errors.New(err.Error()) // it is not repeatable when another call is refused by it
		p.lost.Store(&words)
		if staleConnections(err) {
			p.pool.Reset() // the others are as good as this one was
		}
	}
	return err
}

// judge says what an attempt that ended with err tells of the database.
func judge(ctx context.Context, err error) outcome {
	switch {
	case !leaving(err):
		return answered
	case errors.Is(ctx.Err(), context.Canceled):
		return unknown
	default:
		return gone
	}
}

// query runs a statement that only reads; it may be repeated.
func (p *pgPool) query(ctx context.Context, read func(rows) error, text string, args ...any) error {
	text, args, err := native(text, args)
	if err != nil {
		return err
	}
	return p.attempts(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		return readRows(ctx, conn, read, text, args)
	})
}

// pgReads are the reads that callers of the DB wish, to be counted.
type pgReads struct{ p *pgPool }

func (r pgReads) query(ctx context.Context, read func(rows) error, text string, args ...any) error {
	r.p.metrics.reads.WithLabelValues(r.p.target).Inc()
	return r.p.query(ctx, read, text, args...)
}

// transact runs work in a transaction; work may be repeated as long as no
// commit was asked for.
func (p *pgPool) transact(ctx context.Context, work func(querier) error) error {
	err := p.attempts(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		tx, err := conn.Begin(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback(ctx) }() // after a commit it does nothing
		q := &pgTx{ctx: ctx, tx: tx}
		if err := work(q); err != nil {
			return &workError{own: err, failed: q.failed}
		}
		return committed(tx.Commit(ctx))
	})
	var ended *workError
	if errors.As(err, &ended) {
		return ended.own
	}
	return fault(ctx, err)
}

// workError ends a transaction because its work wants so. It is judged by what
// the database said, and not by what the work made of that.
type workError struct {
	own    error
	failed error // nil: the database did all it was asked for
}

func (e *workError) Error() string {
	if e.failed == nil {
		return "the work of the transaction took it back"
	}
	return e.failed.Error()
}

func (e *workError) Unwrap() error { return e.failed }

// committed marks an error of a commit after which nobody knows whether it
// happened. Only the database's plain refusal is certain.
func committed(err error) error {
	var refusal *pgconn.PgError
	switch {
	case err == nil, errors.Is(err, pgx.ErrTxCommitRollback), pgconn.SafeToRetry(err),
		errors.As(err, &refusal) && refusal.SeverityUnlocalized == "ERROR":
		return err
	default:
		return &uncertainError{err}
	}
}

// uncertainError is a failure amid a commit.
type uncertainError struct{ cause error }

func (e *uncertainError) Error() string { return "amid a commit: " + e.cause.Error() }
func (e *uncertainError) Unwrap() error { return e.cause }

// pgTx is the querier of one transaction.
type pgTx struct {
	ctx    context.Context // of the attempt: that of its calls, and with an end
	tx     pgx.Tx
	failed error // the database's own, so that it is not taken for one of the caller's
}

func (t *pgTx) query(_ context.Context, read func(rows) error, text string, args ...any) error {
	text, args, err := native(text, args)
	if err != nil {
		return err
	}
	err = readRows(t.ctx, t.tx, read, text, args)
	if err != nil && t.failed == nil {
		t.failed = err
	}
	return err
}

// pgWrites makes each statement a transaction of its own: a statement alone is
// committed with it, and when the connection is lost then nobody knows whether
// it happened.
type pgWrites struct{ p *pgPool }

func (w pgWrites) query(ctx context.Context, read func(rows) error, text string, args ...any) error {
	return w.p.transact(ctx, func(tx querier) error { return tx.query(ctx, read, text, args...) })
}

func readRows(ctx context.Context, q interface {
	Query(ctx context.Context, text string, args ...any) (pgx.Rows, error)
}, read func(rows) error, text string, args []any,
) error {
	found, err := q.Query(ctx, text, args...)
	if err != nil {
		return err
	}
	defer found.Close()
	if err := read(found); err != nil {
		return err
	}
	found.Close()
	return found.Err()
}

// native turns a statement into PostgreSQL's writing, and its arguments into
// the few types that need no description of the statement. Question marks stand
// for nothing else in our SQL.
func native(text string, args []any) (string, []any, error) {
	var out strings.Builder
	out.Grow(len(text) + 2*len(args))
	for n := 1; ; n++ {
		before, after, found := strings.Cut(text, "?")
		out.WriteString(before)
		if !found {
			break
		}
		out.WriteByte('$')
		out.WriteString(strconv.Itoa(n))
		text = after
	}
	plain := make([]any, len(args))
	for i, arg := range args {
		value, err := driver.DefaultParameterConverter.ConvertValue(arg)
		if err != nil {
			return "", nil, err
		}
		plain[i] = value
	}
	return out.String(), plain, nil
}
