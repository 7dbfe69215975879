package proxy

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/streamspace-dev/streamspace-edge/proxy/reactor"
)

// RetryAfter is what a refused viewer that may try again is told to wait, in
// seconds.
const RetryAfter = 5

// ServeViewer answers GET /ws/vnc: it refuses with a problem+json, or takes the
// connection over and returns. The server's listener must be one of
// reactor.Lend; the connection is the stream's from then on.
func (p *Proxy) ServeViewer(ctx *fasthttp.RequestCtx) {
	v := newVisit(ctx)
	h, refusal := p.authorize(ctx, &v)
	if refusal != nil {
		p.refused(&v, refusal)
		refuse(&ctx.Response, v.id, refusal)
		return
	}
	// Whether there is room is decided where the stream starts: fasthttp may
	// find the connection dead and never call the handler, and room that was
	// set aside before would be lost. So the response is ours to write, too.
	ctx.HijackSetNoResponse(true)
	ctx.Hijack(func(hijacked net.Conn) {
		viewer, ahead, err := reactor.TakeOver(hijacked)
		if err != nil {
			p.refused(&v, &Refusal{Reason: Internal, Cause: err})
			return // the server closes it
		}
		if refusal := p.admit(v, viewer, h.response(), ahead); refusal != nil {
			p.refused(&v, refusal)
			refuseLate(viewer, v.id, refusal, p.times.close)
		}
	})
}

// authorize fills in v.grant, or tells why not.
func (p *Proxy) authorize(ctx *fasthttp.RequestCtx, v *visit) (handshake, *Refusal) {
	h, refusal := parseHandshake(ctx)
	if refusal != nil {
		return h, refusal
	}
	if refusal := refuseOrigin(headerValues(&ctx.Request.Header, "Origin"), string(ctx.Host()), p.options.AllowedOrigins); refusal != nil {
		return h, refusal
	}
	if refusal := p.refuses(); refusal != nil { // before the ticket is used up
		return h, refusal
	}
	if h.ticket == "" {
		return h, &Refusal{Reason: BadTicket, Detail: `A ticket is needed, as "token" in the query or as the second Sec-WebSocket-Protocol.`}
	}
	limited, cancel := context.WithTimeout(p.ctx, p.times.authorize)
	defer cancel()
	grant, err := p.options.Authorize(limited, h.ticket)
	if err != nil {
		return h, asRefusal(err)
	}
	if p.options.Node != nil {
		grant.Node = p.options.Node(&ctx.Request.Header)
	}
	v.grant = grant
	return h, nil
}

// refuse fills in the response to a viewer that is not let in.
func refuse(response *fasthttp.Response, id string, r *Refusal) {
	info := r.Reason.Info()
	body, err := json.Marshal(struct {
		Type      string `json:"type"`
		Title     string `json:"title"`
		Status    int    `json:"status"`
		Detail    string `json:"detail"`
		Code      Reason `json:"code"`
		RequestID string `json:"request_id"`
	}{"about:blank", http.StatusText(info.Status), info.Status, r.Words(), r.Reason, id})
	if err != nil {
		body = nil // strings and a number always encode
	}
	response.SetStatusCode(info.Status)
	response.Header.SetContentType("application/problem+json")
	response.Header.Set("Cache-Control", "no-store")
	response.Header.Set("X-Request-Id", id)
	switch info.Status {
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		response.Header.Set("Retry-After", strconv.Itoa(RetryAfter))
	case http.StatusMethodNotAllowed:
		response.Header.Set("Allow", http.MethodGet)
	case http.StatusUpgradeRequired:
		response.Header.Set("Upgrade", "websocket")
		response.Header.Set("Sec-WebSocket-Version", "13")
	}
	// What follows the request may be WebSocket frames, not another request.
	response.SetConnectionClose()
	response.SetBody(body)
}

// refuseLate answers a viewer whose room was taken since it was authorised.
func refuseLate(conn net.Conn, id string, r *Refusal, patience time.Duration) {
	response := fasthttp.AcquireResponse()
	defer fasthttp.ReleaseResponse(response)
	refuse(response, id, r)
	_ = conn.SetWriteDeadline(time.Now().Add(patience))
	w := bufio.NewWriter(conn)
	if response.Write(w) == nil {
		_ = w.Flush()
	}
	_ = conn.Close()
}

// isTimeout tells a deadline from other failures.
func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}
