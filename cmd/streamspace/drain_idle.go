package main

import (
	"context"
	"net"
	"time"

	"github.com/valyala/fasthttp"
)

const (
	// idleGrace is how long an edge that leaves keeps clients' idle connections. To
	// close one loses the request that is on its way just then, which a client may
	// not send again if it is a POST. Those that are in use ask for something within
	// that time, and are told with the answer to go; on the others a request is under
	// way, in the half round trip before the end, in less than one of a hundred.
	idleGrace = 5 * time.Second
	idleLook  = 20 * time.Millisecond
)

// spareIdle waits until clients have no connection left, or for the grace, at most
// a sixth of the drain's time, since it began. Those that are not idle end by
// themselves with the answers to what they carry. Among them are those whose
// client has not said yet that it speaks HTTP/2, which is why that goes on
// meanwhile.
func (e *edge) spareIdle(ctx context.Context, began time.Time) {
	ctx, cancel := context.WithDeadline(ctx, began.Add(min(idleGrace, e.config.Drain.Timeout.std()/6)))
	defer cancel()
	look := time.NewTicker(idleLook)
	defer look.Stop()
	for e.connections.Load() > 0 || e.lingering.Active() > 0 {
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
	}
}

// countConnection is the public server's ConnState.
func (e *edge) countConnection(_ net.Conn, state fasthttp.ConnState) {
	switch state {
	case fasthttp.StateNew:
		e.connections.Add(1)
	case fasthttp.StateClosed, fasthttp.StateHijacked:
		e.connections.Add(-1)
	case fasthttp.StateActive, fasthttp.StateIdle: // it is there, and stays
	}
}
