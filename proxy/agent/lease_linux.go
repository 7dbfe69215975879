package agent

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// sinceBoot is a clock that nobody sets and that goes on while the host sleeps
// (CLOCK_BOOTTIME of clock_gettime(2)).
func sinceBoot() time.Duration {
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &now) != nil {
		return 0 // since Linux 2.6.39 there is no cause
	}
	return time.Duration(now.Nano())
}

// noLease is how often a keeper looks for a lease when there is none: less than
// the shortest one lasts.
const noLease = 5 * time.Second

// awaitLeaseEnd returns nil when the lease in the file has run out, however often
// it was given anew, or an error when that can't be known.
func awaitLeaseEnd(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	clock, err := newBootTimer()
	if err != nil {
		return err
	}
	defer clock.Close()
	for {
		end, _, err := readLease(file)
		if err != nil {
			return err
		}
		now := sinceBoot()
		switch {
		case end == 0:
			end = now + noLease
		case end <= now:
			return nil
		}
		if err := sleepUntil(clock, end); err != nil {
			return err
		}
	}
}

// newBootTimer is a timer of sinceBoot: those of Go stand still with the host.
func newBootTimer() (*os.File, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_BOOTTIME, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("timerfd_create: %w", err)
	}
	return os.NewFile(uintptr(fd), "timer"), nil
}

func sleepUntil(clock *os.File, end time.Duration) error {
	raw, err := clock.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		at := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(end))}
		failed = unix.TimerfdSettime(int(fd), unix.TFD_TIMER_ABSTIME, &at, nil)
	})
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	return binary.Read(clock, binary.NativeEndian, new(uint64))
}

// fence ends all that is below the keeper once the lease is over.
func (k *keeping) fence(path string) {
	err := awaitLeaseEnd(path)
	if err != nil {
		fmt.Fprintln(os.Stderr, "this keeper can't know when its session may live no longer:", err)
		return
	}
	k.fenced.Store(true)
	for {
		below := newTree(os.Getenv(sessionVariable), os.Getenv(agentVariable))
		self, err := processOf(os.Getpid())
		if err == nil {
			below.known[self] = true
			err = below.end(context.Background(), nil)
		}
		if err == nil {
			return
		}
		fmt.Fprintln(os.Stderr, "the session's lease is over:", err)
		time.Sleep(time.Second)
	}
}
