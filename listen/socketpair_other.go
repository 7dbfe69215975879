//go:build !unix

package listen

import "net"

func socketPair() (near, far net.Conn, err error) {
	near, far = net.Pipe()
	return near, far, nil
}
