package agent

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"
)

const keyBytes = 32 // of randomness in an agent's secret

// identity is who an agent is to every edge, made at its first start.
type identity struct {
	ID  string `json:"id"`  // UUIDv7
	Key string `json:"key"` // the secret that pins ID to this host
}

func loadIdentity(data string) (identity, error) {
	file := filepath.Join(data, "identity.json")
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return createIdentity(file)
	}
	if err != nil {
		return identity{}, err
	}
	var known identity
	if err := json.Unmarshal(text, &known); err != nil || !known.valid() {
		return identity{}, fmt.Errorf("%s is damaged; restore it, or delete it to join as a new agent", file)
	}
	if err := os.Chmod(file, 0o600); err != nil { // whoever copied it here may have left it open
		return identity{}, err
	}
	return known, nil
}

func (i identity) valid() bool {
	key, err := base64.RawURLEncoding.DecodeString(i.Key)
	return err == nil && len(key) == keyBytes && uuid.Validate(i.ID) == nil
}

func createIdentity(file string) (identity, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return identity{}, err
	}
	key := make([]byte, keyBytes)
	rand.Read(key)
	made := identity{ID: id.String(), Key: base64.RawURLEncoding.EncodeToString(key)}
	text, err := json.MarshalIndent(made, "", "  ")
	if err != nil {
		return identity{}, err
	}
	return made, writeDurably(file, append(text, '\n'))
}

const lockPatience = 2 * time.Second

// lockFolder takes the folder for this process; the lock goes when the file is
// closed, also by the process's death. Whatever that process was just starting
// has the lock too, until it is a program of its own with a session's mark: so
// who gets the lock finds every process that the agent before had started.
func lockFolder(data string) (*os.File, error) {
	file, err := os.OpenFile(filepath.Join(data, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
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
	file.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, fmt.Errorf("another agent runs with the data folder %s; stop it, or give this one a folder of its own with data (--data)", data)
	}
	return nil, fmt.Errorf("the data folder %s can't be locked: %w; put data (--data) on a local disk", data, err)
}
