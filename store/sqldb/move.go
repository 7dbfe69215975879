package sqldb

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Moved tells of one table that was moved.
type Moved struct {
	Table string
	Rows  int
	Sum   []byte // SHA-256 of all its rows, the same in both databases
}

// moveBatch is how many rows one INSERT has; 21 columns of them are far below
// the 65,535 arguments that a statement may have.
const moveBatch = 500

// MoveToPostgres copies all that is in the SQLite file at path to the database
// of o, which must be empty, in one transaction, and reads it back: in the end
// all is there or nothing. The file must not be in use by an edge; it stays as
// it is, but for its schema, which is brought up to date. progress, if not nil,
// is told after each batch how many rows of a table are there. The use of tickets
// stays behind: they name a ledger that ends here.
func MoveToPostgres(ctx context.Context, path string, o PostgresOptions, progress func(table string, rows, of int)) (moved []Moved, err error) {
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("there is no database to move: %w", err)
	}
	lock, err := Lock(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	from, err := Open(ctx, path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	o.Replica = ""
	to, err := OpenPostgres(ctx, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	if progress == nil {
		progress = func(string, int, int) {}
	}
	// Reads of one transaction are of one moment.
	err = from.transact(ctx, func(source querier) error {
		return to.engine.(*postgres).longTransaction(ctx, func(target querier) error {
			moved, err = move(ctx, source, target, progress)
			return err
		})
	})
	return moved, err
}

// longTransaction runs work once, for as long as it takes.
func (e *postgres) longTransaction(ctx context.Context, work func(querier) error) error {
	var refused error
	err := e.pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
		tx, err := conn.Begin(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback(ctx) }() // after a commit it does nothing
		if refused = work(&pgTx{ctx: ctx, tx: tx}); refused != nil {
			return refused
		}
		return committed(tx.Commit(ctx))
	})
	if refused != nil {
		return refused
	}
	return fault(ctx, err)
}

// table is one that is moved, as SQLite describes it. PostgreSQL has the same
// tables with the same columns.
type table struct {
	name    string
	columns []string
	key     []string // the columns of its primary key
	rows    int
}

func move(ctx context.Context, source, target querier, progress func(string, int, int)) ([]Moved, error) {
	tables, err := tablesOf(ctx, source)
	if err != nil {
		return nil, err
	}
	if err := lockEmpty(ctx, target, tables); err != nil {
		return nil, err
	}
	var moved []Moved
	for _, t := range tables {
		if err := t.copy(ctx, source, target, progress); err != nil {
			return nil, fmt.Errorf("table %s: %w", t.name, err)
		}
		was, sum, err := t.sum(ctx, source)
		if err != nil {
			return nil, fmt.Errorf("table %s: %w", t.name, err)
		}
		is, sumNow, err := t.sum(ctx, target)
		if err != nil {
			return nil, fmt.Errorf("table %s: %w", t.name, err)
		}
		if was != is || !bytes.Equal(sum, sumNow) {
			return nil, fmt.Errorf("table %s: %d rows came back as %d, or with other contents; nothing was moved", t.name, was, is)
		}
		moved = append(moved, Moved{Table: t.name, Rows: is, Sum: sum})
	}
	return moved, nil
}

func tablesOf(ctx context.Context, source querier) ([]*table, error) {
	tables, err := all(ctx, source, func(t *table) []any { return []any{&t.name} },
		`SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\_%' ESCAPE '\' AND name NOT IN ('goose_db_version', 'ticket_ledger', 'used_tickets') ORDER BY name`)
	if err != nil {
		return nil, err
	}
	type column struct {
		name string
		key  int
	}
	for _, t := range tables {
		columns, err := all(ctx, source, func(c *column) []any { return []any{&c.name, &c.key} },
			"SELECT name, pk FROM pragma_table_info(?) ORDER BY pk = 0, pk, cid", t.name)
		if err != nil {
			return nil, err
		}
		for _, c := range columns {
			t.columns = append(t.columns, c.name)
			if c.key > 0 {
				t.key = append(t.key, c.name)
			}
		}
		rows, err := one(ctx, source, nil, func(n *int) []any { return []any{n} }, "SELECT COUNT(*) FROM "+t.name)
		if err != nil {
			return nil, err
		}
		t.rows = *rows
	}
	return tables, nil
}

// lockEmpty keeps everybody else out of the target's tables and finds them
// empty.
func lockEmpty(ctx context.Context, target querier, tables []*table) error {
	names := make([]string, len(tables))
	for i, t := range tables {
		names[i] = t.name
	}
	if err := execute(ctx, target, "LOCK TABLE "+strings.Join(names, ", ")+" IN ACCESS EXCLUSIVE MODE"); err != nil {
		return err
	}
	for _, name := range names {
		found, err := all(ctx, target, func(n *int) []any { return []any{n} }, "SELECT 1 FROM "+name+" LIMIT 1")
		if err != nil {
			return err
		}
		if len(found) > 0 {
			return fmt.Errorf("the table %s of the PostgreSQL database has rows already; move into a new database that no edge has used", name)
		}
	}
	return nil
}

// each reads every row of the table in the order of its key.
func (t *table) each(ctx context.Context, q querier, row func(values []any) error) error {
	var refused error
	err := q.query(ctx, func(r rows) error {
		for r.Next() {
			values, places := make([]any, len(t.columns)), make([]any, len(t.columns))
			for i := range values {
				places[i] = &values[i]
			}
			if err := r.Scan(places...); err != nil {
				return err
			}
			if refused = row(values); refused != nil {
				return refused
			}
		}
		return r.Err()
	}, "SELECT "+strings.Join(t.columns, ", ")+" FROM "+t.name+" ORDER BY "+strings.Join(t.key, ", "))
	if refused != nil {
		return refused
	}
	return fault(ctx, err)
}

func (t *table) copy(ctx context.Context, source, target querier, progress func(string, int, int)) error {
	var batch []any
	done := 0
	flush := func() error {
		n := len(batch) / len(t.columns)
		if n == 0 {
			return nil
		}
		columns := strings.Join(t.columns, ", ")
		text := "INSERT INTO " + t.name + " (" + columns + ") VALUES " + values(columns) + strings.Repeat(", "+values(columns), n-1)
		if err := execute(ctx, target, text, batch...); err != nil {
			return err
		}
		batch, done = batch[:0], done+n
		progress(t.name, done, t.rows)
		return nil
	}
	err := t.each(ctx, source, func(row []any) error {
		for i, value := range row {
			if text, ok := value.(string); ok && (!utf8.ValidString(text) || strings.Contains(text, "\x00")) {
				return fmt.Errorf("the row with the key %q has a text in %s that PostgreSQL can't keep, with a NUL or not in UTF-8; change it, then move again", row[0], t.columns[i])
			}
			if t.columns[i] == "draining" {
				value = value != int64(0) // SQLite has no booleans
			}
			batch = append(batch, value)
		}
		if len(batch) == moveBatch*len(t.columns) {
			return flush()
		}
		return nil
	})
	if err != nil {
		return err
	}
	return flush()
}

// sum counts the rows and hashes them.
func (t *table) sum(ctx context.Context, q querier) (rows int, sum []byte, err error) {
	h := sha256.New()
	err = t.each(ctx, q, func(row []any) error {
		rows++
		for _, value := range row {
			if err := hashValue(h, value); err != nil {
				return err
			}
		}
		return nil
	})
	return rows, h.Sum(nil), err
}

// hashValue adds a value with its kind and length, so that no two rows look
// alike. A boolean counts as the number that SQLite keeps for it.
func hashValue(h hash.Hash, value any) error {
	var kind byte
	var content []byte
	switch v := value.(type) {
	case bool:
		n := int64(0)
		if v {
			n = 1
		}
		return hashValue(h, n)
	case int64:
		kind, content = 'i', binary.BigEndian.AppendUint64(nil, uint64(v))
	case string:
		kind, content = 's', []byte(v)
	case []byte:
		kind, content = 'b', v
	default:
		return fmt.Errorf("a column of the type %T is not known here", value)
	}
	_, err := h.Write(append(binary.BigEndian.AppendUint64([]byte{kind}, uint64(len(content))), content...))
	return err
}
