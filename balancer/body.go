package balancer

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/valyala/fasthttp"
)

// takeBody decides how the request's body goes on: a small one of a request that
// may be sent again is read as a whole, all others are streams, which can be sent
// once. The error is the client's.
func (s *serving) takeBody() error {
	request := &s.ctx.Request
	s.once = s.protocol != "" || !isIdempotent(string(request.Header.Method()))
	if !request.IsBodyStream() {
		s.read = int64(len(request.Body()))
		return nil
	}
	size := request.Header.ContentLength()
	switch {
	case size == chunked:
		s.sent = &steady{from: request.BodyStream(), buffers: s.b.buffers, ended: func() error {
			return checkTrailers(&request.Header)
		}}
		request.SetBodyStream(s.sent, chunked)
	case !s.once && size <= wholeBody:
		body := make([]byte, size)
		n, err := io.ReadFull(request.BodyStream(), body)
		if s.read = int64(n); err != nil {
			return err
		}
		request.SetBodyRaw(body)
		return nil
	default:
		s.sent = &steady{from: request.BodyStream(), buffers: s.b.buffers}
		s.sent.ended = s.sent.reached(size)
		request.SetBodyStream(s.sent, size)
	}
	s.once = true
	return nil
}

// tellUnread is for an answered request.
func (s *serving) tellUnread() {
	if s.sent != nil && s.sent.err != io.EOF || s.sent == nil && s.ctx.Request.IsBodyStream() {
		s.b.options.Unread(s.visit.client)
	}
}

// steady keeps a body's error. fasthttp passes over one that comes with bytes and
// reads on, so that a body which is broken between two chunks became whole.
type steady struct {
	from    io.Reader
	buffers *buffers
	ended   func() error // optional: asked at the end whether that is a good one
	n       int64        // bytes that were read of it
	err     error
}

func (s *steady) Read(p []byte) (n int, err error) {
	if s.err != nil {
		return 0, s.err
	}
	n, s.err = s.from.Read(p)
	s.n += int64(n)
	if s.err == io.EOF && s.ended != nil {
		if err := s.ended(); err != nil {
			s.err = err
		}
	}
	return n, s.err
}

// reached finds an end before the whole of a size, which the server's streams
// take for a good one.
func (s *steady) reached(size int) func() error {
	return func() error {
		if s.n < int64(size) {
			return io.ErrUnexpectedEOF
		}
		return nil
	}
}

// SupportsBodyWriteTo makes fasthttp use WriteTo: it would copy 4 KiB at once.
func (s *steady) SupportsBodyWriteTo() bool { return true }

// WriteTo passes on what there is, as Read has it.
func (s *steady) WriteTo(w io.Writer) (int64, error) { return s.buffers.pour(w, s.Read) }

// connectionEnded tells whether a body was cut, not malformed. fasthttp tells
// the cause of a broken chunk only in its text.
func connectionEnded(err error) bool {
	_, chunk := err.(fasthttp.ErrBrokenChunk)
	for _, end := range []error{io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, syscall.ECONNRESET, syscall.EPIPE, syscall.ETIMEDOUT} {
		if errors.Is(err, end) || chunk && strings.HasSuffix(err.Error(), end.Error()) {
			return true
		}
	}
	return false
}

// checkTrailers finds what fasthttp lets pass in the names of trailers: spaces.
func checkTrailers(h interface{ VisitAllTrailer(func(name []byte)) }) (err error) {
	h.VisitAllTrailer(func(name []byte) {
		if bytes.IndexByte(name, ' ') >= 0 {
			err = errors.New("the name of a trailer has a space in it")
		}
	})
	return err
}
