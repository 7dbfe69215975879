package balancer

import (
	"bytes"
	"context"
	"io"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/streamspace-dev/streamspace-edge/accesslog"
)

// expectPatience is how long an upstream may say nothing to a request whose
// client waits for its word before it sends the body. Servers that don't know of
// it wait for the body (RFC 9110 section 10.1.1).
const expectPatience = time.Second

// expecting is where Expect leaves a request for Serve.
type expecting struct{}

// Expect asks an upstream about a request with `Expect: 100-continue`, for which
// Route has found a way. It returns 100 when the upstream wants the body, or has
// said nothing for a second: the server then lets the client send it, and calls
// Serve. Otherwise the response is the answer, and Expect returns its status.
//
// It is what a fasthttp.Server's ExpectHandler calls.
func (b *Balancer) Expect(ctx *fasthttp.RequestCtx, r *Route) (status int) {
	if h := &ctx.Request.Header; !h.IsHTTP11() || len(h.Peek(fasthttp.HeaderUpgrade)) > 0 {
		return fasthttp.StatusContinue
	}
	s := b.begin(ctx, r)
	s.asks, s.last = true, ctx.Request.Header.ConnectionClose()
	s.serve()
	if s.asked != nil {
		ctx.SetUserValue(expecting{}, s)
		s.keep() // whoever finds the client gone may come when the server has forgotten the request
		s.wait(s.orphaned)
		return fasthttp.StatusContinue
	}
	b.options.Unread(s.visit.client) // who has waited for too long sends the body nevertheless
	if !s.streams {
		s.end()
	}
	return ctx.Response.StatusCode()
}

// Abandon ends the request that Expect has begun with on this connection and
// whose body the server can't take in, which is why it does not call Serve: status
// is what it answers, or accesslog.StatusClientLeft. It tells whether there was
// one; the access log and the metrics have it then.
func (b *Balancer) Abandon(ctx *fasthttp.RequestCtx, status int) bool {
	orphan := b.visits.of(ctx.ConnID()).orphanOf(ctx.Conn())
	if orphan != nil {
		orphan(status)
	}
	return orphan != nil
}

// goOnExpected serves a request whose body has been asked for.
func (s *serving) goOnExpected() {
	if !s.woken() {
		s.ctx.SetConnectionClose() // the client has gone, and all is over
		return
	}
	s.asks, s.kept = false, nil
	s.asked.by = time.Time{}
	s.asked.extend(time.Now()) // the client may have taken its time
	if err := s.takeBody(); err != nil {
		s.upstream.links.drop(s.asked)
		s.refuseBody(err)
	} else {
		s.find(time.Now())
	}
	if s.last { // the server looks for that in what has become the upstream's request
		s.ctx.SetConnectionClose()
	}
	s.tellUnread()
	if !s.streams {
		s.end()
	}
}

// orphaned ends a request whose body does not come. The server may have forgotten
// it by now.
func (s *serving) orphaned(status int) {
	s.upstream.links.drop(s.asked)
	switch s.status = status; status {
	case accesslog.StatusClientLeft:
	case fasthttp.StatusBadRequest:
		s.refused = &refusal{status: status, code: "bad_request", detail: brokenBody}
	default:
		s.refused = &refusal{status: status, code: "invalid", detail: "the body of the request did not come in time"}
	}
	s.end()
}

// wait calls f when the client goes before woken is called, with
// accesslog.StatusClientLeft, or when Abandon is, with its status.
func (v *visit) wait(f func(status int)) {
	v.mu.Lock()
	v.orphan = f
	gone := v.aborted
	v.mu.Unlock()
	if gone && v.woken() {
		f(accesslog.StatusClientLeft)
	}
}

// woken tells whether nobody has called it since wait.
func (v *visit) woken() bool { return v.wake() != nil }

// wake returns what waits, once.
func (v *visit) wake() (orphan func(status int)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	orphan, v.orphan = v.orphan, nil
	return orphan
}

// ask sends the head of a request alone and waits for what the upstream says to
// it: the connection is for the body then; nil: it has answered, in response.
func (ls *links) ask(ctx context.Context, v *visit, request *fasthttp.Request, response *fasthttp.Response, interim func() error, now time.Time) (*link, *failure) {
	l, err := ls.get(ctx, v.client, v.metDead == ls, false, now)
	if err != nil {
		return nil, &failure{err: err, untouched: true}
	}
	v.hold(l)
	if err := ls.sendHead(l, request); err != nil && !l.answers() {
		return nil, ls.fail(v, l, err)
	}
	switch wanted, err := l.takeHead(request, response, interim, expectPatience); {
	case err != nil:
		return nil, ls.fail(v, l, err)
	case wanted:
		return l, nil
	case response.StatusCode() == fasthttp.StatusSwitchingProtocols:
		return nil, ls.fail(v, l, errUnasked)
	}
	return nil, ls.takeBody(v, l, response, false) // the connection was promised a body
}

// sendHead sends what fasthttp's Request.Write would before the body.
func (ls *links) sendHead(l *link, request *fasthttp.Request) error {
	w := ls.buffers.writer(l)
	defer ls.buffers.putWriter(w)
	h, uri := &request.Header, request.URI()
	h.SetHostBytes(uri.Host())
	h.SetRequestURIBytes(uri.RequestURI())
	h.Set(fasthttp.HeaderExpect, "100-continue")
	defer h.Del(fasthttp.HeaderExpect)
	if err := h.Write(w); err != nil {
		return err
	}
	return w.Flush()
}

// speaks waits for the upstream's next byte. Neither it nor an error: nothing
// came within that time.
func (l *link) speaks(within time.Duration) (bool, error) {
	if l.reader.Buffered() > 0 {
		return true, nil
	}
	_ = l.Conn.SetReadDeadline(time.Now().Add(min(within, l.wait)))
	_, err := l.reader.Peek(1)
	l.by = time.Time{}
	l.extend(time.Now())
	if err == nil {
		return true, nil
	}
	if isTimeout(err) {
		return false, nil
	}
	return false, err
}

// bodyOnly leaves the head of a request out, which has been sent.
type bodyOnly struct {
	to   io.Writer
	tail []byte // of the head, what may be part of its end
	over bool
}

var endOfHead = []byte("\r\n\r\n")

func (w *bodyOnly) Write(p []byte) (int, error) {
	if w.over {
		return w.to.Write(p)
	}
	seen := append(w.tail, p...)
	end := bytes.Index(seen, endOfHead)
	if end < 0 {
		w.tail = append([]byte(nil), seen[max(0, len(seen)-len(endOfHead)+1):]...)
		return len(p), nil
	}
	w.over = true
	if body := seen[end+len(endOfHead):]; len(body) > 0 {
		if _, err := w.to.Write(body); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}
