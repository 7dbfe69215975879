package tunnel

import (
	"bufio"
	"context"
	"errors"
	"maps"
	"net"
	"sync"
	"time"

	"go.uber.org/zap"
)

const (
	openLimit   = 10 * time.Second // connecting to a VNC server
	greetLimit  = 30 * time.Second // the first words with a viewer
	dialsAtOnce = 32               // stream connections of one tunnel being made
	shortLived  = time.Second      // a spare that the edge closed this soon is not replaced at once
)

// link is one generation of the tunnel, at the agent.
type link struct {
	client  *Client
	edge    *dialer
	channel *channel
	agentID string
	welcome Welcome
	node    string // the edge's id
	reports *reportQueue
	bye     chan Bye // has room for one: to be said after all reports
	log     *zap.Logger
	dials   chan struct{}   // a slot for each dial at once
	run     context.Context // Run's: streams live as long

	// Guarded by Client.mu.
	homes    map[string]Home // that the edge names, by node
	replaced bool            // by a newer tunnel of this client's own
	retired  bool            // its bye is said because the edge is no home any more

	mu      sync.Mutex
	idle    map[net.Conn]struct{}                // spares
	dialing int                                  // spares in the making
	direct  *dialer                              // to this very edge where edge may lead to others; or nil
	around  bool                                 // direct did not work: spares are made by edge
	asked   map[uint64]func(lease time.Duration) // beats without an answer yet, by number
}

func newLink(c *Client, edge *dialer, channel *channel, agentID string, welcome Welcome, reports *reportQueue) *link {
	welcome.Spares = min(max(welcome.Spares, 1), MaxSpares)
	l := &link{
		client: c, edge: edge, channel: channel, agentID: agentID, welcome: welcome, node: welcome.Node,
		reports: reports, bye: make(chan Bye, 1),
		log:   c.o.Log.With(zap.String("edge", edge.home.URL), zap.String("node", welcome.Node), zap.Uint64("generation", welcome.Generation)),
		dials: make(chan struct{}, dialsAtOnce),
		idle:  make(map[net.Conn]struct{}),
		asked: make(map[uint64]func(time.Duration)),
	}
	if welcome.URL != "" {
		l.setDirect(Home{Node: welcome.Node, URL: welcome.URL, Pin: welcome.Pin})
	}
	return l
}

// say has b said after all reports; only the first bye counts.
func (l *link) say(b Bye) {
	select {
	case l.bye <- b:
	default:
	}
}

// serve runs the tunnel until it ends and returns why. Streams run on.
func (l *link) serve(ctx context.Context) error {
	l.run = ctx
	defer context.AfterFunc(ctx, func() { l.channel.end(errLeft) })()
	defer context.AfterFunc(l.channel.ctx, l.closeIdle)()
	began := time.Now()
	var workers sync.WaitGroup
	workers.Go(l.sendBeats)
	workers.Go(l.sendReports)
	l.refill()
	l.channel.run(l.welcome.Beat, l.handle)
	workers.Wait()
	why := context.Cause(l.channel.ctx)
	l.log.Info("tunnel down", zap.String("reason", why.Error()), zap.Duration("lasted", time.Since(began)))
	return why
}

func (l *link) sendBeats() {
	ticker := time.NewTicker(l.welcome.Beat)
	defer ticker.Stop()
	for seq := uint64(1); ; seq++ {
		l.asks(seq)
		// The first goes at once, so that the edge learns of the streams that run on.
		if l.channel.send(l.channel.ctx, Envelope{Beat: &Beat{Seq: seq, Streams: l.client.runningStreams(l.node)}}) != nil {
			return
		}
		select {
		case <-ticker.C:
		case <-l.channel.ctx.Done():
			return
		}
	}
}

// asks notes that the beat seq is about to be sent.
func (l *link) asks(seq uint64) {
	if l.client.o.Beat == nil {
		return
	}
	answered := l.client.o.Beat()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked[seq] = answered
}

// answered takes the edge's answer to a beat, and drops the beats before it, of
// which there are few: without an answer the tunnel ends within two beats.
func (l *link) answered(b *Beat) {
	l.mu.Lock()
	answered := l.asked[b.Seq]
	maps.DeleteFunc(l.asked, func(seq uint64, _ func(time.Duration)) bool { return seq <= b.Seq })
	l.mu.Unlock()
	if answered != nil {
		answered(b.Lease)
	}
}

// sendReports sends what is queued, and the bye after all of it.
func (l *link) sendReports() {
	var bye *Bye
	for {
		for r, ok := l.reports.pop(); ok; r, ok = l.reports.pop() {
			if l.channel.send(l.channel.ctx, Envelope{State: &r.Report}) != nil {
				return
			}
			l.reports.told(r)
		}
		if bye != nil {
			_ = l.channel.send(l.channel.ctx, Envelope{Bye: bye}) // the edge answers by closing the channel
			return
		}
		select {
		case <-l.reports.ready:
		case b := <-l.bye:
			bye = &b
		case <-l.channel.ctx.Done():
			return
		}
	}
}

func (l *link) handle(m Envelope) error {
	switch {
	case m.Beat != nil:
		l.answered(m.Beat)
		return nil
	case m.Streams != nil:
		l.more(m.Streams.More)
		return nil
	case m.Homes != nil:
		l.client.toldHomes(l, m.Homes.List)
		return nil
	case m.Command != nil:
		id := m.Command.ID
		ack := func(err error) {
			// Fails only when the tunnel has ended: the edge then has told its
			// caller that the agent is offline.
			_ = l.channel.send(l.channel.ctx, Envelope{Ack: &Ack{ID: id, Error: codedError(err)}})
		}
		l.client.commands.add(l.run, *m.Command, asker{l.channel.ctx, ack})
		return nil
	default:
		return Errorf(CodeBadRequest, "a control message that only an agent sends")
	}
}

// serveSpare answers the edge's frames until one turns the connection into a
// stream, and then carries that.
func (l *link) serveSpare(conn net.Conn, reader *bufio.Reader) {
	since := time.Now()
	for {
		kind, payload, err := readFrame(reader)
		switch {
		case err != nil:
		case kind == frameEcho:
			err = writeWithin(conn, writeTimeout, appendFrame(nil, frameEchoAnswer, payload))
		case kind == frameOpen:
			l.taken(conn)
			if !l.serveOpen(conn, reader, payload) {
				return
			}
			if !l.returned(conn) {
				_ = conn.Close()
				return
			}
		default:
			err = Errorf(CodeBadRequest, "a frame of type %d, which only an agent sends", kind)
		}
		if err != nil {
			_ = conn.Close()
			l.log.Debug("a spare stream connection ended", zap.Error(err))
			if time.Since(since) < shortLived {
				pause(l.channel.ctx, longest(shortLived))
			}
			l.taken(conn)
			return
		}
	}
}

// serveOpen reports whether the connection is idle again: the edge was told
// that the session can't be reached. Otherwise it has become a stream or is
// closed.
func (l *link) serveOpen(conn net.Conn, reader *bufio.Reader, payload []byte) (idle bool) {
	o, err := parseOpen(payload)
	if err == nil && reader.Buffered() > 0 {
		err = Errorf(CodeBadRequest, "bytes behind an open frame")
	}
	if err != nil {
		l.log.Warn("the edge broke the protocol on a stream connection", zap.Error(err))
		_ = conn.Close()
		return false
	}
	l.client.countStreams(l.node, 0, 1)
	defer l.client.countStreams(l.node, 0, -1)
	log := l.log.With(zap.String("session", o.Session), zap.String("stream", o.Stream))
	ctx, cancel := context.WithTimeout(l.run, openLimit)
	server, err := l.open(ctx, o)
	cancel()
	var answer []byte
	var encoding error
	if err == nil {
		answer, encoding = openedFrame(server)
	} else {
		answer, encoding = openAnswerFrame(codedError(err))
	}
	if encoding == nil {
		encoding = writeWithin(conn, writeTimeout, answer)
	}
	switch {
	case err != nil:
		log.Info("stream refused", zap.Error(err))
		if encoding != nil {
			_ = conn.Close()
		}
		return encoding == nil
	case encoding != nil:
		log.Info("stream given up: the edge is gone", zap.Error(encoding))
		_ = conn.Close()
		_ = server.Close()
		return false
	}
	if err := l.greet(conn, o); err != nil {
		log.Info("stream ended before it began", zap.Error(err))
		_ = conn.Close()
		_ = server.Close()
		return false
	}
	if w, ok := server.(*WebSocket); ok {
		server = w.Conn
	}
	l.client.carry(l, conn, server, log)
	return false
}

// open refuses what the edge could not understand.
func (l *link) open(ctx context.Context, o OpenRequest) (net.Conn, error) {
	server, err := l.client.o.Open(ctx, o)
	if _, webSocket := server.(*WebSocket); webSocket && err == nil && !o.WebSocket {
		_ = server.Close()
		return nil, Errorf(CodeVNCRefused, "the VNC server speaks WebSocket, which this edge is too old for; update it")
	}
	return server, err
}

// greet leaves conn without a deadline.
func (l *link) greet(conn net.Conn, o OpenRequest) error {
	if l.client.o.Greet == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(l.run, greetLimit)
	defer cancel()
	stop := interruptAtEnd(ctx, conn)
	err := l.client.o.Greet(ctx, o, conn)
	if !stop() {
		return errors.Join(ctx.Err(), err)
	}
	return err
}

func writeWithin(conn net.Conn, limit time.Duration, b []byte) error {
	if err := conn.SetWriteDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	if _, err := conn.Write(b); err != nil {
		return err
	}
	return conn.SetWriteDeadline(time.Time{})
}
