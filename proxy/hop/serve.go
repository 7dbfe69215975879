package hop

import (
	"context"
	"encoding/json"
	"net"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/proxy/reactor"
	"github.com/streamspace-dev/streamspace-edge/proxy/tunnel"
)

// Serve takes another edge's stream over. It returns at once; the server's
// listener must be one of reactor.Lend.
func (h *Hop) Serve(ctx *fasthttp.RequestCtx) {
	t, refused := h.admit(ctx)
	if refused != nil {
		h.o.Metrics.served(refused)
		refuse(ctx, refused)
		return
	}
	ctx.SetStatusCode(fasthttp.StatusSwitchingProtocols)
	ctx.Response.Header.Set(fasthttp.HeaderConnection, "Upgrade")
	ctx.Response.Header.Set(fasthttp.HeaderUpgrade, Protocol)
	// The agent is asked after the 101: if that can't be sent, nobody has the
	// agent's connection.
	ctx.Hijack(func(hijacked net.Conn) {
		peer, ahead, err := reactor.TakeOver(hijacked)
		if err != nil { // the server closes it
			h.o.Log.Warn("a stream of another edge is refused", zap.Error(err))
			return
		}
		if !h.enter() {
			_ = peer.Close()
			return
		}
		h.carry(peer, ahead, t)
	})
}

// admit wants a hop's request with a token that was not used.
func (h *Hop) admit(ctx *fasthttp.RequestCtx) (t token, refused *tunnel.Error) {
	header := &ctx.Request.Header
	if !ctx.IsGet() || !header.ConnectionUpgrade() || string(header.Peek(fasthttp.HeaderUpgrade)) != Protocol {
		return t, tunnel.Errorf(tunnel.CodeBadRequest, "%s is for edges: a GET with Upgrade: %s", Path, Protocol)
	}
	t, refused = h.verify(string(header.Peek(HeaderToken)), h.o.Now())
	switch {
	case refused != nil:
		return t, refused
	case h.draining.Load():
		return t, tunnel.Errorf(tunnel.CodeNodeDraining, "edge %s is leaving", h.o.Node)
	}
	switch first, full := h.used.first(t.ID); {
	case full:
		return t, tunnel.Errorf(tunnel.CodeUnavailable, "edge %s was asked for %d streams by other edges in %s and takes no more now", h.o.Node, maxUsed, usedFor)
	case !first:
		return t, tunnel.Errorf(tunnel.CodeUnauthorized, "the hop's token was used before")
	}
	return t, nil
}

func refuse(ctx *fasthttp.RequestCtx, e *tunnel.Error) {
	status := fasthttp.StatusServiceUnavailable
	switch e.Code {
	case tunnel.CodeBadRequest:
		status = fasthttp.StatusBadRequest
	case tunnel.CodeUnauthorized:
		status = fasthttp.StatusUnauthorized
	}
	body, err := json.Marshal(e)
	if err != nil {
		ctx.Error(e.Text, status)
		return
	}
	ctx.SetStatusCode(status)
	ctx.SetContentType("application/json")
	ctx.SetBody(body)
}

// carry opens the stream at the agent, answers, and joins the two. It has the
// goroutine of the hijack until they are joined.
func (h *Hop) carry(peer net.Conn, ahead []byte, t token) {
	log := h.o.Log.With(zap.String("from", t.From), zap.String("agent", t.Agent), zap.String("session", t.Open.Session), zap.String("stream", t.Open.Stream))
	server, giveBack, err := h.open(t)
	h.o.Metrics.served(err)
	framed, isFramed := server.(*tunnel.WebSocket)
	if isFramed {
		server = framed.Conn
	}
	a := answer{WebSocket: isFramed}
	if err != nil {
		log.Info("a stream for another edge is refused", zap.Error(err))
		a.Error = coded(err)
	}
	if said := h.say(peer, a); said != nil || err != nil {
		if err == nil {
			log.Info("the other edge has gone before its stream was open", zap.Error(said))
			_ = server.Close()
			giveBack()
		}
		_ = peer.Close()
		h.serving.Done()
		return
	}
	log.Info("a stream for another edge is open")
	h.active.Add(1)
	h.o.Metrics.active.Inc()
	ctx, leave := h.carrying()
	h.o.Reactor.Join(ctx, reactor.Side{Conn: peer, Name: "edge", Ahead: ahead}, reactor.Side{Conn: server, Name: "agent"}, "this edge", func(end reactor.Joined) {
		defer h.serving.Done()
		leave()
		giveBack()
		h.active.Add(-1)
		h.o.Metrics.active.Dec()
		log.Info("a stream for another edge has ended", zap.String("by", end.By), zap.Error(end.Cause),
			zap.Int64("to_agent", end.FromA), zap.Int64("to_edge", end.FromB), zap.Duration("lasted", end.Lasted))
	})
}

// open opens the stream at the agent, in a place of this edge's. Without an error
// the caller gives it back.
func (h *Hop) open(t token) (server net.Conn, giveBack func(), err error) {
	giveBack = func() {}
	if h.o.Carry != nil {
		if giveBack, err = h.o.Carry(); err != nil {
			return nil, nil, err
		}
	}
	ctx, cancel := context.WithTimeout(h.ctx, h.times.open)
	defer cancel()
	if server, err = h.o.Open(ctx, t.Agent, t.Open); err != nil {
		giveBack()
		return nil, nil, err
	}
	return server, giveBack, nil
}

// say writes an answer, for which the other edge has the time of a dial.
func (h *Hop) say(peer net.Conn, a answer) error {
	frame, err := a.frame()
	if err != nil {
		return err
	}
	if err := peer.SetWriteDeadline(time.Now().Add(h.times.dial)); err != nil {
		return err
	}
	if _, err := peer.Write(frame); err != nil {
		return err
	}
	return peer.SetWriteDeadline(time.Time{})
}
