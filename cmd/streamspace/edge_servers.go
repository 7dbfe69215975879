package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttpadaptor"
	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/api"
	"github.com/streamspace-dev/streamspace-edge/api/console"
	"github.com/streamspace-dev/streamspace-edge/balancer"
	"github.com/streamspace-dev/streamspace-edge/listen"
	"github.com/streamspace-dev/streamspace-edge/proxy/hop"
	"github.com/streamspace-dev/streamspace-edge/proxy/tunnel"
)

// Limits of the public server.
const (
	maxHeader = 16 << 10 // bytes of request line and header
	bodyAhead = 64 << 10 // of a body, is read before it is served
)

func (e *edge) openServers(context.Context) error {
	drained, end := context.WithCancel(context.Background())
	e.endEvents = end
	pages := api.New(api.Options{
		Store:            e.store,
		Coord:            eventStreams{Coord: e.coord, drained: drained},
		Auth:             e.auth,
		Log:              e.log.Named("api"),
		Metrics:          api.NewMetrics(e.registry),
		Console:          console.Handler(),
		Version:          version,
		CreateSession:    e.createSession,
		StopSession:      e.sessions.Stop,
		CheckEndpoint:    e.checkEndpoint,
		Viewers:          func(id string) int { return e.viewers.Viewers(id) + e.sessions.ViewersElsewhere(id) },
		Streams:          e.streamsOf,
		NotNow:           e.notNow,
		NodeCookie:       e.nodeCookieFor,
		BlockClipboardIn: !e.config.VNC.ClipboardIn,
		AgentStatus:      e.sessions.AgentStatus,
		AgentActive:      e.sessions.Active,
		AgentRoom:        e.sessions.Room,
		AgentHeard:       e.sessions.LastHeartbeat,
		AgentHomes:       e.agentHomes,
		DrainAgent:       e.sessions.DrainAgent,
		ResumeAgent:      e.sessions.ResumeAgent,
		DeleteAgent:      e.sessions.DeleteAgent,
		Nodes:            e.nodes,
		DrainNode:        e.drainNode,
		ResumeNode:       e.resumeNode,
		Health:           e.health,
		Hints:            e.hints,
		Pools:            e.pools,
		SetUpstream:      e.setUpstream,
		Reload:           e.reload,
		Client:           e.client,
		Limit:            e.limitPage,
		Ended:            e.answered,
		HSTS:             e.config.TLS.HSTS.header(),
		TicketTTL:        e.config.VNC.TicketTTL.std(),
		PublicURL:        e.publicURL,
		AllowedOrigins:   e.config.allowedOrigins(),
		SecureCookies:    e.certificates != nil,
		JoinPin:          e.joinPin(),
	})
	handler := e.route(e.withBody(fasthttpadaptor.NewFastHTTPHandler(pages)), e.withBody(fasthttpadaptor.NewFastHTTPHandler(e.watchAgents(e.hub))))
	e.server = e.newPublicServer(handler)
	e.server.ConnState = e.countConnection
	if e.certificates != nil && e.config.Listen.HTTP2 {
		e.openHTTP2(handler)
	}
	e.adminWeb = &http.Server{Handler: e.adminPages(), ReadHeaderTimeout: adminTimeout}
	return nil
}

// adminTimeout is for the header of a request to the private listener.
const adminTimeout = 20 * time.Second

// newPublicServer serves clients' connections; its listeners must be of
// listen.Listen.
func (e *edge) newPublicServer(handler fasthttp.RequestHandler) *fasthttp.Server {
	s := e.newServer(handler)
	s.ReadTimeout = e.config.Timeouts.Header.std()
	s.WriteTimeout = listen.WhileMoving
	s.IdleTimeout = e.config.Timeouts.Idle.std()
	s.HeaderReceived = bodyWhileMoving
	s.ExpectHandler = e.expect
	return s
}

// newServer serves requests of HTTP/1.1 without timeouts.
func (e *edge) newServer(handler fasthttp.RequestHandler) *fasthttp.Server {
	return &fasthttp.Server{
		Handler:               handler,
		ReadBufferSize:        maxHeader,
		StreamRequestBody:     true, // pools take bodies of any size; the API has a limit of its own
		MaxRequestBodySize:    bodyAhead,
		NoDefaultDate:         true,
		LazyRequestTime:       true,
		NoDefaultServerHeader: true,
		ErrorHandler:          e.answerUnreadable,
		SecureErrorLogMessage: true, // a malformed request may hold a credential
		Logger:                fasthttpLog{e.log.Named("http")},

		DisablePreParseMultipartForm: true, // a form is passed on byte for byte, not written anew
	}
}

// expect asks a pool's upstream whether it wants a body. What is the edge's own
// takes every one, up to a size.
func (e *edge) expect(ctx *fasthttp.RequestCtx) int {
	if r := e.poolRoute(ctx); r != nil {
		return e.balancer.Expect(ctx, r)
	}
	return http.StatusContinue
}

// bodyWhileMoving lets a body take its time once the header is there.
func bodyWhileMoving(header *fasthttp.RequestHeader) fasthttp.RequestConfig {
	if size := header.ContentLength(); size > 0 || size == chunked {
		return fasthttp.RequestConfig{ReadTimeout: listen.WhileMoving}
	}
	return fasthttp.RequestConfig{}
}

const chunked = -1 // what fasthttp calls the length of a chunked body

// joinPin is what a join token carries so that an agent knows a self-signed
// edge; empty when the certificate can be verified by its chain.
func (e *edge) joinPin() string {
	if e.config.TLS.SelfSigned {
		return e.certificates.pin()
	}
	return ""
}

// route sends what the config's routes want to the balancer.
func (e *edge) route(pages, control fasthttp.RequestHandler) fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) {
		if r := e.poolRoute(ctx); r != nil {
			e.balancer.Serve(ctx, r)
		} else {
			e.serveOwn(ctx, pages, control)
			if ctx.Request.IsBodyStream() { // nobody has taken it
				listen.Linger(ctx.Conn())
			}
		}
		if e.standsAside() && !ctx.Hijacked() {
			ctx.SetConnectionClose()
		}
	}
}

// poolRoute is the way of a request that is not the edge's own; nil: it is.
func (e *edge) poolRoute(ctx *fasthttp.RequestCtx) *balancer.Route {
	if r := e.balancer.Route(ctx); r != nil && (r.OfHost() || !isOwn(ctx.Path())) {
		return r
	}
	return nil
}

// serveOwn sends the two kinds of long-lived connection to their rooms and all
// else to the API and the console.
func (e *edge) serveOwn(ctx *fasthttp.RequestCtx, pages, control fasthttp.RequestHandler) {
	e.setDate(ctx)
	switch string(ctx.Path()) {
	case viewerPath:
		e.serveViewer(ctx)
	case hop.Path:
		if e.hop == nil {
			pages(ctx) // which does not know it
			return
		}
		e.hop.Serve(ctx)
	case tunnel.ConnectPath:
		if string(ctx.Request.Header.Peek("Upgrade")) == tunnel.StreamProtocol {
			e.hub.ServeStream(ctx)
		} else {
			control(ctx)
		}
	default:
		pages(ctx)
	}
}

// isOwn tells the paths that stay the edge's when a route is for every host.
func isOwn(path []byte) bool {
	return bytes.HasPrefix(path, []byte("/api/v1/")) || string(path) == viewerPath || string(path) == "/health"
}

// setDate does what the server leaves out, so that the date of an upstream's
// answer stays (RFC 9110 section 6.6.1). It is of the clock by which sessions end,
// for pages that count down.
func (e *edge) setDate(ctx *fasthttp.RequestCtx) {
	var b [len(http.TimeFormat)]byte
	ctx.Response.Header.SetBytesV(fasthttp.HeaderDate, e.now().UTC().AppendFormat(b[:0], http.TimeFormat))
}

// serveRedirect answers plain HTTP with the HTTPS address.
func (e *edge) serveRedirect() error {
	_, httpsPort, _ := net.SplitHostPort(e.public[0].Addr().String())
	server := &fasthttp.Server{
		ReadTimeout:        e.config.Timeouts.Header.std(),
		WriteTimeout:       e.config.Timeouts.Write.std(),
		StreamRequestBody:  true, // nobody reads it
		MaxRequestBodySize: 1,    // of it, is waited for

		DisablePreParseMultipartForm: true,

		NoDefaultServerHeader: true,
		Logger:                fasthttpLog{e.log.Named("http")},
		Handler: func(ctx *fasthttp.RequestCtx) {
			if ctx.Request.IsBodyStream() {
				listen.Linger(ctx.Conn())
			}
			ctx.Response.Header.Set("Location", httpsLocation(ctx.URI(), httpsPort))
			ctx.SetStatusCode(http.StatusPermanentRedirect)
			ctx.SetConnectionClose()
		},
	}
	return server.Serve(e.redirect)
}

// httpsLocation is where the same page is under HTTPS. The path and the query
// stay as they were sent.
func httpsLocation(asked *fasthttp.URI, httpsPort string) string {
	host := (&url.URL{Host: string(asked.Host())}).Hostname()
	switch {
	case httpsPort != "443":
		host = net.JoinHostPort(host, httpsPort)
	case strings.Contains(host, ":"):
		host = "[" + host + "]"
	}
	location := "https://" + host + string(asked.PathOriginal())
	if query := asked.QueryString(); len(query) > 0 {
		location += "?" + string(query)
	}
	return location
}

func (e *edge) adminPages() http.Handler {
	pages := http.NewServeMux()
	pages.Handle("GET /metrics", promhttp.HandlerFor(e.registry, promhttp.HandlerOpts{Registry: e.registry}))
	pages.HandleFunc("GET /health", func(w http.ResponseWriter, r *http.Request) {
		health := e.health(r.Context())
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(health.HTTPStatus())
		if err := json.NewEncoder(w).Encode(health); err != nil {
			e.log.Debug("health: the client has gone", zap.Error(err))
		}
	})
	pages.HandleFunc("/debug/pprof/", pprof.Index)
	pages.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	pages.HandleFunc("/debug/pprof/profile", pprof.Profile)
	pages.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	pages.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return pages
}

// fasthttpLog is fasthttp's logger: what it prints are clients' faults.
type fasthttpLog struct{ log *zap.Logger }

func (l fasthttpLog) Printf(format string, args ...any) {
	l.log.Debug(fmt.Sprintf(format, args...))
}
