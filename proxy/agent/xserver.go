package agent

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// Display numbers for {display}: above those that X servers choose themselves
// and people by hand.
const (
	firstDisplay = 100
	lastDisplay  = 9999
)

// claims keeps sessions that start at once from choosing the same display,
// port or endpoint. Safe for concurrent use.
type claims struct {
	mu    sync.Mutex
	taken map[string]string // what, to the session that has it
}

func newClaims() *claims { return &claims{taken: map[string]string{}} }

func (c *claims) take(what, session string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, found := c.taken[what]; found {
		return false
	}
	c.taken[what] = session
	return true
}

func (c *claims) release(session string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for what, owner := range c.taken {
		if owner == session {
			delete(c.taken, what)
		}
	}
}

// freeDisplay claims a display that no X server of this host seems to have.
// Another one may still take it before the session's server does; the search
// begins anywhere, so that two agents seldom meet.
func (c *claims) freeDisplay(session string) (string, error) {
	const count = lastDisplay - firstDisplay + 1
	start := mathrand.IntN(count)
	for i := range count {
		display := strconv.Itoa(firstDisplay + (start+i)%count)
		if _, err := os.Lstat(displayLock(display)); err == nil {
			continue
		}
		if _, err := os.Lstat(displaySocket(display)); err == nil {
			continue
		}
		if c.take("display "+display, session) {
			return display, nil
		}
	}
	return "", fmt.Errorf("no X display from %d to %d is free", firstDisplay, lastDisplay)
}

// freePort claims a TCP port on which nobody listens. Another program may
// still take it before the session's server does.
func (c *claims) freePort(session string) (string, error) {
	for range 100 {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		_, port, err := net.SplitHostPort(listener.Addr().String())
		if err := errors.Join(err, listener.Close()); err != nil {
			return "", err
		}
		if c.take("port "+port, session) {
			return port, nil
		}
	}
	return "", errors.New("no TCP port is free")
}

func displayLock(display string) string   { return "/tmp/.X" + display + "-lock" }
func displaySocket(display string) string { return "/tmp/.X11-unix/X" + display }

// removeDisplay removes what a killed X server left of its display, unless
// another one has taken the display since.
func removeDisplay(display string, server *process) {
	lock := displayLock(display)
	if text, err := os.ReadFile(lock); err == nil && server != nil && strings.TrimSpace(string(text)) == strconv.Itoa(server.PID) {
		os.Remove(lock)
	}
	// An X server binds the abstract name before it makes the socket in the
	// file system, so while this has the name nobody makes one.
	guard, err := net.Listen("unix", "@"+displaySocket(display))
	if err != nil {
		return
	}
	defer guard.Close()
	if _, err := os.Lstat(lock); err != nil {
		os.Remove(displaySocket(display))
	}
}

// writeXauthority makes the file by which X clients of one session, and nobody
// else, get in: Xau's format, one entry of the wildcard family, so it needs to
// know neither the host's name nor the display.
func writeXauthority(file string) error {
	const familyWild = 0xffff
	cookie := make([]byte, 16)
	rand.Read(cookie)
	entry := binary.BigEndian.AppendUint16(nil, familyWild)
	for _, field := range []string{"", "", "MIT-MAGIC-COOKIE-1", string(cookie)} {
		entry = binary.BigEndian.AppendUint16(entry, uint16(len(field)))
		entry = append(entry, field...)
	}
	return os.WriteFile(file, entry, 0o600)
}

// socketArgument is how a program that runs in the session's folder can name
// the session's socket.
func socketArgument(dir string) string {
	if full := filepath.Join(dir, socketFile); len(full) <= maxSocketPath {
		return full
	}
	return socketFile
}
