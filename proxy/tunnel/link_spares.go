package tunnel

import (
	"bufio"
	"context"
	"net"

	"go.uber.org/zap"
)

// setDirect has stream connections made at the edge's own address: where a
// balancer stands before several edges, they would come to others.
func (l *link) setDirect(own Home) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if own.URL == l.edge.home.URL || l.direct != nil && l.direct.home == own {
		return
	}
	var direct *dialer
	err := l.client.checkHome(own)
	if err == nil {
		direct, err = newDialer(own, l.client.o, l.client.dial)
	}
	if err != nil {
		l.log.Warn("the edge's own address is of no use", zap.Error(err))
		return
	}
	l.direct, l.around = direct, false
}

// refill keeps as many spares as the edge wants.
func (l *link) refill() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.start(l.welcome.Spares - len(l.idle) - l.dialing)
}

// more makes n further spares.
func (l *link) more(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.start(n)
}

// start is called with mu held.
func (l *link) start(n int) {
	n = min(n, MaxSpares-len(l.idle)-l.dialing)
	if l.over() {
		return
	}
	for range n {
		l.dialing++
		l.client.tasks.Go(l.spare)
	}
}

// over tells whether the tunnel has ended: what is made for it from then on has
// no use.
func (l *link) over() bool { return l.channel.ctx.Err() != nil }

// closeIdle is called after the tunnel has ended.
func (l *link) closeIdle() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for conn := range l.idle {
		_ = conn.Close()
	}
}

// spare makes one stream connection and serves it to its end.
func (l *link) spare() {
	var retry backoff
	for {
		conn, reader, err := l.dialSpare()
		if l.settled(conn, err) {
			if err == nil {
				l.serveSpare(conn, reader)
			}
			return
		}
		wait := retry.next()
		l.log.Warn("no stream connection to the edge; trying again", zap.Duration("in", wait), zap.Error(err))
		pause(l.channel.ctx, wait)
	}
}

func (l *link) dialSpare() (net.Conn, *bufio.Reader, error) {
	select {
	case l.dials <- struct{}{}:
	case <-l.channel.ctx.Done():
		return nil, nil, context.Cause(l.channel.ctx)
	}
	defer func() { <-l.dials }()
	edge := l.streamDialer()
	conn, reader, err := edge.stream(l.channel.ctx, l.agentID, l.welcome.StreamToken)
	if err != nil {
		l.avoid(edge)
	}
	return conn, reader, err
}

func (l *link) streamDialer() *dialer {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.direct != nil && !l.around {
		return l.direct
	}
	return l.edge
}

// avoid has the next spares made by the other way, where there is one.
func (l *link) avoid(edge *dialer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.around = edge == l.direct
}

// settled counts the result of a dial; false: it must be tried again.
func (l *link) settled(conn net.Conn, err error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	enough := len(l.idle)+l.dialing > l.welcome.Spares
	if err != nil && !l.over() && !enough {
		return false
	}
	l.dialing--
	if err == nil {
		l.idle[conn] = struct{}{}
		if l.over() {
			_ = conn.Close() // and the first read ends it
		}
	}
	return true
}

// taken ends conn's time as a spare and has it replaced.
func (l *link) taken(conn net.Conn) {
	l.mu.Lock()
	delete(l.idle, conn)
	l.mu.Unlock()
	l.refill()
}

// returned makes conn a spare again; false: the tunnel has ended.
func (l *link) returned(conn net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over() {
		return false
	}
	l.idle[conn] = struct{}{}
	return true
}
