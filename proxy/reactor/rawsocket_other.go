//go:build !linux

package reactor

import "net"

// RawSocket is a connection as it is, on this system.
type RawSocket struct{ net.Conn }

// NewRawSocket leaves the closing and the deadlines to the owner of conn.
func NewRawSocket(conn net.Conn) *RawSocket { return &RawSocket{conn} }

// CanAsk tells whether Ask looks, which it does not on this system.
func (s *RawSocket) CanAsk() bool { return false }

// Ask sends a request.
func (s *RawSocket) Ask(request []byte) (sent int, err error) { return s.Write(request) }
