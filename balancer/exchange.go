package balancer

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"os"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/streamspace-dev/streamspace-edge/proxy/reactor"
)

const (
	// wholeBody is up to which size, in bytes, an answer is read before any of it
	// is passed on: its connection is free at once, however slow the client is,
	// and it goes out in one write.
	wholeBody = 64 << 10

	// mostInterim bounds the answers with a status of 1xx before the final one.
	mostInterim = 100

	maxAnswerHead = 64 << 10 // bytes
)

// failure is why an exchange gave no answer.
type failure struct {
	err error
	// untouched: the upstream has seen nothing of the request, so it may go
	// elsewhere whatever it asks for.
	untouched bool
	// stale: the connection had carried requests before, and may have been closed
	// while this one was on its way.
	stale bool
	// client: it sent no whole request.
	client bool
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// exchange sends request to the upstream and takes its answer into response: as
// a whole when it is small, else with a stream whose end gives the connection
// back. interim is told the head of each 103, in response.
//
// With a status of 101 the connection is returned, and nothing has been read
// behind the head but what its reader has.
func (ls *links) exchange(ctx context.Context, v *visit, request *fasthttp.Request, response *fasthttp.Response, interim func() error, now time.Time) (*link, *failure) {
	l, bodyOnly := v.asked, v.asked != nil
	v.asked = nil
	var err error
	for {
		if l == nil {
			// Who has met one dead connection does not try the next.
			if l, err = ls.get(ctx, v.client, v.metDead == ls, !request.IsBodyStream(), now); err != nil {
				return nil, &failure{err: err, untouched: true}
			}
			v.hold(l)
		}
		if request.IsBodyStream() {
			l.streams, l.by = true, time.Time{}
		}
		if err = ls.send(l, request, bodyOnly); !errors.Is(err, reactor.ErrStirred) {
			break
		}
		if there := v.letGo(); !there || !l.used { // cut, since the client has gone, or no end of what has waited
			failed := ls.fail(v, l, err)
			failed.untouched = true
			return nil, failed
		}
		ls.drop(l)
		l = nil
	}
	if err != nil && !l.answers() {
		failed := ls.fail(v, l, err)
		failed.client = !l.deaf
		return nil, failed
	}
	if _, err := l.takeHead(request, response, interim, 0); err != nil {
		return nil, ls.fail(v, l, err)
	}
	if response.StatusCode() == fasthttp.StatusSwitchingProtocols {
		if len(request.Header.Peek(fasthttp.HeaderUpgrade)) == 0 {
			return nil, ls.fail(v, l, errUnasked)
		}
		v.letGo()
		return l, nil
	}
	return nil, ls.takeBody(v, l, response, !response.ConnectionClose())
}

// takeBody takes the body of the final answer; keep: the connection is good for
// another request then.
func (ls *links) takeBody(v *visit, l *link, response *fasthttp.Response, keep bool) *failure {
	if takes, err := l.takeWhole(response); takes {
		there := v.letGo()
		if err != nil {
			ls.drop(l)
			return &failure{err: err}
		}
		ls.giveBack(l, there && keep)
		return nil
	}
	body := &answerBody{links: ls, link: l, visit: v, keep: keep}
	body.begin(response)
	return nil
}

func (ls *links) giveBack(l *link, good bool) {
	if good {
		ls.put(l)
	} else {
		ls.drop(l)
	}
}

// takeWhole takes the body of an answer that has none or a small one, and tells
// whether it does.
func (l *link) takeWhole(response *fasthttp.Response) (takes bool, err error) {
	size := response.Header.ContentLength()
	switch status := response.StatusCode(); {
	case response.SkipBody, status == fasthttp.StatusNoContent, status == fasthttp.StatusNotModified, size == 0:
		return true, nil
	case size > 0 && size <= wholeBody:
		l.streams = l.streams || l.reader.Buffered() < size
		return true, response.ReadBody(l.reader, 0)
	}
	return false, nil
}

func (ls *links) fail(v *visit, l *link, err error) *failure {
	v.letGo()
	f := &failure{err: err, stale: l.used}
	if f.stale {
		v.metDead = ls
	}
	ls.drop(l)
	return f
}

func (ls *links) send(l *link, request *fasthttp.Request, headIsThere bool) error {
	if !headIsThere && isHeadOnly(request) {
		return ls.sendWhole(l, &request.Header)
	}
	var to io.Writer = l
	if headIsThere {
		to = &bodyOnly{to: l}
	}
	w := ls.buffers.writer(to)
	defer ls.buffers.putWriter(w)
	if err := request.Write(w); err != nil {
		return err
	}
	l.whole = true // if nothing was written before
	return w.Flush()
}

// isHeadOnly tells whether a request is its head, with target and host as they
// came. What names a host in its target, or could be taken for it, is for
// fasthttp to write.
func isHeadOnly(request *fasthttp.Request) bool {
	h := &request.Header
	target := h.RequestURI()
	return (h.IsGet() || h.IsHead()) && !request.IsBodyStream() && len(request.Body()) == 0 &&
		len(target) > 0 && target[0] == '/' && (len(target) == 1 || target[1] != '/') && len(h.Host()) > 0 && bytes.Equal(h.Host(), request.URI().Host())
}

// sendWhole sends a request of isHeadOnly, in one write.
func (ls *links) sendWhole(l *link, h *fasthttp.RequestHeader) error {
	head := ls.buffers.heads.Get().(*[]byte)
	defer ls.buffers.heads.Put(head)
	*head = h.AppendBytes((*head)[:0])
	l.whole = true
	_, err := l.Write(*head)
	return err
}

// answers tells whether an upstream that takes no more of a request has answered
// nevertheless.
func (l *link) answers() bool {
	if !l.deaf {
		return false // the client's body has ended early
	}
	_, err := l.reader.Peek(1)
	return err == nil
}

var errUnasked = errors.New("it goes on with another protocol unasked")

// takeHead reads the head of the final answer, or of the 101. Of a request whose
// body is still to come, patience is how long the upstream may say nothing to it;
// wanted: it has said nothing, or that it wants the body (100).
func (l *link) takeHead(request *fasthttp.Request, response *fasthttp.Response, interim func() error, patience time.Duration) (wanted bool, err error) {
	response.ResetBody()
	response.SkipBody = false
	response.Header.SetNoDefaultContentType(true)
	for range mostInterim {
		if patience > 0 {
			if spoke, err := l.speaks(patience); !spoke {
				return err == nil, err
			}
		}
		if err := l.readHead(response); err != nil {
			return false, err
		}
		switch status := response.StatusCode(); {
		case status == fasthttp.StatusContinue && patience > 0:
			return true, nil
		case status == fasthttp.StatusEarlyHints:
			if err := interim(); err != nil {
				return false, err
			}
			l.extend(time.Now())
		case status >= 200, status == fasthttp.StatusSwitchingProtocols:
			response.SkipBody = request.Header.IsHead()
			return false, nil
		}
	}
	return false, errors.New("it sends interim answers without end")
}

// readHead reads one head.
func (l *link) readHead(response *fasthttp.Response) error {
	if err := response.Header.Read(l.reader); err != nil {
		return headError(err)
	}
	return nil
}

// headError says why there is no head, with nothing of what was read, which may
// hold a cookie: fasthttp's errors quote it, and errors are logged.
func headError(err error) error {
	var network *net.OpError
	switch {
	case isTimeout(err):
		return os.ErrDeadlineExceeded
	case errors.As(err, &network):
		return network
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("it closed the connection before its answer's head was whole")
	case errors.Is(err, net.ErrClosed):
		return net.ErrClosed
	default:
		return fmt.Errorf("the head of its answer is not HTTP/1.1, or has more than %d KiB", maxAnswerHead>>10)
	}
}

// answerBody is the body of an answer that is too large to be kept.
type answerBody struct {
	links  *links
	link   *link
	visit  *visit
	keep   bool // the connection is good for another request
	from   io.Reader
	whole  bool   // its end has been read
	n      int64  // bytes that were read of it
	failed error  // why no more can be; nil: nothing has failed
	over   func() // optional: called at the end, once
	taken  bool   // Close is not the end: who took it calls finish

	done sync.Once
}

// begin makes the body the response's stream.
func (b *answerBody) begin(response *fasthttp.Response) {
	b.link.streams = true
	switch size := response.Header.ContentLength(); {
	case size > 0:
		b.from = &io.LimitedReader{R: b.link.reader, N: int64(size)}
	case size == chunked:
		b.from = &steady{from: &chunks{Reader: httputil.NewChunkedReader(b.link.reader), of: b.link.reader, header: &response.Header}, ended: func() error { return checkTrailers(&response.Header) }}
	default:
		b.from, b.keep = b.link.reader, false // until the connection ends
	}
	response.SetBodyStream(b, response.Header.ContentLength())
}

const chunked = -1 // what fasthttp calls the length of a chunked body

func (b *answerBody) Read(p []byte) (n int, err error) {
	n, err = b.from.Read(p)
	b.n += int64(n)
	limited, ok := b.from.(*io.LimitedReader)
	switch {
	case ok && limited.N == 0: // who knows the size may not read on to the end
		b.whole = true
	case ok && err == io.EOF:
		err = io.ErrUnexpectedEOF
	case err == io.EOF:
		b.whole = true
	}
	if err != nil && err != io.EOF {
		b.failed = err
	}
	return n, err
}

// SupportsBodyWriteTo makes the server use WriteTo: it would copy 4 KiB at once.
func (b *answerBody) SupportsBodyWriteTo() bool { return true }

// WriteTo passes on what there is, as Read has it.
func (b *answerBody) WriteTo(w io.Writer) (int64, error) { return b.links.buffers.pour(w, b.Read) }

// Close is finish for the server, which has nothing to do with a body that
// somebody else has taken.
func (b *answerBody) Close() error {
	if !b.taken {
		b.finish()
	}
	return nil
}

// finish gives the connection back, or ends it when the body was not read to its
// end. It may come again.
func (b *answerBody) finish() {
	b.done.Do(func() {
		b.links.giveBack(b.link, b.visit.letGo() && b.whole && b.keep)
		if b.over != nil {
			b.over()
		}
	})
}

// chunks reads a chunked body and the trailers behind it.
type chunks struct {
	io.Reader
	of     *bufio.Reader
	header *fasthttp.ResponseHeader
	ended  bool
}

func (c *chunks) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if err != io.EOF || c.ended {
		return n, err
	}
	c.ended = true
	if err := c.header.ReadTrailer(c.of); err != nil && err != io.EOF {
		return n, err
	}
	return n, io.EOF
}
