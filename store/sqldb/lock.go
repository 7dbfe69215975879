package sqldb

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// lockPatience is how long an edge that was just killed may still have the
// lock: what it was starting has it until it is a program of its own.
const lockPatience = 2 * time.Second

// Lock takes the database at path for this process: a second edge would take
// the first one's sessions for lost. The lock is a file beside the database and
// goes with the process, however that ends. The caller closes it after the DB.
func Lock(path string) (io.Closer, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return file, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) || time.Since(began) > lockPatience {
			break
		}
	}
	_ = file.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, fmt.Errorf("another edge runs with the database %s; stop it, or give this one a database of its own", path)
	}
	return nil, fmt.Errorf("locking %s.lock: %w", path, err)
}
