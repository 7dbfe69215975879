//go:build !linux

package balancer

import (
	"net"
	"syscall"
)

// rawOf: requests are sent as Go does it.
func rawOf(net.Conn) syscall.RawConn { return nil }

func (l *link) onTurn(uintptr) bool               { return true }
func (l *link) speak(request []byte) (int, error) { return l.Conn.Write(request) }
