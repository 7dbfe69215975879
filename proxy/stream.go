package proxy

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/proxy/reactor"
	"github.com/streamspace-dev/streamspace-edge/proxy/rfb"
)

// phase is how far a stream has come.
type phase string

const (
	phaseAuthorize phase = "authorise"
	phaseDial      phase = "dial"
	phaseHandshake phase = "handshake" // the greetings of both sides
	phaseRelay     phase = "relay"
)

// visit is what is known of a viewer from its request.
type visit struct {
	id     string // of the stream, or of the request that was refused
	remote string
	asked  time.Time
	grant  Grant // zero until authorised

	host, agent string // of the request
	query       bool   // it had one
	tls         uint16 // its version; 0: none
	http2       bool
}

func (v *visit) fields() []zap.Field {
	return []zap.Field{
		zap.String("stream", v.id), zap.String("session", v.grant.Session),
		zap.String("ticket", v.grant.Ticket), zap.String("remote", v.remote),
	}
}

// stream is one viewer's connection and the VNC server's that it is joined to.
// Both belong to one loop, and so does the stream: what happens to it happens
// there, one thing after another. Only dialling has a goroutine of its own.
//
// Whoever finds a reason calls end. The stream then takes leave of both sides
// and closes both connections; see leave.go.
type stream struct {
	p *Proxy
	visit
	loop   *reactor.Loop
	cancel context.CancelFunc // of the dial; called by end

	// The loop's.
	viewer, server  *reactor.Conn // server is nil until dialled
	phase           phase
	dialling        bool
	timer           *reactor.Timer // of the phase's deadline, then of the leave's
	late            func()         // what it means when the timer comes
	ending          *ending        // nil while the stream runs
	input           input
	output          output
	watch           watch
	rfb             following
	framed          *framed                  // of a server that speaks WebSocket; nil: it speaks RFB
	serverEnded     func(cause error) Reason // Server.Ended
	serverForgotten func()                   // Server.Gone
	reception       *rfb.Reception           // while the viewer is welcomed in place of the server
	quality         quality
	share           *Share         // nil: no limit
	throttle        *reactor.Timer // set while the server is paused for the share's sake; nil until first needed
	throttled       bool

	toServer, toViewer atomic.Int64 // bytes of RFB relayed
}

// viewerSide and serverSide are the stream as the handler of one connection.
type (
	viewerSide stream
	serverSide stream
)

// begin is the stream's first turn on its loop. response is the 101, ahead what
// came together with the request.
func (s *stream) begin(viewer *reactor.Conn, response, ahead []byte, ctx context.Context) {
	s.viewer, s.phase, s.dialling = viewer, phaseDial, true
	s.timer = s.loop.NewTimer(func() { s.late() })
	s.rfb.filter.Policy = s.policy()
	s.share = s.p.options.Bandwidth.Join()
	s.startWatching()
	s.p.running.Go(func() { s.open(ctx) })
	if err := s.viewer.Write(response); err != nil {
		s.viewerFails(err)
		return
	}
	if len(ahead) > 0 {
		s.passInput(ahead)
	}
}

// within calls late unless the phase is over before d.
func (s *stream) within(d time.Duration, late func()) {
	s.late = late
	s.timer.Set(s.loop.Now().Add(d))
}

// post runs f on the stream's loop, unless the stream is gone by then.
func (s *stream) post(f func()) {
	s.loop.Do(func() {
		if !s.gone() {
			f()
		}
	})
}

// record tells the log and the metrics how the stream ended.
func (s *stream) record() {
	s.p.tellEnded(&s.visit, s.ending.Refusal, http.StatusSwitchingProtocols, s.toServer.Load(), s.toViewer.Load())
	s.p.record("stream ended", s.ending.Refusal, s.ending.phase, &s.visit,
		zap.Int64("bytes_to_viewer", s.toViewer.Load()), zap.Int64("bytes_to_server", s.toServer.Load()))
}

// record is the one place where the end of a visit is told.
func (p *Proxy) record(what string, why *Refusal, at phase, v *visit, more ...zap.Field) {
	p.metrics.streams.WithLabelValues(string(why.Reason)).Inc()
	level := zap.InfoLevel
	if why.Reason == Internal {
		level = zap.ErrorLevel
	}
	line := p.log.Check(level, what)
	if line == nil {
		return
	}
	fields := append(v.fields(), more...)
	fields = append(fields,
		zap.String("reason", string(why.Reason)), zap.String("by", string(why.Reason.Info().By)),
		zap.String("phase", string(at)), zap.Duration("duration", time.Since(v.asked)), zap.NamedError("cause", why.Cause))
	if why.Detail != "" {
		fields = append(fields, zap.String("detail", why.Detail))
	}
	line.Write(fields...)
}
