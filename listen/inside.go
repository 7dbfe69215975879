package listen

import (
	"context"
	"crypto/tls"
	"net"
	"sync"

	"github.com/streamspace-dev/streamspace-edge/proxy/reactor"
)

// inside is the server's end of a connection within the process: its bytes are
// plain, and it is the client's by all it tells of itself.
type inside struct {
	net.Conn
	client *tls.Conn
}

func (c *inside) RemoteAddr() net.Addr { return c.client.RemoteAddr() }
func (c *inside) LocalAddr() net.Addr  { return c.client.LocalAddr() }

// NetConn is the connection below.
func (c *inside) NetConn() net.Conn { return c.Conn }

// Socket is the connection below for who takes it over.
func (c *inside) Socket() net.Conn { return c.Conn }

// Handshake was the client's.
func (c *inside) Handshake() error { return nil }

// ConnectionState is the client's, also its protocol: the server inside knows
// none but HTTP/1.1, and whoever logs requests tells how they came.
func (c *inside) ConnectionState() tls.ConnectionState { return c.client.ConnectionState() }

// dial opens a connection within the process for requests of c.
func (c *client) dial(ctx context.Context) (net.Conn, error) {
	near, far, err := reactor.SocketPair()
	if err != nil {
		return nil, err
	}
	if err := c.inside.put(ctx, &inside{far, c.conn}); err != nil {
		_, _ = near.Close(), far.Close()
		return nil, err
	}
	return near, nil
}

// queue is a listener of connections that are put into it.
type queue struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newQueue() *queue { return &queue{conns: make(chan net.Conn), closed: make(chan struct{})} }

// put waits until somebody accepts the connection, or ctx ends.
func (q *queue) put(ctx context.Context, conn net.Conn) error {
	select {
	case q.conns <- conn:
		return nil
	case <-q.closed:
		return net.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (q *queue) Accept() (net.Conn, error) {
	select {
	case conn := <-q.conns:
		return conn, nil
	case <-q.closed:
		return nil, net.ErrClosed
	}
}

func (q *queue) Close() error {
	q.once.Do(func() { close(q.closed) })
	return nil
}

func (q *queue) Addr() net.Addr { return &net.UnixAddr{Name: "inside", Net: "unix"} }
