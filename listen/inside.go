package listen

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"

	"github.com/streamspace-dev/streamspace-edge/proxy/reactor"
)

// inside is the server's end of a connection within the process: its bytes are
// plain, and it is the client's by all it tells of itself.
type inside struct {
	net.Conn
	client    *tls.Conn
	lingering *Lingering
	lingers   atomic.Bool // when it is closed
}

func (c *inside) RemoteAddr() net.Addr { return c.client.RemoteAddr() }
func (c *inside) LocalAddr() net.Addr  { return c.client.LocalAddr() }

// NetConn is the connection below.
func (c *inside) NetConn() net.Conn { return c.Conn }

func (c *inside) linger() { c.lingers.Store(true) }

// Close closes the connection, or lets it linger: who sends a request's body into
// it would else meet a broken connection before it has seen the answer.
func (c *inside) Close() error {
	if c.lingers.CompareAndSwap(true, false) && c.lingering.take(c.Conn) {
		return nil
	}
	return c.Conn.Close()
}

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
	if err := c.inside.put(ctx, &inside{Conn: far, client: c.conn, lingering: c.lingering}); err != nil {
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
