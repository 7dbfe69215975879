package proxy

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
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
}

func (v *visit) fields() []zap.Field {
	return []zap.Field{
		zap.String("stream", v.id), zap.String("session", v.grant.Session),
		zap.String("ticket", v.grant.Ticket), zap.String("remote", v.remote),
	}
}

// stream is one viewer's connection and the VNC server's that it is joined to.
// Two goroutines work for it: run carries what the server sends, fromViewer
// what the viewer sends. Whoever finds a reason calls end, which interrupts
// both; run then takes leave of both sides and closes both connections.
type stream struct {
	p *Proxy
	visit
	viewer   net.Conn
	response []byte // the 101
	ctx      context.Context
	cancel   context.CancelFunc // called by end

	mu     sync.Mutex // guards the fields below
	server net.Conn   // nil until dialled
	phase  phase
	ending *ending // nil while the stream runs
	isCut  bool    // no more waiting, not even for the last words

	greeted   chan struct{} // closed by run when the server's greeting is with the viewer
	inputDone chan struct{} // closed by fromViewer when it returns
	input     input         // fromViewer's until inputDone
	output    output        // run's
	watch     watch

	toServer, toViewer atomic.Int64 // bytes of RFB relayed
}

// ending says why a stream ended, and how far it had come.
type ending struct {
	*Refusal
	phase phase
}

func newStream(p *Proxy, v visit, viewer net.Conn, response, ahead []byte) *stream {
	s := &stream{
		p:         p,
		visit:     v,
		viewer:    viewer,
		response:  response,
		phase:     phaseDial,
		greeted:   make(chan struct{}),
		inputDone: make(chan struct{}),
		input:     input{ahead: ahead},
	}
	s.ctx, s.cancel = context.WithCancel(p.ctx)
	return s
}

// run is the life of the stream, from the 101 to the last close.
func (s *stream) run() {
	defer s.p.forget(s)
	s.p.tellActivity(s.grant.Session)
	s.p.log.Info("stream opened", s.fields()...)
	keepAlive(s.viewer)

	go s.fromViewer()
	s.startWatching()
	s.fromServer()
	s.takeLeave()
	s.stopWatching()
	s.record()
}

// end ends the stream for the first reason that comes; later ones change
// nothing. It does not wait. What was read from the server and not yet written
// still gets times.close to reach the viewer, then so does the close frame.
func (s *stream) end(why *Refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending != nil {
		return
	}
	s.ending = &ending{why, s.phase}
	s.cancel()
	_ = s.viewer.SetDeadline(time.Now().Add(s.p.times.close))
	if s.server != nil {
		_ = s.server.SetDeadline(longAgo)
	}
}

// cut ends the stream's waits at once. It comes after end.
func (s *stream) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.isCut = true
	_ = s.viewer.SetDeadline(longAgo)
	if s.server != nil {
		_ = s.server.SetDeadline(longAgo)
	}
}

// maxLastWords bounds what a stream that has ended still reads of each side, in
// bytes: more than socket buffers hold (Linux: 6 MiB by default), so that a
// peer which never stops is cut off instead of keeping the edge busy.
const maxLastWords = 8 << 20

// longAgo as a deadline interrupts what a connection is doing.
var longAgo = time.Unix(1, 0)

// running calls change unless the stream has ended, and tells whether it did.
// A deadline that is set inside can't undo the interrupt of end.
func (s *stream) running(change func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending == nil {
		change()
	}
	return s.ending == nil
}

// takeLeave closes both connections so that neither side loses what was sent to
// it last: closing a socket that holds unread bytes resets the connection, and
// the peer's kernel then throws away what the peer has not read yet. So each
// side is told that nothing more comes, and read until it has closed,
// times.close is over, or it has sent more than was on its way.
func (s *stream) takeLeave() {
	why := s.ending.Refusal
	sent := why.Reason != ViewerLost && s.write(closeFrame(why.Reason.Info().Close, closeText(why))) == nil
	if s.server != nil {
		closeWrite(s.server)
	}
	<-s.inputDone // it goes on until the viewer's close frame
	if sent && !s.input.settled {
		closeWrite(s.viewer)
		_, _ = io.CopyN(io.Discard, s.viewer, maxLastWords)
	}
	_ = s.viewer.Close()
	if s.server == nil {
		return
	}
	if !s.output.ended {
		s.mu.Lock()
		if !s.isCut {
			_ = s.server.SetReadDeadline(time.Now().Add(s.p.times.close))
		}
		s.mu.Unlock()
		_, _ = io.CopyN(io.Discard, s.server, maxLastWords)
	}
	_ = s.server.Close()
}

// closeWrite tells a peer that nothing more comes, where its kind of connection
// can.
func closeWrite(conn net.Conn) {
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // fails when the connection is gone, which is found next
	}
}

// record tells the log and the metrics how the stream ended.
func (s *stream) record() {
	fields := append(s.fields(), zap.Int64("bytes_to_viewer", s.toViewer.Load()), zap.Int64("bytes_to_server", s.toServer.Load()))
	s.p.record("stream ended", s.ending.Refusal, s.ending.phase, s.asked, fields)
}

// record is the one place where the end of a visit is told.
func (p *Proxy) record(what string, why *Refusal, at phase, asked time.Time, fields []zap.Field) {
	p.metrics.streams.WithLabelValues(string(why.Reason)).Inc()
	fields = append(fields,
		zap.String("reason", string(why.Reason)), zap.String("by", string(why.Reason.Info().By)),
		zap.String("phase", string(at)), zap.Duration("duration", time.Since(asked)), zap.NamedError("cause", why.Cause))
	if why.Detail != "" {
		fields = append(fields, zap.String("detail", why.Detail))
	}
	log := p.log.Info
	if why.Reason == Internal {
		log = p.log.Error
	}
	log(what, fields...)
}
