package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/valyala/fasthttp"

	"github.com/streamspace-dev/streamspace-edge/api/auth"
	"github.com/streamspace-dev/streamspace-edge/proxy"
	"github.com/streamspace-dev/streamspace-edge/proxy/reactor"
	"github.com/streamspace-dev/streamspace-edge/store"
)

// TestViewerRefusalsAreAsDescribed holds what /ws/vnc answers before the
// upgrade against api/openapi.yaml: status, code and headers.
func TestViewerRefusalsAreAsDescribed(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromFile("../../api/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	route := &routers.Route{Spec: doc, Path: "/ws/vnc", Method: "GET", PathItem: doc.Paths.Value("/ws/vnc"), Operation: doc.Paths.Value("/ws/vnc").Get}
	refusedBecause := map[string]error{ // by ticket: what authorizeViewer may answer
		"malformed":    ticketRefusal(auth.ErrBadTicket),
		"expired":      ticketRefusal(auth.ErrExpiredTicket),
		"used":         &proxy.Refusal{Reason: proxy.UsedTicket},
		"store away":   refusal(store.Errorf(store.Unavailable, "the database does not answer; try again in a moment")),
		"unknown":      refusal(store.Errorf(store.NotFound, "there is no session")),
		"edge full":    &proxy.Refusal{Reason: proxy.LimitReached},
		"session full": &proxy.Refusal{Reason: proxy.SessionLimit},
		"user full":    &proxy.Refusal{Reason: proxy.UserLimit},
		"draining":     &proxy.Refusal{Reason: proxy.NodeDraining},
		"broken":       errors.New("the database is on fire"),
	}
	p := proxy.New(proxy.Options{Authorize: func(_ context.Context, ticket string) (proxy.Grant, error) {
		return proxy.Grant{}, refusedBecause[ticket]
	}})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &fasthttp.Server{Handler: p.ServeViewer}
	served := make(chan error, 1)
	go func() { served <- server.Serve(reactor.Lend(listener)) }()
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := errors.Join(p.Close(ctx), server.ShutdownWithContext(ctx), <-served); err != nil {
			t.Error(err)
		}
	}()

	ask := func(name, ticket string, headers ...string) {
		request, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+listener.Addr().String()+"/ws/vnc", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.URL.RawQuery = url.Values{"token": {ticket}}.Encode()
		request.Header = http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"},
			"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}}
		for i := 0; i < len(headers); i += 2 {
			request.Header.Set(headers[i], headers[i+1])
		}
		answer, err := http.DefaultTransport.RoundTrip(request)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if answer.StatusCode < 400 {
			t.Errorf("%s: status %d", name, answer.StatusCode)
		}
		err = openapi3filter.ValidateResponse(t.Context(), &openapi3filter.ResponseValidationInput{
			RequestValidationInput: &openapi3filter.RequestValidationInput{Request: request, Route: route},
			Status:                 answer.StatusCode, Header: answer.Header, Body: io.NopCloser(bytes.NewReader(body)),
			Options: &openapi3filter.Options{IncludeResponseStatus: true},
		})
		if err != nil {
			t.Errorf("%s: %d %s: %v", name, answer.StatusCode, body, err)
		}
	}
	for ticket := range refusedBecause {
		ask(ticket, ticket)
	}
	ask("no ticket", "")
	ask("no WebSocket", "used", "Upgrade", "h2c")
	ask("an old WebSocket", "used", "Sec-WebSocket-Version", "8")
	ask("a short key", "used", "Sec-WebSocket-Key", "c2hvcnQ=")
	ask("another site's page", "used", "Origin", "https://elsewhere.example.org")
}
