package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/streamspace-dev/streamspace-edge/proxy/agent/demo"
	"github.com/streamspace-dev/streamspace-edge/proxy/reactor"
)

// demoDesktop is the built-in VNC server, in the agent's own process. An agent
// that restarts starts it anew under the same session.
type demoDesktop struct {
	place
	cancel   context.CancelFunc
	listener *memoryListener
	ended    chan struct{} // closed when the server has returned
	failed   error         // why; read after ended
}

func (d *demoDesktop) start(context.Context) error {
	server := demo.New(demo.Options{
		Name:  "StreamSpace demo",
		Width: d.record.Width, Height: d.record.Height,
		Log: d.log,
	})
	d.listener, d.ended = newMemoryListener(), make(chan struct{})
	// Of its own, since stop must be able to end it while the agent runs on.
	stopped, cancel := context.WithCancel(context.Background())
	d.cancel = cancel
	d.spawn(func(ctx context.Context) {
		defer close(d.ended)
		defer context.AfterFunc(ctx, cancel)()
		d.failed = server.Serve(stopped, d.listener)
	})
	return nil
}

func (d *demoDesktop) adopt(ctx context.Context) error { return d.start(ctx) }

func (d *demoDesktop) wait(ctx context.Context) error {
	select {
	case <-d.ended:
		return fmt.Errorf("the built-in VNC server ended: %v", d.failed)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d *demoDesktop) dial(ctx context.Context) (net.Conn, error) { return d.listener.dial(ctx) }

func (d *demoDesktop) welcome(io.ReadWriter) error { return nil }

func (d *demoDesktop) stop(ctx context.Context) error {
	if d.cancel == nil {
		return nil
	}
	d.cancel()
	select {
	case <-d.ended:
		return nil
	case <-ctx.Done():
		return errors.New("the built-in VNC server does not end")
	}
}

// memoryListener gives out pairs of connected sockets without a name, so that
// nobody but the agent can connect, and no path can be too long.
type memoryListener struct {
	accepted chan net.Conn
	once     sync.Once
	closed   chan struct{}
}

func newMemoryListener() *memoryListener {
	return &memoryListener{accepted: make(chan net.Conn), closed: make(chan struct{})}
}

// Accept implements net.Listener.
func (l *memoryListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.accepted:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *memoryListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr implements net.Listener.
func (l *memoryListener) Addr() net.Addr { return &net.UnixAddr{Net: "unix"} }

func (l *memoryListener) dial(ctx context.Context) (net.Conn, error) {
	near, far, err := reactor.SocketPair()
	if err != nil {
		return nil, err
	}
	select {
	case l.accepted <- far:
		return near, nil
	case <-l.closed:
		err = net.ErrClosed
	case <-ctx.Done():
		err = ctx.Err()
	}
	return nil, errors.Join(err, near.Close(), far.Close())
}
