package tunnel

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

const (
	relayBuffer = 64 << 10 // one TLS record is at most 16 KiB; four a write saves system calls

	// halfClosedIdle ends a stream of which one side has said its last and the
	// other says nothing: it may have gone without a trace.
	halfClosedIdle = 5 * time.Minute
)

// relay carries the bytes of the agent's streams. Safe for concurrent use.
type relay struct{ buffers sync.Pool }

func newRelay() *relay {
	return &relay{buffers: sync.Pool{New: func() any { return new([relayBuffer]byte) }}}
}

// run copies both ways between the edge and a VNC server until both have said
// their last, one fails, or ctx ends; then it closes both. Half-close is
// passed on.
func (r *relay) run(ctx context.Context, edge, server net.Conn, log *zap.Logger) {
	closeBoth := func() {
		_ = edge.Close()
		_ = server.Close()
	}
	defer closeBoth()
	defer context.AfterFunc(ctx, closeBoth)()
	log.Info("stream open")
	began := time.Now()
	var halfClosed atomic.Bool
	var toServer, toEdge int64
	var endedBy endings
	var directions sync.WaitGroup
	copyHalf := func(n *int64, dst, src net.Conn, source string) {
		err := r.copy(n, dst, src, &halfClosed)
		if err == nil {
			err = closeWrite(dst)
		}
		endedBy.first(source, err)
		if err != nil {
			closeBoth()
			return
		}
		halfClosed.Store(true)
		_ = dst.SetReadDeadline(time.Unix(1, 0)) // the other direction goes on with a limit, see copy
	}
	directions.Go(func() { copyHalf(&toServer, server, edge, "edge") })
	directions.Go(func() { copyHalf(&toEdge, edge, server, "VNC server") })
	directions.Wait()
	log.Info("stream ended", zap.String("by", endedBy.source), zap.Error(endedBy.err),
		zap.Int64("to_server", toServer), zap.Int64("to_edge", toEdge), zap.Duration("lasted", time.Since(began)))
}

// endings keeps the first.
type endings struct {
	once   sync.Once
	source string
	err    error
}

func (e *endings) first(source string, err error) {
	e.once.Do(func() { e.source, e.err = source, err })
}

// copy moves bytes until src ends. While both directions are open it waits for
// as long as src is silent; once halfClosed is set and src's deadline is in the
// past, it waits halfClosedIdle at most for each piece.
func (r *relay) copy(n *int64, dst, src net.Conn, halfClosed *atomic.Bool) error {
	err := r.copyOpen(n, dst, src)
	if !errors.Is(err, os.ErrDeadlineExceeded) || !halfClosed.Load() {
		return err
	}
	buffer := r.buffers.Get().(*[relayBuffer]byte)
	defer r.buffers.Put(buffer)
	for {
		if err := src.SetReadDeadline(time.Now().Add(halfClosedIdle)); err != nil {
			return err
		}
		got, err := src.Read(buffer[:])
		if got > 0 {
			sent, failed := dst.Write(buffer[:got])
			*n += int64(sent)
			if failed != nil {
				return failed
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (r *relay) copyOpen(n *int64, dst, src net.Conn) (err error) {
	if splices(dst) && splices(src) {
		*n, err = io.Copy(dst, src)
		return err
	}
	buffer := r.buffers.Get().(*[relayBuffer]byte)
	defer r.buffers.Put(buffer)
	// Without their ReadFrom and WriteTo, which would make a buffer of their own.
	*n, err = io.CopyBuffer(struct{ io.Writer }{dst}, struct{ io.Reader }{src}, buffer[:])
	return err
}

// splices tells the connections between which Linux moves bytes by itself.
func splices(c net.Conn) bool {
	switch c.(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	}
	return false
}

// closeWrite says to c that no more bytes come.
func closeWrite(c net.Conn) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}
