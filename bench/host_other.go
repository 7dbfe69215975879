//go:build !linux

package bench

import (
	"errors"
	"syscall"
	"time"
)

// supported is nil where processes can be measured.
func supported() error {
	return errors.New("bench reads CPU and memory from /proc, which only Linux has")
}

func ownGroup() *syscall.SysProcAttr               { return nil }
func signalGroup(int, syscall.Signal)              {}
func raiseFileLimit() (uint64, error)              { return 0, supported() }
func cpuTime([]int) (map[int]time.Duration, error) { return nil, supported() }
func ownTime() time.Duration                       { return 0 }
func memory([]int) (int64, error)                  { return 0, supported() }
func openFiles([]int) (int, error)                 { return 0, supported() }
func machineBusy() time.Duration                   { return 0 }
func machine() string                              { return "" }
func keepAwake(string) ([]*process, error)         { return nil, supported() }
