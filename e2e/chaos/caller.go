package chaos

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

// CallerAmong names the process that has the other end of a connection of this
// host over IPv4, of those in pids; Everybody: none of them. It reads proc(5).
func CallerAmong(conn net.Conn, pids map[string]int) string {
	inode := socketInode(conn)
	if inode == "" {
		return Everybody
	}
	for name, pid := range pids {
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		for _, file := range files {
			if target, _ := os.Readlink(file); target == "socket:["+inode+"]" {
				return name
			}
		}
	}
	return Everybody
}

// socketInode is the inode of the socket at the other end; empty: it is gone.
func socketInode(conn net.Conn) string {
	ours, theirs := tableAddress(conn.LocalAddr()), tableAddress(conn.RemoteAddr())
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, err := os.ReadFile(table)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			fields := strings.Fields(line)
			if len(fields) > 9 && strings.HasSuffix(fields[1], theirs) && strings.HasSuffix(fields[2], ours) {
				return fields[9]
			}
		}
	}
	return ""
}

// tableAddress is an IPv4 address as /proc/net/tcp has it, in the host's order,
// and as the end of a mapped one in /proc/net/tcp6.
func tableAddress(address net.Addr) string {
	a, err := netip.ParseAddrPort(address.String())
	if err != nil {
		return "none"
	}
	four := a.Addr().Unmap().As4()
	return fmt.Sprintf("%08X:%04X", binary.NativeEndian.Uint32(four[:]), a.Port())
}
