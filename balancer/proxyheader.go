package balancer

import (
	"net"

	"github.com/pires/go-proxyproto"
)

// Versions of the PROXY protocol that a pool's connections may begin with.
const (
	proxyV1 = "v1"
	proxyV2 = "v2"
)

// announcement is the PROXY header of version that tells an upstream whose
// connection it gets; of the edge's own, a health check's, when client is nil.
func announcement(version string, client net.Conn) []byte {
	header := &proxyproto.Header{Version: 2, Command: proxyproto.LOCAL, TransportProtocol: proxyproto.UNSPEC}
	if version == proxyV1 {
		header = &proxyproto.Header{Version: 1, Command: proxyproto.PROXY, TransportProtocol: proxyproto.UNSPEC}
	}
	if client != nil {
		source, ok := client.RemoteAddr().(*net.TCPAddr)
		destination, also := client.LocalAddr().(*net.TCPAddr)
		if ok && also {
			header = proxyproto.HeaderProxyFromAddrs(header.Version, source, destination)
		}
	}
	b, err := header.Format()
	if err != nil {
		return nil // an upstream that expects one ends the connection
	}
	return b
}
