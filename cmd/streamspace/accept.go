package main

import (
	"errors"
	"net"
	"syscall"
	"time"

	"go.uber.org/zap"
)

// patientListener goes on accepting when the process or the system has no
// descriptors or memory for one connection more. fasthttp takes that for the
// listener's end, with which the edge would leave: anybody who opens enough
// connections could end it. Those that run go on, and those that ask for
// nothing end by timeouts.header.
type patientListener struct {
	net.Listener
	log  *zap.Logger
	told time.Time // when the log last said so
}

const (
	acceptAgain = 50 * time.Millisecond // until a listener tries again
	lackTold    = time.Minute           // until it says so again
)

// Accept is called by one goroutine.
func (l *patientListener) Accept() (net.Conn, error) {
	for ; ; time.Sleep(acceptAgain) {
		conn, err := l.Listener.Accept()
		if !lacksResources(err) {
			return conn, err
		}
		if time.Since(l.told) >= lackTold {
			l.log.Error("no connection can be accepted: out of file descriptors or memory; raise the limit (LimitNOFILE in systemd, ulimit -n in a shell)",
				zap.Stringer("address", l.Addr()), zap.Error(err))
			l.told = time.Now()
		}
	}
}

func lacksResources(err error) bool {
	for _, passing := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
		if errors.Is(err, passing) {
			return true
		}
	}
	return false
}
