package tunnel

import (
	"context"
	"net"

	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/proxy/reactor"
)

// startRelay carries bytes both ways between the edge and a VNC server as
// reactor.Join does, with one log line when the stream opens and one when it
// ends, and calls done.
func startRelay(ctx context.Context, loops *reactor.Reactor, edge, server net.Conn, log *zap.Logger, done func()) {
	log.Info("stream open")
	loops.Join(ctx, reactor.Side{Conn: edge, Name: "edge"}, reactor.Side{Conn: server, Name: "VNC server"}, "agent", func(end reactor.Joined) {
		defer done()
		log.Info("stream ended", zap.String("by", end.By), zap.Error(end.Cause),
			zap.Int64("to_server", end.FromA), zap.Int64("to_edge", end.FromB), zap.Duration("lasted", end.Lasted))
	})
}
