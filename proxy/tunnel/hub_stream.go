package tunnel

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/proxy/reactor"
)

const (
	spareTimeout = 5 * time.Second  // waiting for a spare before CodeAgentBusy
	echoTimeout  = 2 * time.Second  // an echo ahead of an open; a spare that takes longer counts as dead
	openTimeout  = 15 * time.Second // the agent's answer to an open; its own limit for the VNC server is 10 s
	echoEvery    = 3                // beats between two echo rounds
	openAttempts = 8                // spares that one Open tries
)

// errDeadSpare means that another spare may do better.
var errDeadSpare = errors.New("the stream connection is dead")

// ServeStream takes over an agent's stream connection as a spare of its
// tunnel. It returns at once; the server's listener must be one of reactor.Lend.
func (h *Hub) ServeStream(ctx *fasthttp.RequestCtx) {
	header := &ctx.Request.Header
	if !ctx.IsGet() || !header.ConnectionUpgrade() || string(header.Peek(fasthttp.HeaderUpgrade)) != StreamProtocol {
		refuseStream(ctx, Errorf(CodeBadRequest, "%s is for agents: a stream connection is a GET with Upgrade: %s", ConnectPath, StreamProtocol))
		return
	}
	t, err := h.live(string(header.Peek(HeaderAgentID)))
	// One answer for an unknown agent, a wrong token and an old generation's:
	// a stranger learns nothing from it.
	if err != nil || subtle.ConstantTimeCompare(header.Peek(HeaderStream), []byte(t.token)) != 1 {
		refuseStream(ctx, Errorf(CodeUnauthorized, "no tunnel of this agent has this stream token"))
		return
	}
	ctx.SetStatusCode(fasthttp.StatusSwitchingProtocols)
	ctx.Response.Header.Set(fasthttp.HeaderConnection, "Upgrade")
	ctx.Response.Header.Set(fasthttp.HeaderUpgrade, StreamProtocol)
	ctx.Hijack(func(hijacked net.Conn) {
		conn, ahead, err := reactor.TakeOver(hijacked)
		switch {
		case err != nil: // the server closes it
			t.log.Warn("stream connection refused", zap.Error(err))
			return
		case len(ahead) > 0:
			t.log.Warn("stream connection refused: the agent spoke before it was asked")
			_ = conn.Close()
			return
		}
		reactor.KeepAlive(conn)
		t.putSpare(conn)
	})
}

// Open asks the agent for a stream to o.Session. The connection it returns is
// the agent's own, a *net.TCPConn or *tls.Conn as the server accepted it,
// without a wrapper and with nothing read ahead, or a *WebSocket around that when
// o allows it; the caller closes it. What
// goes in comes out at the VNC server, and CloseWrite is passed on both ways.
// The stream outlives the control channel.
//
// Errors are an *Error: the agent's own, CodeAgentOffline without a tunnel or
// when it ends meanwhile, CodeAgentBusy when no stream connection comes within
// 5 s, CodeTimeout when ctx ends first or the agent does not answer in 15 s.
func (h *Hub) Open(ctx context.Context, agentID string, o OpenRequest) (net.Conn, error) {
	began := time.Now()
	conn, err := h.open(ctx, agentID, o)
	h.o.Metrics.opened(err, time.Since(began))
	return conn, err
}

func (h *Hub) open(ctx context.Context, agentID string, o OpenRequest) (net.Conn, error) {
	frame, err := openFrame(o)
	if err != nil {
		return nil, err
	}
	t, err := h.live(agentID)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(t.channel.ctx, func() { cancel(offline(agentID)) })()
	for range openAttempts {
		conn, err := t.takeSpare(ctx)
		if err != nil {
			return nil, err
		}
		webSocket, err := t.openOn(ctx, conn, frame)
		switch {
		case err == nil && webSocket:
			return &WebSocket{conn}, nil
		case err == nil:
			return conn, nil
		case ctx.Err() != nil:
			return nil, t.interrupted(ctx)
		case !errors.Is(err, errDeadSpare):
			return nil, err
		}
		t.log.Debug("a stream connection turned out dead", zap.Error(err))
		select {
		case t.suspect <- struct{}{}:
		default:
		}
	}
	return nil, Errorf(CodeAgentBusy, "%d stream connections of agent %s in a row did not answer", openAttempts, agentID)
}

// interrupted is why ctx, made by open, has ended.
func (t *tunnel) interrupted(ctx context.Context) error {
	var coded *Error
	if errors.As(context.Cause(ctx), &coded) {
		return coded
	}
	return Errorf(CodeTimeout, "agent %s did not open the stream in time", t.agentID)
}

// takeSpare returns an idle stream connection; when there is none it asks the
// agent for more and waits.
func (t *tunnel) takeSpare(ctx context.Context) (net.Conn, error) {
	conn, wait := t.spares.take()
	if conn != nil {
		return conn, nil
	}
	defer t.spares.leave(wait)
	timeout := time.NewTimer(spareTimeout)
	defer timeout.Stop()
	again := time.NewTicker(requestLife)
	defer again.Stop()
	for {
		if n := t.spares.shortage(); n > 0 {
			if err := t.channel.send(ctx, Envelope{Streams: &Streams{More: n}}); err != nil {
				return nil, t.interrupted(ctx)
			}
		}
		select {
		case conn := <-wait:
			return conn, nil
		case <-again.C:
		case <-timeout.C:
			return nil, Errorf(CodeAgentBusy, "agent %s made no stream connection within %v", t.agentID, spareTimeout)
		case <-ctx.Done():
			return nil, t.interrupted(ctx)
		}
	}
}

// openOn turns a spare into a stream. On a refusal of the agent's own the
// spare goes back to the pool; on any other error it is closed.
func (t *tunnel) openOn(ctx context.Context, conn net.Conn, open []byte) (webSocket bool, err error) {
	stop := interruptAtEnd(ctx, conn)
	answer, err := t.exchangeOpen(ctx, conn, open)
	if !stop() {
		err = t.interrupted(ctx)
	}
	if err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	switch {
	case err != nil:
		_ = conn.Close()
		return false, err
	case answer.Error != nil:
		t.putSpare(conn)
		return false, answer.Error
	default:
		return answer.WebSocket, nil
	}
}

func (t *tunnel) exchangeOpen(ctx context.Context, conn net.Conn, open []byte) (answer openAnswer, err error) {
	if err := echo(ctx, conn, echoTimeout, open); err != nil {
		return answer, err
	}
	if err := deadline(ctx, conn, openTimeout); err != nil {
		return answer, err
	}
	kind, payload, err := readFrame(conn)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return answer, Errorf(CodeTimeout, "agent %s did not answer the open within %v", t.agentID, openTimeout)
	case err != nil:
		return answer, fmt.Errorf("%w: %w", errDeadSpare, err)
	case kind != frameOpenAnswer:
		return answer, fmt.Errorf("%w: a frame of type %d where an open answer belongs", errDeadSpare, kind)
	}
	if answer, err = parseOpenAnswer(payload); err != nil {
		return answer, fmt.Errorf("%w: %w", errDeadSpare, err)
	}
	return answer, nil
}

func (t *tunnel) putSpare(conn net.Conn) {
	if !t.spares.put(conn) {
		_ = conn.Close()
	}
}

// interruptAtEnd makes ctx's end fail what waits on conn.
func interruptAtEnd(ctx context.Context, conn net.Conn) (stop func() bool) {
	return context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
}

// echo sends an echo, with more behind it in the same write, and waits for
// its answer. Errors are errDeadSpare.
func echo(ctx context.Context, conn net.Conn, timeout time.Duration, more []byte) error {
	if err := deadline(ctx, conn, timeout); err != nil {
		return err
	}
	var sent [echoSize]byte
	_, _ = rand.Read(sent[:]) // never fails: it crashes the program rather
	if _, err := conn.Write(append(appendFrame(nil, frameEcho, sent[:]), more...)); err != nil {
		return fmt.Errorf("%w: %w", errDeadSpare, err)
	}
	kind, payload, err := readFrame(conn)
	if err != nil {
		return fmt.Errorf("%w: %w", errDeadSpare, err)
	}
	if kind != frameEchoAnswer || !bytes.Equal(payload, sent[:]) {
		return fmt.Errorf("%w: it answers an echo with something else", errDeadSpare)
	}
	return nil
}

// deadline must not undo the deadline in the past with which ctx's end
// interrupts conn, so it looks at ctx after setting its own.
func deadline(ctx context.Context, conn net.Conn, timeout time.Duration) error {
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return fmt.Errorf("%w: %w", errDeadSpare, err)
	}
	return ctx.Err()
}

// watchStreams judges the tunnel by its stream connections: heartbeats on the
// control channel say nothing of the path that sessions take.
func (t *tunnel) watchStreams() {
	ticker := time.NewTicker(echoEvery * t.hub.o.BeatEvery)
	defer ticker.Stop()
	for {
		select {
		case <-t.channel.ctx.Done():
			return
		case <-ticker.C:
		case <-t.suspect:
		}
		if !t.echoRound() && t.channel.ctx.Err() == nil {
			t.channel.end(fmt.Errorf("no stream connection answers within %v", t.hub.o.BeatEvery))
		}
	}
}

// echoRound tries every spare and closes those that don't answer within a
// beat. It reports whether any connection answered or arrived.
func (t *tunnel) echoRound() bool {
	ctx, cancel := context.WithTimeout(t.channel.ctx, t.hub.o.BeatEvery)
	defer cancel()
	spares, arrivals := t.spares.takeAll()
	var echoes sync.WaitGroup
	for _, conn := range spares {
		echoes.Go(func() {
			stop := interruptAtEnd(ctx, conn)
			err := echo(ctx, conn, t.hub.o.BeatEvery, nil)
			if !stop() || err != nil || conn.SetDeadline(time.Time{}) != nil {
				_ = conn.Close()
				return
			}
			t.putSpare(conn)
		})
	}
	echoes.Wait()
	if !t.spares.arrivedSince(arrivals) {
		if conn, err := t.takeSpare(ctx); err == nil { // asks the agent for one
			t.putSpare(conn)
		}
	}
	t.spares.trim(2 * t.hub.o.Spares)
	return t.spares.arrivedSince(arrivals)
}
