package main

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"

	"github.com/streamspace-dev/streamspace-edge/listen"
	"github.com/streamspace-dev/streamspace-edge/proxy/reactor"
)

func newTLSListener(l net.Listener, config *tls.Config) net.Listener {
	return tls.NewListener(httpsPort{reactor.Listen(l)}, config)
}

// httpsPort tells whoever speaks plain HTTP to a port of TLS what is wrong:
// all that they would see otherwise is a closed connection.
type httpsPort struct{ net.Listener }

func (p httpsPort) Accept() (net.Conn, error) {
	conn, err := p.Listener.Accept()
	if transport, ok := conn.(*reactor.Transport); ok {
		transport.First = refusePlainHTTP
	}
	return conn, err
}

var (
	errPlainHTTP   = errors.New("plain HTTP to a port of TLS")
	errStrayHeader = errors.New("a PROXY header of somebody whom listen.proxy_protocol does not name")
)

const plainHTTPAnswer = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n" +
	"This port speaks HTTPS; write https:// instead of http://.\n"

// The client may still be sending. Closing at once would reset the connection,
// and the answer might never be seen.
const (
	plainHTTPPatience = 500 * time.Millisecond
	plainHTTPRequest  = 64 << 10 // bytes
)

func refusePlainHTTP(conn net.Conn, arrived []byte) error {
	if listen.IsHeader(arrived) {
		return errStrayHeader
	}
	if c := arrived[0]; c < 'A' || c > 'Z' { // a method; a TLS record begins with 22 (RFC 8446 section 5.1)
		return nil
	}
	_ = conn.SetDeadline(time.Now().Add(plainHTTPPatience))
	if _, err := io.WriteString(conn, plainHTTPAnswer); err != nil {
		return errPlainHTTP
	}
	if half, ok := conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		_, _ = io.CopyN(io.Discard, conn, plainHTTPRequest)
	}
	return errPlainHTTP
}
