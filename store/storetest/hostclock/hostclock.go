// Package hostclock gives a program that a test starts a wall clock which the
// test sets, as an operator or NTP sets that of a host. The clocks that nobody can
// set (CLOCK_MONOTONIC and its like) stay as they are.
package hostclock

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Clock is one host's. Several programs may go by it.
type Clock struct {
	t    testing.TB
	file string // how far it is ahead, in seconds: 8 bytes of this machine's order, which programs map

	ahead   time.Duration
	library string // for programs of C; empty: not compiled yet
}

// New makes a clock that is right. Its files are in folder, which those who go by
// it must be able to read.
func New(t testing.TB, folder string) *Clock {
	t.Helper()
	c := &Clock{t: t, file: filepath.Join(folder, "clock")}
	c.Set(0)
	return c
}

// Set has the clock be so much ahead of this machine's, below 0: behind; whole
// seconds count. Those who go by it find out when they next ask.
func (c *Clock) Set(ahead time.Duration) {
	c.t.Helper()
	file, err := os.OpenFile(c.file, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		c.t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(ahead/time.Second)), 0); err != nil {
		c.t.Fatal(err)
	}
	c.ahead = ahead
}

// IsTold fails the test unless who goes by the clock has told the time by it just
// now.
func (c *Clock) IsTold(at time.Time) {
	c.t.Helper()
	if off := at.Sub(time.Now().Add(c.ahead)); off.Abs() > time.Minute {
		c.t.Fatalf("the clock of a host was set to be %s ahead, and a program there tells a time that is %s off that", c.ahead, off)
	}
}

// Preload is what a program of C, of 64 bits, has in its environment to go by the
// clock. It needs a C compiler.
func (c *Clock) Preload() []string {
	c.t.Helper()
	if c.library == "" {
		library := c.file + ".so"
		compile := exec.Command("cc", "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-x", "c", "-o", library, "-")
		compile.Stdin = strings.NewReader(preloaded)
		if output, err := compile.CombinedOutput(); err != nil {
			c.t.Fatalf("the clock for programs of C can't be compiled; apt-get install gcc libc6-dev: %v\n%s", err, output)
		}
		c.library = library
	}
	return append(c.Environ(), "LD_PRELOAD="+c.library)
}

// variable names the file of its clock to a program.
const variable = "STREAMSPACE_TEST_CLOCK"

// Environ is what a program of Go that was built with Overlay has in its
// environment to go by the clock.
func (c *Clock) Environ() []string { return []string{variable + "=" + c.file} }

// Overlay writes what `go build -overlay` takes, and all that it refers to, into
// folder, and returns its path: a standard library whose time.Now can be set.
func Overlay(folder string) (file string, err error) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOROOT: %w", err)
	}
	library := filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	source, err := os.ReadFile(filepath.Join(library, "time.go"))
	if err != nil {
		return "", fmt.Errorf("the source of Go's library: %w", err)
	}
	const asks = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	if strings.Count(string(source), asks) != 1 {
		return "", fmt.Errorf("time.Now of %s begins in another way than\n%s", runtime.Version(), asks)
	}
	replaced := map[string]string{}
	for name, text := range map[string]string{
		"time.go":      strings.Replace(string(source), asks, asks+"\tsec += hostClockAhead()\n", 1),
		"hostclock.go": reader,
	} {
		ours := filepath.Join(folder, name)
		if err := os.WriteFile(ours, []byte(text), 0o644); err != nil {
			return "", err
		}
		replaced[filepath.Join(library, name)] = ours
	}
	text, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		return "", err
	}
	file = filepath.Join(folder, "overlay.json")
	return file, os.WriteFile(file, text, 0o644)
}

// reader becomes part of package time.
const reader = `package time

import (
	"sync/atomic"
	"syscall"
	"unsafe"
)

var hostClock *atomic.Int64

func init() {
	path, set := syscall.Getenv("` + variable + `")
	if !set {
		return
	}
	fd, err := syscall.Open(path, syscall.O_RDONLY, 0)
	if err != nil {
		panic("time: " + path + ": " + err.Error())
	}
	mapped, err := syscall.Mmap(fd, 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic("time: " + path + ": " + err.Error())
	}
	syscall.Close(fd)
	hostClock = (*atomic.Int64)(unsafe.Pointer(&mapped[0]))
}

func hostClockAhead() int64 {
	if hostClock == nil {
		return 0
	}
	return hostClock.Load()
}
`

// preloaded takes the place of the C library's functions. Debian's libfaketime
// does not go with jemalloc, which Redis has.
const preloaded = `#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile long *ahead;

__attribute__((constructor)) static void find(void) {
	const char *path = getenv("` + variable + `");
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	void *mapped = mmap(NULL, sizeof *ahead, PROT_READ, MAP_SHARED, fd, 0);
	if (fd < 0 || mapped == MAP_FAILED)
		abort();
	close(fd);
	ahead = mapped;
}

int clock_gettime(clockid_t clock, struct timespec *at) {
	long failed = syscall(SYS_clock_gettime, clock, at);
	if (!failed && ahead && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		at->tv_sec += *ahead;
	return failed;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	at->tv_sec = now.tv_sec;
	at->tv_usec = now.tv_nsec / 1000;
	return 0;
}

time_t time(time_t *at) {
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	if (at)
		*at = now.tv_sec;
	return now.tv_sec;
}
`
