//go:build !unix

package reactor

import "net"

// SocketPair is a connection within the process. The caller closes both ends.
func SocketPair() (near, far net.Conn, err error) {
	near, far = net.Pipe()
	return near, far, nil
}
