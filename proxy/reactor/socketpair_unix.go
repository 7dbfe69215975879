//go:build unix

package reactor

import (
	"errors"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// SocketPair is a connection within the process whose ends are sockets, so that a
// loop can take one. The caller closes both.
func SocketPair() (near, far net.Conn, err error) {
	syscall.ForkLock.RLock() // no process may be started before the descriptors are kept from it
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(pair[0])
		unix.CloseOnExec(pair[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	first, second := os.NewFile(uintptr(pair[0]), "near"), os.NewFile(uintptr(pair[1]), "far")
	defer first.Close() // net.FileConn has its own copy
	defer second.Close()
	if near, err = net.FileConn(first); err != nil {
		return nil, nil, err
	}
	if far, err = net.FileConn(second); err != nil {
		return nil, nil, errors.Join(err, near.Close())
	}
	return near, far, nil
}
