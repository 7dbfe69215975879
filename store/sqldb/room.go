package sqldb

import (
	"errors"
	"fmt"
	"os"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// enoughRoom is more than any one change takes. A write of a page would succeed
// many times over on a disk that is full: into what is left of the log behind a
// change that did not fit.
const enoughRoom = 256 << 10

// noticed returns an error of the driver as it is, and keeps in mind that the disk
// is full if it says so.
func (e *sqliteFile) noticed(err error) error {
	var failure *sqlite.Error
	if errors.As(err, &failure) && failure.Code()&0xff == sqlite3.SQLITE_FULL {
		e.full.Store(true)
	}
	return err
}

// findRoom looks, on a disk that was found full, whether it still is: by a file
// beside the database, so that quotas and what is reserved for root count as for
// the database. No write may be under way: it could find the room taken.
func (e *sqliteFile) findRoom() error {
	if !e.full.Load() {
		return nil
	}
	if err := takeRoom(e.path + "-room"); err != nil {
		_, text := explain(sqlite3.SQLITE_FULL)
		return &store.Error{Code: store.Unavailable, Text: text, Cause: fmt.Errorf("%w: %w", store.ErrDiskFull, err)}
	}
	e.full.Store(false)
	return nil
}

func takeRoom(path string) error {
	err := os.WriteFile(path, make([]byte, enoughRoom), 0o600)
	return errors.Join(err, os.Remove(path))
}
