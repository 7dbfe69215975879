package main

import (
	"fmt"
	"io"

	"github.com/valyala/fasthttp"

	"github.com/streamspace-dev/streamspace-edge/api"
	"github.com/streamspace-dev/streamspace-edge/listen"
)

// withBody gives own a request whose body is there as a whole, up to one byte more
// than the API takes: own refuses that. fasthttpadaptor would read all of it, and
// would take what it says of a broken one for the body.
func (e *edge) withBody(own fasthttp.RequestHandler) fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) {
		if !ctx.Request.IsBodyStream() {
			own(ctx)
			return
		}
		body, err := io.ReadAll(io.LimitReader(ctx.RequestBodyStream(), api.MaxBody+1))
		switch size := ctx.Request.Header.ContentLength(); {
		case err == nil && len(body) > api.MaxBody:
			listen.Linger(ctx.Conn())
		case err == nil && len(body) < size: // fasthttp takes that for a good end
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			e.answerUnreadable(ctx, fmt.Errorf("the body: %w", err))
			ctx.SetConnectionClose()
			return
		}
		ctx.Request.SetBodyRaw(body)
		own(ctx)
	}
}
