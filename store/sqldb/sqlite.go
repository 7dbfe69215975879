package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/streamspace-dev/streamspace-edge/store"
)

const (
	// readers is how many reads run at once: enough that a long list does not
	// hold up a look at one session, few enough to keep their page caches
	// small (2 MB each).
	readers = 4
	// busyTimeout is how long to wait for another process's write.
	busyTimeout = 5 * time.Second
	// settlePause is long against a migration's step and short against
	// busyTimeout.
	settlePause = 50 * time.Millisecond
)

// sqliteFile is the engine on one file.
//
// Writes share one connection: SQLite takes one writer at a time anyway, and
// waiting in Go's queue is fair and ends with the context, where waiting for
// SQLite's lock is a lottery of retries. Reads have connections of their own,
// which in WAL mode neither wait for a writer nor hold one up.
type sqliteFile struct {
	path   string
	file   os.FileInfo // of path when it was opened
	writer *sql.DB
	reader *sql.DB
	full   atomic.Bool // a write has found no room, and ping none since
}

// Open opens the database in the file at path and brings its schema up to
// date. What is missing is made: the file with mode 0600, folders with 0700.
// The file must be on a local disk and belong to one edge. The caller closes
// the DB.
func Open(ctx context.Context, path string) (*DB, error) {
	db, _, err := openSQLite(ctx, path)
	return db, err
}

// openSQLite also returns the steps that the schema lacked.
func openSQLite(ctx context.Context, path string) (*DB, []Step, error) {
	e, err := openSQLiteFile(path)
	if err != nil {
		return nil, nil, err
	}
	steps, err := e.settle(ctx)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("the database %s can't be used: %w", e.path, err), e.close())
	}
	tickets := newMemoryLedger()
	if err := tickets.resume(ctx, e); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("the use of tickets in the database %s can't be read: %w", e.path, err), e.close())
	}
	return &DB{engine: e, writer: sqliteQuerier{e.writer, e}, reader: sqliteQuerier{e.reader, e}, tickets: tickets}, steps, nil
}

// openSQLiteFile leaves what is in the file as it is.
func openSQLiteFile(path string) (*sqliteFile, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	file, err := makeFile(path)
	if err != nil {
		return nil, err
	}
	writer, err := sql.Open("sqlite", source(path, url.Values{
		"_journal_mode": {"WAL"}, "_synchronous": {"FULL"}, "_txlock": {"immediate"},
	}))
	if err != nil {
		return nil, err
	}
	reader, err := sql.Open("sqlite", source(path, url.Values{"_query_only": {"on"}}))
	if err != nil {
		return nil, errors.Join(err, writer.Close())
	}
	keepOpen(writer, 1)
	keepOpen(reader, readers)
	return &sqliteFile{path: path, file: file, writer: writer, reader: reader}, nil
}

// settle prepares the database, again when another process was at it: to turn
// on WAL mode, to recover a log, to close last and to migrate, SQLite takes
// locks for which it does not wait, whatever the busy timeout.
func (e *sqliteFile) settle(ctx context.Context) ([]Step, error) {
	for patience := time.Now().Add(busyTimeout); ; {
		steps, err := e.prepare(ctx)
		if !contended(err) || time.Now().After(patience) {
			return steps, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(settlePause):
		}
	}
}

func (e *sqliteFile) prepare(ctx context.Context) ([]Step, error) {
	var mode string
	if err := e.writer.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&mode); err != nil {
		return nil, fault(ctx, err)
	}
	if mode != "wal" {
		return nil, errors.New("its file system has no shared memory for SQLite's write-ahead log; put the file on a local disk")
	}
	p, err := schemaOf(goose.DialectSQLite3, "sqlite", e.writer)
	if err != nil {
		return nil, err
	}
	return migrate(ctx, p)
}

// source is the driver's address of the file. It must exist: a file that was
// removed while in use is a fault, not a reason to start an empty one.
func source(path string, options url.Values) string {
	options.Set("mode", "rw")
	options.Set("_foreign_keys", "on")
	options.Set("_busy_timeout", strconv.FormatInt(busyTimeout.Milliseconds(), 10))
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: options.Encode()}).String()
}

func keepOpen(pool *sql.DB, connections int) {
	pool.SetMaxOpenConns(connections)
	pool.SetMaxIdleConns(connections)
}

// makeFile makes sure that there is a file, and says which. It opens only what
// it makes: closing a file drops every lock that this process holds on it, also
// those of another DB (https://www.sqlite.org/howtocorrupt.html, section 2.2).
func makeFile(path string) (os.FileInfo, error) {
	if err := makeFolder(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("the folder of the database %s can't be made: %w; name a folder that this user may write", path, err)
	}
	file, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = createFile(path); err == nil {
			file, err = os.Stat(path)
		}
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("the database can't be opened: %w; name a file that this user may write", err)
	case file.IsDir():
		return nil, fmt.Errorf("the database %s is a folder; name a file in it, such as %s", path, filepath.Join(path, "streamspace.db"))
	case !file.Mode().IsRegular():
		return nil, fmt.Errorf("the database %s is not a regular file; name one on a local disk", path)
	default:
		return file, nil
	}
}

// createFile leaves a file alone that was made in the meantime.
func createFile(path string) error {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return file.Close()
}

// makeFolder is os.MkdirAll that makes the new names durable: SQLite sees to
// those in the file's own folder only.
func makeFolder(folder string) error {
	if _, err := os.Stat(folder); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(folder)
	if err := makeFolder(parent); err != nil {
		return err
	}
	if err := os.Mkdir(folder, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	p, err := os.Open(parent)
	if err != nil {
		return err
	}
	_ = p.Sync() // where a folder can't be synced, there is nothing better to do
	return p.Close()
}

// ping also fails when the file is no longer the one that was opened: what is
// written then, a restart would lose.
func (e *sqliteFile) ping(ctx context.Context) error {
	file, err := os.Stat(e.path)
	if err == nil && !os.SameFile(file, e.file) {
		err = fmt.Errorf("%s is another file now", e.path)
	}
	if err != nil {
		return &store.Error{
			Code:  store.Unavailable,
			Text:  "the database file was removed or replaced while in use; put it back, or restart to use what is there now",
			Cause: err,
		}
	}
	return e.transact(ctx, func(querier) error { return e.findRoom() })
}

func (e *sqliteFile) transact(ctx context.Context, work func(querier) error) error {
	tx, err := e.writer.BeginTx(ctx, nil)
	if err != nil {
		return fault(ctx, err)
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	if err := work(sqliteQuerier{tx, e}); err != nil {
		return err
	}
	return fault(ctx, e.noticed(tx.Commit()))
}

// locking is empty: a transaction keeps all other writers out.
func (e *sqliteFile) locking() string { return "" }

// close waits for calls that run and folds the write-ahead log into the file.
func (e *sqliteFile) close() error {
	return errors.Join(e.reader.Close(), e.writer.Close())
}

// sqliteQuerier is a pool of connections or a transaction of file.
type sqliteQuerier struct {
	q interface {
		QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error)
	}
	file *sqliteFile
}

func (s sqliteQuerier) query(ctx context.Context, read func(rows) error, text string, args ...any) error {
	found, err := s.q.QueryContext(ctx, text, args...)
	if err != nil {
		return s.file.noticed(err)
	}
	defer found.Close()
	return s.file.noticed(read(found))
}
