package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/streamspace-dev/streamspace-edge/accesslog"
	"github.com/streamspace-dev/streamspace-edge/api"
	"github.com/streamspace-dev/streamspace-edge/api/auth"
	"github.com/streamspace-dev/streamspace-edge/balancer"
	"github.com/streamspace-dev/streamspace-edge/proxy"
	"github.com/streamspace-dev/streamspace-edge/proxy/tunnel"
	"github.com/streamspace-dev/streamspace-edge/store"
)

func (e *edge) openAccessLog(context.Context) (err error) {
	metrics := accesslog.NewMetrics(e.registry)
	c := e.config.AccessLog
	if c.File == "" {
		return nil
	}
	e.access, err = accesslog.Open(accesslog.Options{File: c.File, Sample: c.Sample, Log: e.log.Named("access"), Metrics: metrics})
	if err != nil {
		return fmt.Errorf("access_log.file: %w", err)
	}
	return nil
}

// answered tells the access log of a request to the edge's own pages.
func (e *edge) answered(r *http.Request, end api.Ended) {
	if e.access == nil {
		return
	}
	entry := accesslog.Entry{
		At: end.Came, RequestID: end.RequestID, Client: addressOf(r.RemoteAddr),
		Method: []byte(r.Method), Host: []byte(r.Host), Path: []byte(r.URL.EscapedPath()), Query: r.URL.RawQuery != "", UserAgent: []byte(r.UserAgent()),
		Protocol: r.Proto, Status: end.Status, BytesIn: max(r.ContentLength, 0), BytesOut: end.Bytes,
		Duration: time.Since(end.Came), Route: end.Route, Ended: string(end.Code),
	}
	entry.Over(r.TLS)
	if end.Status == http.StatusSwitchingProtocols {
		entry.Upgrade = "websocket"
	}
	if entry.Ended == "" {
		entry.Ended = accesslog.Done
	}
	e.access.Write(&entry)
}

// viewerEnded tells the access log of a viewer that has left or was refused.
func (e *edge) viewerEnded(end proxy.Ended) {
	if e.access == nil {
		return
	}
	entry := accesslog.Entry{
		At: end.Came, RequestID: end.ID, Client: addressOf(end.Remote),
		Method: []byte(http.MethodGet), Host: []byte(end.Host), Path: []byte(viewerPath), Query: end.Query, UserAgent: []byte(end.UserAgent),
		Protocol: "HTTP/1.1", TLS: accesslog.TLSName(end.TLS), Status: end.Status, BytesIn: end.ToServer, BytesOut: end.ToViewer,
		Duration: time.Since(end.Came), Route: viewerPath, Ended: string(end.Reason),
	}
	if end.HTTP2 {
		entry.Protocol = accesslog.HTTP2
	}
	if end.Status == http.StatusSwitchingProtocols {
		entry.Upgrade = "websocket"
	}
	switch end.Reason {
	case proxy.ViewerLeft, proxy.ViewerLost:
		entry.Ended = accesslog.ClientLeft
	case proxy.ServerClosed:
		entry.Ended = accesslog.Done
	case proxy.ServerReset:
		entry.Ended = accesslog.UpstreamFailed
	}
	e.access.Write(&entry)
}

// unreadable tells the access log of what is no request, or no whole one. The
// balancer tells of those that it has begun with, and knows more of them.
func (e *edge) unreadable(ctx *fasthttp.RequestCtx, status int, id, ended string) {
	if e.balancer.Abandon(ctx, status) {
		return
	}
	entry := accesslog.Entry{At: time.Now(), RequestID: id, Client: addressOf(ctx.RemoteAddr().String()), Status: status,
		BytesOut: int64(len(ctx.Response.Body())), Ended: ended}
	if state := ctx.TLSConnectionState(); state != nil {
		entry.TLS = accesslog.TLSName(state.Version)
	}
	e.access.Write(&entry)
}

// addressOf takes "HOST:PORT"; what is none gives an address that is not valid.
func addressOf(remote string) netip.Addr {
	at, _ := netip.ParseAddrPort(remote)
	return at.Addr().Unmap()
}

// client is who sent r, where the connection is a trusted proxy's.
func (e *edge) client(r *http.Request) string {
	peer := addressOf(r.RemoteAddr)
	if client := e.balancer.Client(peer, r.Header.Values("X-Forwarded-For")); client != peer {
		return net.JoinHostPort(client.String(), "0") // its port is not told
	}
	return r.RemoteAddr
}

// limitPage counts a request to the API or the console with the rate limits.
func (e *edge) limitPage(r *http.Request, c auth.Caller, answer http.Header) error {
	asker := balancer.Asker{Host: r.Host, Path: r.URL.Path, Addr: addressOf(r.RemoteAddr), Key: c.KeyID}
	if limited := e.balancer.Limit(r.Context(), asker, answer.Add); limited != nil {
		return store.Errorf(store.RateLimited, "%s", limited)
	}
	return nil
}

const viewerPath = "/ws/vnc"

// serveViewer gives the viewer the address of its client, and counts it with
// the rate limits: who guesses tickets comes here.
func (e *edge) serveViewer(ctx *fasthttp.RequestCtx) {
	peer := addressOf(ctx.RemoteAddr().String())
	var said []string
	for _, value := range ctx.Request.Header.PeekAll("X-Forwarded-For") {
		said = append(said, string(value))
	}
	client := e.balancer.Client(peer, said)
	if client != peer {
		ctx.SetRemoteAddr(&net.TCPAddr{IP: client.AsSlice()})
		defer ctx.SetRemoteAddr(nil) // the connection's next request may be another's
	}
	asker := balancer.Asker{Host: string(ctx.Host()), Path: viewerPath, Addr: client}
	if limited := e.balancer.Limit(ctx, asker, ctx.Response.Header.Add); limited != nil {
		e.refuseViewer(ctx, limited)
		return
	}
	e.viewers.ServeViewer(ctx)
}

func (e *edge) refuseViewer(ctx *fasthttp.RequestCtx, limited *balancer.Limited) {
	id := newRequestID()
	answerProblem(ctx, http.StatusTooManyRequests, store.RateLimited, limited.Error(), id)
	ctx.SetConnectionClose() // what follows may be WebSocket frames, not another request
	entry := accesslog.Entry{
		At: ctx.Time(), RequestID: id, Client: addressOf(ctx.RemoteAddr().String()),
		Method: ctx.Method(), Host: ctx.Host(), Path: []byte(viewerPath), Query: len(ctx.URI().QueryString()) > 0, UserAgent: ctx.UserAgent(),
		Protocol: "HTTP/1.1", Status: http.StatusTooManyRequests, BytesOut: int64(len(ctx.Response.Body())), Route: viewerPath, Ended: string(store.RateLimited),
	}
	entry.Over(ctx.TLSConnectionState())
	e.access.Write(&entry)
}

// watchAgents tells the access log of agents' control channels at their end.
// The streams that agents open beside them are told as viewers.
func (e *edge) watchAgents(control http.Handler) http.Handler {
	if e.access == nil {
		return control
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		entry := accesslog.Entry{
			At: time.Now(), RequestID: newRequestID(), Client: addressOf(e.client(r)), Method: []byte(r.Method), Host: []byte(r.Host),
			Path: []byte(tunnel.ConnectPath), Query: r.URL.RawQuery != "", UserAgent: []byte(r.UserAgent()), Protocol: "HTTP/1.1", Route: tunnel.ConnectPath,
		}
		entry.Over(r.TLS)
		noted := &statusNote{ResponseWriter: w, status: http.StatusOK}
		control.ServeHTTP(noted, r)
		entry.Status, entry.Ended, entry.Duration = noted.status, accesslog.Done, time.Since(entry.At)
		switch {
		case entry.Status == http.StatusSwitchingProtocols:
			entry.Upgrade = "websocket"
		case entry.Status >= http.StatusBadRequest:
			entry.Ended = "refused"
		}
		e.access.Write(&entry)
	})
}

// statusNote remembers the status of an answer.
type statusNote struct {
	http.ResponseWriter
	status int
}

func (n *statusNote) WriteHeader(status int) {
	n.status = status
	n.ResponseWriter.WriteHeader(status)
}

// Unwrap lets the connection be taken over.
func (n *statusNote) Unwrap() http.ResponseWriter { return n.ResponseWriter }
