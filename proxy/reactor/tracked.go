package reactor

import (
	"net"
	"sync"
)

// Tracked is a TCP connection of which somebody wants to know when it is closed,
// also after a loop has taken it.
type Tracked struct {
	*net.TCPConn
	ended func()
	once  sync.Once
}

// Track lets ended be called once, when conn is closed by whoever has it then. It
// must not block.
func Track(conn *net.TCPConn, ended func()) *Tracked { return &Tracked{TCPConn: conn, ended: ended} }

// Close closes the connection.
func (t *Tracked) Close() error {
	defer t.end()
	return t.TCPConn.Close()
}

// NetConn is the connection below.
func (t *Tracked) NetConn() net.Conn { return t.TCPConn }

func (t *Tracked) end() { t.once.Do(t.ended) }
