package sqldb

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// querier runs statements: each on its own, or all in one transaction.
// Placeholders are question marks.
type querier interface {
	// query hands the rows to read, which reads them to their end, and again
	// from their beginning where the statement had to be repeated.
	query(ctx context.Context, read func(rows) error, text string, args ...any) error
}

type rows interface {
	Next() bool
	Scan(fields ...any) error
	Err() error
}

// all reads every row into a T of its own; fields gives the places of a T's
// columns.
func all[T any](ctx context.Context, q querier, fields func(*T) []any, text string, args ...any) ([]*T, error) {
	var found []*T
	err := q.query(ctx, func(r rows) error {
		found = nil
		for r.Next() {
			row := new(T)
			if err := r.Scan(fields(row)...); err != nil {
				return err
			}
			found = append(found, row)
		}
		return r.Err()
	}, text, args...)
	if err != nil {
		return nil, fault(ctx, err)
	}
	return found, nil
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

// lookUp is one by an id. Where the database can't even keep the id it is in no
// row.
func lookUp[T any](ctx context.Context, q querier, missing error, fields func(*T) []any, text string, args ...any) (*T, error) {
	found, err := one(ctx, q, missing, fields, text, args...)
	if store.CodeOf(err) == store.Invalid {
		return nil, missing
	}
	return found, err
}

// execute runs a statement without rows.
func execute(ctx context.Context, q querier, text string, args ...any) error {
	return fault(ctx, q.query(ctx, func(r rows) error {
		for r.Next() { // a statement has run when its rows have ended
		}
		return r.Err()
	}, text, args...))
}

// remove deletes the row with that id; without any it returns missing.
func (db *DB) remove(ctx context.Context, missing error, table, id string) error {
	_, err := lookUp(ctx, db.writer, missing, func(id *string) []any { return []any{id} },
		"DELETE FROM "+table+" WHERE id = ? RETURNING id", id)
	return err
}

// values is the placeholders for a list of columns: "(?, ?, ?)".
func values(columns string) string { return placeholders(strings.Count(columns, ",") + 1) }

func placeholders(n int) string { return "(?" + strings.Repeat(", ?", n-1) + ")" }

// The types below are how Go values are kept in columns. A pointer to one is
// both a place to scan into and an argument. Beside database/sql's Scan they have
// pgx's own ways, which take a third of the time; for the same reason columns of
// named strings are scanned as plain ones.

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
	return m.ScanInt64(pgtype.Int8{Int64: n, Valid: true})
}

// ScanInt64 implements pgtype.Int64Scanner.
func (m *micros) ScanInt64(n pgtype.Int8) error {
	*m = micros{}
	switch {
	case !n.Valid:
		return errors.New("a time is kept as NULL")
	case n.Int64 != 0:
		*m = micros(time.UnixMicro(n.Int64).UTC())
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
	return s.ScanInt64(pgtype.Int8{Int64: n, Valid: true})
}

// ScanInt64 implements pgtype.Int64Scanner.
func (s *span) ScanInt64(n pgtype.Int8) error {
	if !n.Valid {
		return errors.New("a duration is kept as NULL")
	}
	*s = span(time.Duration(n.Int64) * time.Microsecond)
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
	return d.ScanText(pgtype.Text{String: text, Valid: true})
}

// ScanText implements pgtype.TextScanner.
func (d document) ScanText(text pgtype.Text) error {
	_, refusals := d.place.(*store.Refusals)
	switch {
	case !text.Valid:
		return errors.New("JSON is kept as NULL")
	case text.String == "null", refusals && text.String == "{}":
		return nil // so are most, and the place is a zero value
	}
	return json.Unmarshal([]byte(text.String), d.place)
}
