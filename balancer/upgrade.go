package balancer

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/proxy/reactor"
)

// goOn joins the client with the upstream's connection, which speak another
// protocol from here on.
//
// The answer is written here: fasthttp may find the client gone while it writes
// one, and then never calls the handler, who has connections to close.
func (s *serving) goOn(l *link, protocol string) {
	head := &fasthttp.ResponseHeader{}
	s.ctx.Response.Header.CopyTo(head)
	head.Set(fasthttp.HeaderConnection, "Upgrade")
	head.Set(fasthttp.HeaderUpgrade, protocol)
	s.streams = true
	s.hijack(func(client net.Conn, ahead []byte) {
		upstream, said := l.takeOver(s.b.buffers)
		if !s.b.enter() {
			_, _ = upstream.Close(), client.Close()
			s.end()
			return
		}
		ctx := s.pool.switched(s.upstream, +1)
		if err := writeHead(client, head); err != nil {
			_, _ = upstream.Close(), client.Close()
			s.joined(reactor.Joined{By: "client", Cause: err})
			return
		}
		s.handOver()
		s.b.options.Reactor.Join(ctx, reactor.Side{Conn: client, Name: "client", Ahead: ahead},
			reactor.Side{Conn: upstream, Name: "upstream", Ahead: said}, "edge", s.joined)
	}, func() {
		s.b.buffers.putReader(l.reader)
		_ = l.Conn.Close()
		s.end()
	})
}

// hijack takes the client's connection from the server and gives it to f, or
// calls failed: also where the server never hands it over, since the client has
// gone before it had the answers to what it asked for earlier.
func (s *serving) hijack(f func(client net.Conn, ahead []byte), failed func()) {
	s.keep()
	s.ctx.HijackSetNoResponse(true)
	s.ctx.Hijack(func(hijacked net.Conn) {
		if !s.woken() {
			_ = hijacked.Close()
			return
		}
		client, ahead, err := reactor.TakeOver(hijacked)
		if err != nil {
			s.b.log.Error("a client's connection can't be taken over", zap.String("request", s.id), zap.Error(err))
			failed()
			return
		}
		f(client, ahead)
	})
	s.wait(func(int) { failed() })
}

// headLimit is how long a client may take for the head of an answer.
const headLimit = 30 * time.Second

func writeHead(client net.Conn, head *fasthttp.ResponseHeader) error {
	_ = client.SetWriteDeadline(time.Now().Add(headLimit))
	w := bufio.NewWriter(client)
	if err := head.Write(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return client.SetWriteDeadline(time.Time{})
}

// joined is the last turn of an upgraded connection.
func (s *serving) joined(end reactor.Joined) {
	defer s.b.running.Done()
	s.join = &end
	s.pool.switched(s.upstream, -1)
	s.b.log.Info("upgraded connection ended", zap.String("request", s.id), zap.String("pool", s.pool.name), zap.String("upstream", s.upstream.id),
		zap.String("by", end.By), zap.Error(end.Cause), zap.Int64("to_upstream", end.FromA), zap.Int64("to_client", end.FromB), zap.Duration("lasted", end.Lasted))
	s.end()
}

// answerOld answers a client of HTTP/1.0, which knows no chunks, with a body of
// unknown size: its end is the connection's.
func (s *serving) answerOld(body *answerBody) {
	head := &fasthttp.ResponseHeader{}
	s.ctx.Response.Header.CopyTo(head)
	head.Del(fasthttp.HeaderTransferEncoding)
	head.SetContentLength(identity)
	head.SetProtocol([]byte("HTTP/1.0"))
	head.SetConnectionClose()
	body.taken = true
	s.hijack(func(client net.Conn, _ []byte) {
		if !s.b.enter() {
			body.finish()
			_ = client.Close()
			return
		}
		defer s.b.running.Done()
		defer client.Close()
		defer body.finish()
		defer context.AfterFunc(s.b.ctx, func() {
			s.abort() // nobody waits any more
			_ = client.Close()
		})()
		if writeHead(client, head) == nil {
			_, _ = io.Copy(patient{client, headLimit}, body) // who gets less sees no difference, as ever with HTTP/1.0
		}
	}, body.finish)
}

// patient writes for as long as the client takes something within each wait. Over
// TLS, where a write that was late can't be gone on with, it has to take the whole.
type patient struct {
	client net.Conn
	wait   time.Duration
}

func (p patient) Write(b []byte) (written int, err error) {
	for {
		_ = p.client.SetWriteDeadline(time.Now().Add(p.wait)) // fails when it is closed, as the write does
		n, err := p.client.Write(b[written:])
		written += n
		if n == 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return written, err
		}
	}
}

const identity = -2 // what fasthttp calls the length of a body that ends with its connection
