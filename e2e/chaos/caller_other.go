//go:build !linux

package chaos

import "net"

// CallerAmong tells nobody apart where the kernel can't be asked.
func CallerAmong(net.Conn, map[string]int) string { return Everybody }
