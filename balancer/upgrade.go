package balancer

import (
	"net"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/proxy/reactor"
)

// goOn joins the client with the upstream's connection, which speak another
// protocol from here on.
func (s *serving) goOn(l *link) {
	protocol := s.protocol
	s.ctx.Response.Header.Set(fasthttp.HeaderConnection, "Upgrade")
	s.ctx.Response.Header.Set(fasthttp.HeaderUpgrade, protocol)
	s.streams = true
	s.pool.switched(s.upstream, +1)
	s.b.running.Add(1)
	s.ctx.Hijack(func(hijacked net.Conn) {
		upstream, said := l.takeOver(s.b.buffers)
		client, ahead, err := reactor.TakeOver(hijacked)
		if err != nil {
			_ = upstream.Close()
			s.joined(reactor.Joined{By: "edge", Cause: err})
			return
		}
		s.b.options.Reactor.Join(s.upstream.ctx, reactor.Side{Conn: client, Name: "client", Ahead: ahead},
			reactor.Side{Conn: upstream, Name: "upstream", Ahead: said}, "edge", s.joined)
	})
}

// joined is the last turn of an upgraded connection.
func (s *serving) joined(end reactor.Joined) {
	defer s.b.running.Done()
	s.pool.switched(s.upstream, -1)
	s.b.log.Info("upgraded connection ended", zap.String("request", s.id), zap.String("pool", s.pool.name), zap.String("upstream", s.upstream.id),
		zap.String("by", end.By), zap.Error(end.Cause), zap.Int64("to_upstream", end.FromA), zap.Int64("to_client", end.FromB), zap.Duration("lasted", end.Lasted))
	s.end()
}
