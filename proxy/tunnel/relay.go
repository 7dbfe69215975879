package tunnel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/proxy/reactor"
)

const (
	// halfClosedIdle ends a stream of which one side has said its last and the
	// other says nothing: it may have gone without a trace.
	halfClosedIdle = 5 * time.Minute

	// lastWords is how long what was read of a side that failed may take to
	// reach the other.
	lastWords = 5 * time.Second

	// Every lookEvery a stream looks whether both peers' kernels still
	// acknowledge what was sent; maxSilence without is the end.
	lookEvery  = 15 * time.Second
	maxSilence = 60 * time.Second
)

// relay is one of the agent's streams: the edge's connection and the VNC
// server's, joined on a loop.
type relay struct {
	loop         *reactor.Loop
	log          *zap.Logger
	done         func()      // nil once the relay has ended
	forget       func() bool // that ctx ends the relay
	began        time.Time
	edge, server leg
	look         *reactor.Timer
	late         *reactor.Timer // of halfClosedIdle, then of lastWords
	failed       bool
	endedBy      string // whose end or failure came first
	cause        error
}

// leg is one connection of a relay.
type leg struct {
	*relay
	name   string
	conn   *reactor.Conn
	to     *leg
	ended  bool  // nothing more comes from it
	deaf   bool  // it can't be written to any more
	bulk   bool  // its socket holds more than a buffer
	passed int64 // bytes that came from it
}

// startRelay carries bytes both ways between the edge and a VNC server until
// both have said their last, one fails, or ctx ends; then it closes both and
// calls done. Half-close is passed on. It does not wait.
func startRelay(ctx context.Context, loops *reactor.Reactor, edge, server net.Conn, log *zap.Logger, done func()) {
	log.Info("stream open")
	reactor.KeepAlive(server)
	r := &relay{loop: loops.Loop(), log: log, began: time.Now(), done: done}
	r.edge = leg{relay: r, name: "edge", to: &r.server}
	r.server = leg{relay: r, name: "VNC server", to: &r.edge}
	if !r.loop.Do(func() { r.begin(ctx, edge, server) }) {
		_ = edge.Close()
		_ = server.Close()
		done()
	}
}

func (r *relay) begin(ctx context.Context, edge, server net.Conn) {
	r.forget = context.AfterFunc(ctx, func() {
		r.loop.Do(func() { r.end("agent", context.Cause(ctx)) })
	})
	r.late = r.loop.NewTimer(func() { r.end("agent", errors.New("it waited for too long")) })
	r.look = r.loop.NewTimer(r.lookAtPeers)
	r.look.Set(r.loop.Now().Add(lookEvery))
	r.edge.conn, r.server.conn = r.loop.Add(edge, &r.edge), r.loop.Add(server, &r.server)
}

// Readable takes what the leg's peer sends.
func (l *leg) Readable() {
	if l.bulk {
		l.moveOn()
		return
	}
	buf := l.loop.Buffer()[:reactor.MinRead]
	n, err := l.conn.Read(buf)
	switch {
	case err == reactor.ErrWait:
	case err != nil:
		l.ends(err)
	case l.failed:
	default:
		l.bulk = n == len(buf) && l.conn.Moves(l.to.conn)
		_ = l.to.conn.Write(buf[:n]) // passOn finds the failure
		l.passOn(n)
	}
}

// moveOn passes on what the leg holds without copying it.
func (l *leg) moveOn() {
	n, err := l.conn.Move(l.to.conn, reactor.MaxMove, nil)
	l.bulk = err == nil && n >= reactor.WorthMoving && !l.failed
	switch {
	case err == reactor.ErrWait:
	case err != nil:
		l.ends(err)
	default:
		l.passOn(n)
	}
}

// passOn goes on after n bytes of the leg were written to the other, and stops
// the leg while the other does not take them. One that takes no more may still
// have words to say, and reading it finds its end behind them.
func (l *leg) passOn(n int) {
	if l.to.conn.Failure() != nil {
		l.to.deaf = true
		l.conn.Pause()
		l.late.Set(l.loop.Now().Add(lastWords))
		return
	}
	l.passed += int64(n)
	if l.to.conn.Pending() {
		l.conn.Pause()
	}
	if l.to.ended {
		l.late.Set(l.loop.Now().Add(halfClosedIdle))
	}
}

// Flushed goes on with what the other leg holds.
func (l *leg) Flushed() {
	if !l.to.ended && !l.deaf {
		l.to.conn.Resume()
	}
	l.endIfOver()
}

// Lost finds that the leg has failed while the other side does not take what
// came before, which still gets lastWords.
func (l *leg) Lost() { l.fails(errors.New("the connection was reset")) }

func (l *leg) ends(err error) {
	if err != io.EOF || l.deaf {
		l.fails(err)
		return
	}
	l.blame(nil)
	l.ended = true
	l.conn.Pause()
	l.to.conn.CloseWrite()
	if !l.failed {
		l.late.Set(l.loop.Now().Add(halfClosedIdle))
	}
	l.endIfOver()
}

// fails ends a relay whose leg can't be read or written any more. What it said
// before still reaches the other side, which is read to its end: closing a
// socket that holds unread bytes would throw that away.
func (l *leg) fails(err error) {
	l.blame(err)
	if l.failed {
		l.end(l.name, err)
		return
	}
	l.relay.failed, l.ended = true, true
	l.conn.Close()
	l.to.bulk = false
	l.to.conn.CloseWrite()
	l.to.conn.Resume()
	l.late.Set(l.loop.Now().Add(lastWords))
	l.endIfOver()
}

func (r *relay) blame(name string, err error) {
	if r.endedBy == "" {
		r.endedBy, r.cause = name, err
	}
}

func (l *leg) blame(err error) { l.relay.blame(l.name, err) }

func (r *relay) lookAtPeers() {
	r.look.Set(r.loop.Now().Add(lookEvery))
	for _, l := range []*leg{&r.edge, &r.server} {
		if silent := l.conn.Peer().SilentFor(); silent > maxSilence {
			l.fails(fmt.Errorf("it has not acknowledged what was sent for %v", silent.Round(time.Second)))
			return
		}
	}
}

// endIfOver ends a relay of which both sides have said their last and been told
// the other's.
func (r *relay) endIfOver() {
	over := func(l *leg) bool { return l.conn.Closed() || l.ended && !l.conn.Pending() }
	if over(&r.edge) && over(&r.server) {
		r.end("", nil)
	}
}

// end closes both legs at once. It may come again.
func (r *relay) end(by string, cause error) {
	if r.done == nil {
		return
	}
	r.blame(by, cause)
	r.forget()
	r.late.Stop()
	r.look.Stop()
	r.edge.conn.Close()
	r.server.conn.Close()
	done := r.done
	r.done = nil
	go func() { // a log may be slow
		defer done()
		r.log.Info("stream ended", zap.String("by", r.endedBy), zap.Error(r.cause),
			zap.Int64("to_server", r.edge.passed), zap.Int64("to_edge", r.server.passed), zap.Duration("lasted", time.Since(r.began)))
	}()
}
