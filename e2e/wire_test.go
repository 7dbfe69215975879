package e2e

import (
	"io"
	"net"
	"sync"
	"testing"
)

// wire carries TCP connections to an address until it is cut.
type wire struct {
	net.Listener
	owner sync.WaitGroup

	mu    sync.Mutex
	isCut bool
	conns map[net.Conn]bool
}

func startWire(t *testing.T, to string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{Listener: l, conns: map[net.Conn]bool{}}
	w.owner.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			w.owner.Go(func() { w.carry(near, to) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		w.cut(true)
		w.owner.Wait()
	})
	return w
}

// cut ends every connection and, while it lasts, every new one.
func (w *wire) cut(yes bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.isCut = yes
	for conn := range w.conns {
		_ = conn.Close()
	}
}

func (w *wire) carry(near net.Conn, to string) {
	defer near.Close()
	far, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer far.Close()
	if !w.add(near, far) {
		return
	}
	defer w.remove(near, far)
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
		both.Go(func() {
			_, _ = io.Copy(way[0], way[1]) // ends when either side or the wire does
			_ = way[0].Close()
		})
	}
	both.Wait()
}

func (w *wire) add(conns ...net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, conn := range conns {
		w.conns[conn] = true
	}
	return !w.isCut
}

func (w *wire) remove(conns ...net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, conn := range conns {
		delete(w.conns, conn)
	}
}
