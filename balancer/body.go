package balancer

import "io"

// takeBody decides how the request's body goes on: a small one of a request that
// may be sent again is read as a whole, all others are streams, which can be sent
// once. The error is the client's.
func (s *serving) takeBody() error {
	request := &s.ctx.Request
	s.once = s.protocol != "" || !isIdempotent(string(request.Header.Method()))
	if !request.IsBodyStream() {
		return nil
	}
	size := request.Header.ContentLength()
	switch {
	case size == chunked:
		request.SetBodyStream(&steady{from: request.BodyStream()}, chunked)
	case !s.once && size <= wholeBody:
		body := make([]byte, size)
		if _, err := io.ReadFull(request.BodyStream(), body); err != nil {
			return err
		}
		request.SetBodyRaw(body)
		return nil
	}
	s.once = true
	return nil
}

// steady keeps a body's error. fasthttp passes over one that comes with bytes and
// reads on, so that a body which is broken between two chunks became whole.
type steady struct {
	from io.Reader
	err  error
}

func (s *steady) Read(p []byte) (n int, err error) {
	if s.err != nil {
		return 0, s.err
	}
	n, s.err = s.from.Read(p)
	return n, s.err
}
