package proxy

import (
	"errors"
	"io"
	"net"
	"sync"
)

const (
	bufferSize = 64 << 10 // a full read, with its header, is one write of 64 KiB
	smallSize  = 4 << 10  // what a stream that can't wait without a buffer waits with
)

// buffers lends the memory that bytes pass through. Payload begins at
// headerRoom, so that a frame's header can be written in front of it. The zero
// value is ready.
type buffers struct{ pool sync.Pool }

func (p *buffers) get() *[bufferSize]byte {
	if b, ok := p.pool.Get().(*[bufferSize]byte); ok {
		return b
	}
	return new([bufferSize]byte)
}

func (p *buffers) put(b *[bufferSize]byte) { p.pool.Put(b) }

// copy reads src to its end and gives use each piece: n bytes from
// buf[headerRoom] on, valid during the call only. It returns nil at the end of
// stream, otherwise the error of use or of reading. While nothing comes from a
// socket it holds no buffer.
func (p *buffers) copy(src net.Conn, use func(buf []byte, n int) error) error {
	if raw := rawConn(src); raw != nil {
		return p.copyRaw(raw, use)
	}
	return p.copyReads(src, use)
}

// copyReads copies from a connection that must be given memory before it tells
// whether it has bytes, such as TLS: it waits with a small buffer, and takes a
// large one for as long as the small one would be filled.
func (p *buffers) copyReads(src net.Conn, use func(buf []byte, n int) error) error {
	small := make([]byte, smallSize)
	var large *[bufferSize]byte
	defer func() {
		if large != nil {
			p.put(large)
		}
	}()
	for {
		buf := small
		if large != nil {
			buf = large[:]
		}
		n, err := src.Read(buf[headerRoom:])
		if n > 0 {
			if err := use(buf, n); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case large == nil && n == smallSize-headerRoom:
			large = p.get()
		case large != nil && n < smallSize-headerRoom:
			p.put(large)
			large = nil
		}
	}
}
