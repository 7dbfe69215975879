// Package chaos is what the tests need to bring a cluster into trouble and to
// tell what came of it: links whose bytes are lost on the way, a schedule of
// faults from a seed, the history of what was seen, and the check of it.
package chaos

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// Way is a direction on a link, or both.
type Way int

const (
	ToServer Way = 1 << iota
	ToClient
	BothWays = ToServer | ToClient
)

// Trouble is what a link does to connections; the zero value is none.
type Trouble struct {
	// Hold keeps the bytes of these ways until the trouble ends, as TCP does when
	// every packet is lost: both ways are a black hole.
	Hold Way
	// Delay is how much later every piece arrives, each way.
	Delay time.Duration
	// Reset ends connections by RST, those that are open and each new one.
	Reset bool
}

// Link carries TCP connections to a server until it is closed.
type Link struct {
	Addr string // 127.0.0.1:PORT, where it takes connections

	to       string
	caller   func(net.Conn) string
	listener net.Listener
	owner    sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	changed  chan struct{} // closed when troubles or closed change
	troubles map[string]Trouble
	due      map[string]*due         // by caller
	conns    map[*net.TCPConn]string // both ends, with the caller
}

// NewLink starts a link to an address. caller names who has made a connection,
// for troubles that are not everybody's; nil: nobody is told apart.
func NewLink(to string, caller func(net.Conn) string) (*Link, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	l := &Link{
		Addr: listener.Addr().String(), to: to, caller: caller, listener: listener,
		changed: make(chan struct{}), troubles: map[string]Trouble{}, due: map[string]*due{}, conns: map[*net.TCPConn]string{},
	}
	l.owner.Go(l.accept)
	return l, nil
}

// Everybody is the caller whose trouble is that of all who have none of their own.
const Everybody = ""

// Set makes, or with a zero Trouble ends, the trouble of one caller.
func (l *Link) Set(caller string, trouble Trouble) {
	l.change(func() {
		delete(l.due, caller)
		l.troubles[caller] = trouble
		for conn, of := range l.conns {
			if l.of(of).Reset {
				reset(conn)
			}
		}
	})
}

// due is trouble that begins with a piece of a caller's bytes.
type due struct {
	pieces  int // that are still passed on
	trouble Trouble
	begun   chan struct{}
}

// SetAfter is Set once that many pieces more have gone either way, before the next
// one; begun is closed then. A piece is what TCP delivers at once, so mostly a
// message, where few are on their way. A Set before, by whomever, calls it off.
func (l *Link) SetAfter(caller string, pieces int, trouble Trouble) (begun <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := &due{pieces, trouble, make(chan struct{})}
	l.due[caller] = d
	return d.begun
}

// count is called before each piece.
func (l *Link) count(caller string) {
	l.mu.Lock()
	d := l.due[caller]
	begins := false
	if d != nil {
		begins = d.pieces == 0
		d.pieces--
	}
	l.mu.Unlock()
	if begins {
		l.Set(caller, d.trouble)
		close(d.begun)
	}
}

// Close ends every connection and waits until nothing of the link is left.
func (l *Link) Close() {
	_ = l.listener.Close()
	l.change(func() {
		l.closed = true
		for conn := range l.conns {
			_ = conn.Close()
		}
	})
	l.owner.Wait()
}

func (l *Link) change(do func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	do()
	close(l.changed)
	l.changed = make(chan struct{})
}

// of is the trouble of a caller. The caller holds l.mu.
func (l *Link) of(caller string) Trouble {
	if trouble, own := l.troubles[caller]; own && trouble != (Trouble{}) {
		return trouble
	}
	return l.troubles[Everybody]
}

func (l *Link) accept() {
	for {
		conn, err := l.listener.Accept()
		if err != nil {
			return
		}
		l.owner.Go(func() { l.carry(conn.(*net.TCPConn)) })
	}
}

func (l *Link) carry(client *net.TCPConn) {
	defer client.Close()
	caller := Everybody
	if l.caller != nil {
		caller = l.caller(client)
	}
	if !l.add(client, caller) {
		return
	}
	defer l.remove(client)
	if l.wait(caller, ToServer) != nil { // a connection that can't be made is not at the server
		return
	}
	conn, err := net.Dial("tcp", l.to)
	if err != nil {
		reset(client)
		return
	}
	server := conn.(*net.TCPConn)
	defer server.Close()
	if !l.add(server, caller) {
		return
	}
	defer l.remove(server)
	var both sync.WaitGroup
	both.Go(func() { l.copy(server, client, caller, ToServer) })
	both.Go(func() { l.copy(client, server, caller, ToClient) })
	both.Wait()
}

// copy passes one way on to its end, and then the end.
func (l *Link) copy(to, from *net.TCPConn, caller string, way Way) {
	piece := make([]byte, 32<<10)
	for {
		n, err := from.Read(piece)
		if n > 0 {
			l.count(caller)
		}
		if held := l.wait(caller, way); held != nil {
			return
		}
		if n > 0 {
			if _, err := to.Write(piece[:n]); err != nil {
				reset(from)
				return
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			_ = to.CloseWrite()
			return
		case err != nil:
			reset(to)
			return
		}
	}
}

var errClosed = errors.New("the link is closed")

// wait returns when a piece may go that way.
func (l *Link) wait(caller string, way Way) error {
	for delayed := time.Duration(0); ; {
		l.mu.Lock()
		trouble, changed, closed := l.of(caller), l.changed, l.closed
		l.mu.Unlock()
		var timer <-chan time.Time
		switch left := trouble.Delay - delayed; {
		case closed:
			return errClosed
		case trouble.Hold&way != 0:
		case left <= 0:
			return nil
		default:
			timer = time.After(left)
		}
		began := time.Now()
		select {
		case <-timer:
		case <-changed:
		}
		delayed += time.Since(began)
	}
}

// add is false when the link is closed, or the connection reset.
func (l *Link) add(conn *net.TCPConn, caller string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	if l.of(caller).Reset {
		reset(conn)
		return false
	}
	l.conns[conn] = caller
	return true
}

func (l *Link) remove(conn *net.TCPConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, conn)
}

// reset closes so that the other end gets RST.
func reset(conn *net.TCPConn) {
	_ = conn.SetLinger(0)
	_ = conn.Close()
}
