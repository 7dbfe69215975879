package main

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"

	"github.com/google/uuid"
	"github.com/valyala/fasthttp"

	"github.com/streamspace-dev/streamspace-edge/accesslog"
	"github.com/streamspace-dev/streamspace-edge/api"
	"github.com/streamspace-dev/streamspace-edge/listen"
	"github.com/streamspace-dev/streamspace-edge/store"
)

// answerUnreadable answers a request that the server can't take in, as the API
// answers all others. The error is not told: it may quote a credential.
func (e *edge) answerUnreadable(ctx *fasthttp.RequestCtx, err error) {
	status, detail := http.StatusBadRequest, "the request is not valid HTTP"
	var header *fasthttp.ErrSmallBuffer
	var network net.Error
	switch {
	case errors.As(err, &header):
		status, detail = http.StatusRequestHeaderFieldsTooLarge, "the request line and header are larger than 16 KiB"
	case errors.As(err, &network) && network.Timeout():
		status, detail = http.StatusRequestTimeout, "the request did not come in time, see timeouts.header and timeouts.body"
	}
	id := newRequestID()
	ctx.Response.Reset()
	answerProblem(ctx, status, store.Invalid, detail, id)
	switch {
	case saidNothing(err): // browsers connect before they have anything to ask for
	case connectionEnded(err):
		e.unreadable(ctx, accesslog.StatusClientLeft, id, accesslog.ClientLeft)
	default:
		if status != http.StatusRequestTimeout { // who is slow has nothing under way
			listen.Linger(ctx.Conn())
		}
		e.unreadable(ctx, status, id, string(store.Invalid))
	}
}

// saidNothing tells whether a connection ended, or was waited for in vain, before
// its first byte: fasthttp gives that error as it is, and any later one in its
// own words.
func saidNothing(err error) bool {
	_, network := err.(net.Error)
	return network
}

func connectionEnded(err error) bool {
	for _, end := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, end) {
			return true
		}
	}
	return false
}

func newRequestID() string { return uuid.Must(uuid.NewV7()).String() }

// answerProblem answers what no other room does. Headers that are set stay.
func answerProblem(ctx *fasthttp.RequestCtx, status int, code store.Code, detail, id string) {
	body, err := json.Marshal(api.NewProblem(status, code, detail, id))
	if err != nil {
		body = nil // strings and a number always encode
	}
	ctx.SetStatusCode(status)
	ctx.Response.Header.Set("X-Request-Id", id)
	ctx.Response.Header.Set("X-Content-Type-Options", "nosniff")
	ctx.Response.Header.Set("Cache-Control", "no-store")
	ctx.SetContentType(api.ProblemType)
	ctx.SetBody(body)
}
