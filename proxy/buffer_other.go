//go:build !unix

package proxy

import (
	"net"
	"syscall"
)

func rawConn(net.Conn) syscall.RawConn { return nil }

func (p *buffers) copyRaw(syscall.RawConn, func(buf []byte, n int) error) error { return nil }
