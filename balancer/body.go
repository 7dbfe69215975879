package balancer

import (
	"io"

	"github.com/valyala/fasthttp"
)

// steady keeps a body's error. fasthttp passes over one that comes with bytes and
// reads on, so that a body which is broken between two chunks became whole.
type steady struct {
	from io.Reader
	err  error
}

// holdTo makes the error of a request's chunked body stay.
func holdTo(request *fasthttp.Request) {
	if request.IsBodyStream() && request.Header.ContentLength() == chunked {
		request.SetBodyStream(&steady{from: request.BodyStream()}, chunked)
	}
}

func (s *steady) Read(p []byte) (n int, err error) {
	if s.err != nil {
		return 0, s.err
	}
	n, s.err = s.from.Read(p)
	return n, s.err
}
