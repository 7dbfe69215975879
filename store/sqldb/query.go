package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// querier is a pool of connections or a transaction.
type querier interface {
	QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error)
}

// all reads every row into a T of its own; fields gives the places of a T's
// columns.
func all[T any](ctx context.Context, q querier, fields func(*T) []any, text string, args ...any) ([]*T, error) {
	rows, err := q.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, fault(ctx, err)
	}
	defer rows.Close()
	var found []*T
	for rows.Next() {
		row := new(T)
		if err := rows.Scan(fields(row)...); err != nil {
			return nil, fault(ctx, err)
		}
		found = append(found, row)
	}
	return found, fault(ctx, rows.Err())
}

// one reads the only row; without any it returns missing.
func one[T any](ctx context.Context, q querier, missing error, fields func(*T) []any, text string, args ...any) (*T, error) {
	found, err := all(ctx, q, fields, text, args...)
	switch {
	case err != nil:
		return nil, err
	case len(found) == 0:
		return nil, missing
	default:
		return found[0], nil
	}
}

// write runs work in a transaction that no other writer can interleave with.
// An error from work is returned as it is and nothing is written.
func (db *DB) write(ctx context.Context, work func(*sql.Tx) error) error {
	tx, err := db.writer.BeginTx(ctx, nil)
	if err != nil {
		return fault(ctx, err)
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	if err := work(tx); err != nil {
		return err
	}
	return fault(ctx, tx.Commit())
}

// remove deletes the row with that id; without any it returns missing.
func (db *DB) remove(ctx context.Context, missing error, table, id string) error {
	_, err := one(ctx, db.writer, missing, func(id *string) []any { return []any{id} },
		"DELETE FROM "+table+" WHERE id = ? RETURNING id", id)
	return err
}

// values is the placeholders for a list of columns: "(?, ?, ?)".
func values(columns string) string { return placeholders(strings.Count(columns, ",") + 1) }

func placeholders(n int) string { return "(?" + strings.Repeat(", ?", n-1) + ")" }

// The types below are how Go values are kept in columns. A pointer to one is
// both a place to scan into and an argument.

// micros keeps a time as microseconds since 1970 in UTC, the zero time as 0.
type micros time.Time

func (m micros) Value() (driver.Value, error) {
	if time.Time(m).IsZero() {
		return int64(0), nil
	}
	return time.Time(m).UnixMicro(), nil
}

func (m *micros) Scan(column any) error {
	n, ok := column.(int64)
	if !ok {
		return fmt.Errorf("a time is kept as %T", column)
	}
	*m = micros{}
	if n != 0 {
		*m = micros(time.UnixMicro(n).UTC())
	}
	return nil
}

// span keeps a duration as microseconds.
type span time.Duration

func (s span) Value() (driver.Value, error) { return time.Duration(s).Microseconds(), nil }

func (s *span) Scan(column any) error {
	n, ok := column.(int64)
	if !ok {
		return fmt.Errorf("a duration is kept as %T", column)
	}
	*s = span(time.Duration(n) * time.Microsecond)
	return nil
}

// document keeps what place points to as JSON.
type document struct{ place any }

func (d document) Value() (driver.Value, error) {
	text, err := json.Marshal(d.place)
	return string(text), err
}

func (d document) Scan(column any) error {
	text, ok := column.(string)
	if !ok {
		return fmt.Errorf("JSON is kept as %T", column)
	}
	return json.Unmarshal([]byte(text), d.place)
}
