package chaos

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// CallerAmong names the process that has the other end of a connection of this
// host over IPv4, of those in pids; Everybody: none of them.
func CallerAmong(conn net.Conn, pids map[string]int) string {
	inode, err := socketInode(conn)
	if err != nil {
		return Everybody
	}
	socket := fmt.Sprintf("socket:[%d]", inode)
	for name, pid := range pids {
		folder := fmt.Sprintf("/proc/%d/fd", pid)
		files, _ := os.ReadDir(folder) // it may have ended
		for _, file := range files {
			if target, _ := os.Readlink(filepath.Join(folder, file.Name())); target == socket {
				return name
			}
		}
	}
	return Everybody
}

// Of the request and the answer of sock_diag(7), in bytes.
const (
	headerSize  = 16 // struct nlmsghdr
	requestSize = 56 // struct inet_diag_req_v2
	inodeAt     = 68 // in struct inet_diag_msg
	answerSize  = 72
)

// socketInode asks the kernel for the socket at the other end. A table of all
// sockets (/proc/net/tcp) takes long on a host that has many.
func socketInode(conn net.Conn) (uint32, error) {
	ours, err1 := netip.ParseAddrPort(conn.LocalAddr().String())
	theirs, err2 := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err := errors.Join(err1, err2); err != nil {
		return 0, err
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)

	native := binary.NativeEndian
	request := native.AppendUint32(nil, headerSize+requestSize)
	request = native.AppendUint16(request, unix.SOCK_DIAG_BY_FAMILY)
	request = native.AppendUint16(request, unix.NLM_F_REQUEST)
	request = append(request, make([]byte, 8)...)                     // sequence and port: the kernel needs none
	request = append(request, unix.AF_INET, unix.IPPROTO_TCP, 0, 0)   // family, protocol, extensions
	request = native.AppendUint32(request, ^uint32(0))                // in any state
	request = binary.BigEndian.AppendUint16(request, theirs.Port())   // its own end first
	request = binary.BigEndian.AppendUint16(request, ours.Port())     //
	request = append(request, address(theirs)...)                     //
	request = append(request, address(ours)...)                       //
	request = append(request, 0, 0, 0, 0)                             // by any interface
	request = append(request, 255, 255, 255, 255, 255, 255, 255, 255) // INET_DIAG_NOCOOKIE
	if err := unix.Sendto(fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return 0, err
	}
	answer := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, answer, 0)
	if err != nil {
		return 0, err
	}
	if n < headerSize+answerSize || native.Uint16(answer[4:]) != unix.SOCK_DIAG_BY_FAMILY {
		return 0, errors.New("there is no such socket")
	}
	return native.Uint32(answer[headerSize+inodeAt:]), nil
}

// address has the room of an IPv6 one.
func address(a netip.AddrPort) []byte {
	four := a.Addr().Unmap().As4()
	return append(four[:], make([]byte, 12)...)
}
