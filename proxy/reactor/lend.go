package reactor

import (
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"time"
)

// Lend lets TakeOver have what l accepts, of TLS too, from a fasthttp server.
// Without it a server must have KeepHijackedConns set, and then loses a buffer
// of the size of its ReadBufferSize with every connection.
func Lend(l net.Listener) net.Listener { return LendTelling(l, nil) }

// LendTelling is Lend for a listener of TLS, which tells each handshake that
// failed, once, on the goroutine of its connection. failed may be nil.
func LendTelling(l net.Listener, failed func(client net.Addr, err error)) net.Listener {
	return lender{l, failed, &sync.Pool{New: func() any {
		b := make([]byte, 0, 80<<10) // 64 KiB of a body with the records' headers and seals
		return &b
	}}}
}

type lender struct {
	net.Listener
	failed  func(client net.Addr, err error) // nil: nobody is told
	buffers *sync.Pool
}

func (l lender) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if secure, ok := conn.(secured); ok {
		lent := &lentTLS{lent: lent{Conn: conn}, secure: secure, failed: l.failed, buffers: l.buffers}
		if on, ok := conn.(interface{ NetConn() net.Conn }); ok {
			lent.transport, _ = on.NetConn().(*Transport)
		}
		return lent, nil
	}
	return &lent{Conn: conn}, nil
}

// lent is a connection that the server closes unless somebody has taken it.
type lent struct {
	net.Conn
	taken bool // by the handler that the server calls before it closes
}

func (c *lent) take() net.Conn {
	c.taken = true
	return c.Conn
}

// NetConn is the connection below, as tls.Conn's is.
func (c *lent) NetConn() net.Conn { return c.Conn }

func (c *lent) Close() error {
	if c.taken {
		return nil
	}
	return c.Conn.Close()
}

// secured has what tells fasthttp that a connection is one of TLS.
type secured interface {
	Handshake() error
	ConnectionState() tls.ConnectionState
}

type lentTLS struct {
	lent
	secure    secured
	transport *Transport // nil: there is none
	buffers   *sync.Pool // of *[]byte, for several records

	failed func(client net.Addr, err error) // of the handshake; nil: told, or nobody asks
	shaken bool                             // hands, by Read
}

// Write sends several records in one system call; crypto/tls makes one of each.
func (c *lentTLS) Write(p []byte) (int, error) {
	if len(p) <= maxRecord || c.transport == nil {
		return c.Conn.Write(p)
	}
	buffer := c.buffers.Get().(*[]byte)
	defer c.buffers.Put(buffer)
	c.transport.hold(buffer)
	n, err := c.Conn.Write(p)
	if failed := c.transport.release(); err == nil {
		err = failed
	}
	return n, err
}

// Read shakes hands first, which a server that offers one protocol leaves to it.
func (c *lentTLS) Read(p []byte) (int, error) {
	if !c.shaken {
		if err := c.Handshake(); err != nil {
			return 0, err
		}
		c.shaken = true
	}
	return c.Conn.Read(p)
}

func (c *lentTLS) Handshake() error {
	err := c.secure.Handshake()
	if failed := c.failed; err != nil && failed != nil {
		c.failed = nil
		failed(c.RemoteAddr(), err)
	}
	return err
}

func (c *lentTLS) ConnectionState() tls.ConnectionState { return c.secure.ConnectionState() }

// TakeOver takes a hijacked connection from the fasthttp server of a listener
// of Lend. conn is as the listener below accepted it, a *tls.Conn or a socket
// (without what has a Socket method around it), and the caller's to close. ahead is what the server had read of it
// already; an error of the connection comes again at the next read.
//
// It has to be called by the hijack handler. Without an error, hijacked may not
// be used any more.
func TakeOver(hijacked net.Conn) (conn net.Conn, ahead []byte, err error) {
	unwrap, ok := hijacked.(interface{ UnsafeConn() net.Conn })
	if !ok {
		return nil, nil, fmt.Errorf("a %T is no hijacked connection", hijacked)
	}
	lent, ok := unwrap.UnsafeConn().(interface{ take() net.Conn })
	if !ok {
		return nil, nil, fmt.Errorf("the listener of a %T is none of Lend", unwrap.UnsafeConn())
	}
	conn = lent.take()
	// With a deadline in the past only what is in memory can still be read.
	_ = conn.SetReadDeadline(time.Unix(1, 0))
	var b [512]byte // most say nothing before they hear something
	for {
		n, err := hijacked.Read(b[:])
		ahead = append(ahead, b[:n]...)
		if err != nil {
			_ = conn.SetReadDeadline(time.Time{})
			return socketOf(conn), ahead, nil
		}
	}
}

// Reclaim takes a connection of a listener of Lend that its server has passed on
// whole, nothing read. It is the caller's to close.
func Reclaim(passed net.Conn) (conn net.Conn, err error) {
	lent, ok := passed.(interface{ take() net.Conn })
	if !ok {
		return nil, fmt.Errorf("the listener of a %T is none of Lend", passed)
	}
	return lent.take(), nil
}

// socketOf is the socket below a connection that offers it, else conn.
func socketOf(conn net.Conn) net.Conn {
	if around, ok := conn.(interface{ Socket() net.Conn }); ok {
		if socket := around.Socket(); socket != nil {
			return socket
		}
	}
	return conn
}
