package agent

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/streamspace-dev/streamspace-edge/proxy/tunnel"
)

// Files in a session's folder.
const (
	recordFile  = "session.json"
	stopFile    = "stop"   // its presence says that the session was told to end
	fencedFile  = "fenced" // its presence says that the lease was over: the session may run elsewhere
	socketFile  = "vnc.sock"
	xauthFile   = "xauthority"
	serverLog   = "server.log"
	desktopLog  = "desktop.log"
	runtimeData = "run" // XDG_RUNTIME_DIR
)

// record is what of a session survives the agent, as session.json.
type record struct {
	Runtime string              `json:"runtime"`
	Type    string              `json:"type"`
	Width   int                 `json:"width"`
	Height  int                 `json:"height"`
	State   tunnel.SessionState `json:"state"`             // starting, or running
	Address string              `json:"address,omitempty"` // where the VNC server listens: "host:port" or "unix:/path"

	Endpoint string `json:"endpoint,omitempty"` // type static: the name of the endpoint that was asked for, and then of the one it has

	// Type process.
	Boot    string   `json:"boot,omitempty"`    // the boot of the host in which the processes below ran
	Display string   `json:"display,omitempty"` // "7"; empty: none
	Server  *process `json:"server,omitempty"`
	Desktop *process `json:"desktop,omitempty"`
}

// process names one process of one boot: a pid is used again, its start time
// with it is not.
type process struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks since boot, field 22 of proc(5)'s stat
}

// loadRecord returns nil without an error when there is none: the agent ended
// before it acknowledged the session.
func loadRecord(dir string) (*record, error) {
	text, err := os.ReadFile(filepath.Join(dir, recordFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r := new(record)
	return r, json.Unmarshal(text, r)
}

func (r *record) save(dir string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return writeDurably(filepath.Join(dir, recordFile), append(text, '\n'))
}

// writeDurably replaces a file: afterwards, and after a crash at any time, it
// holds either all of the old text or all of the new.
func writeDurably(file string, text []byte) (err error) {
	temporary, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".new-*") // with mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(temporary.Name())
		}
	}()
	_, err = temporary.Write(text)
	if err == nil {
		err = temporary.Sync()
	}
	if err = errors.Join(err, temporary.Close()); err != nil {
		return err
	}
	if err = os.Rename(temporary.Name(), file); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(file))
}

func syncFolder(dir string) error {
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
