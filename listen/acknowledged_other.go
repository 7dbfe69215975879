//go:build !linux

package listen

import "net"

func acknowledged(net.Conn) uint64 { return 0 }
