package reactor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// joinTimes are a join's deadlines.
type joinTimes struct {
	// halfClosed ends a join of which one side has said its last and the other
	// says nothing: it may have gone without a trace.
	halfClosed time.Duration

	// lastWords is how long what was read of a side that failed may take to reach
	// the other.
	lastWords time.Duration

	// Every look a join asks whether both peers' kernels still acknowledge what was
	// sent; silence without is the end.
	look, silence time.Duration
}

func defaultJoinTimes() joinTimes {
	return joinTimes{halfClosed: 5 * time.Minute, lastWords: 5 * time.Second, look: 15 * time.Second, silence: time.Minute}
}

// Joined tells how a join ended.
type Joined struct {
	By           string // the name of the side whose end or failure came first; Ender's otherwise
	Cause        error  // nil: it said that nothing more comes
	FromA, FromB int64  // bytes passed on
	Lasted       time.Duration
}

// Side is one end of a join.
type Side struct {
	Conn  net.Conn
	Name  string // of it, in Joined
	Ahead []byte // bytes of it that were read already; may be nil
}

// join is two connections whose bytes go to each other, on a loop.
type join struct {
	loop   *Loop
	done   func(Joined) // nil once the join has ended
	forget func() bool  // that ctx ends the join
	began  time.Time
	a, b   leg
	times  joinTimes
	look   *Timer
	late   *Timer // of times.halfClosed, then of times.lastWords
	failed bool
	told   Joined
}

// leg is one connection of a join.
type leg struct {
	*join
	name   string
	conn   *Conn
	to     *leg
	ended  bool  // nothing more comes from it
	deaf   bool  // it can't be written to any more
	bulk   bool  // its socket holds more than a buffer
	passed int64 // bytes that came from it
}

// Join carries bytes both ways between a and b, what is Ahead first, until both
// have said their last, one fails, or ctx ends, for which ender is told as By;
// then it closes both and calls done, on a goroutine of its own. Half-close is
// passed on. It does not wait. Both connections are the join's from here on.
func (r *Reactor) Join(ctx context.Context, a, b Side, ender string, done func(Joined)) {
	r.join(ctx, a, b, ender, defaultJoinTimes(), done)
}

func (r *Reactor) join(ctx context.Context, a, b Side, ender string, times joinTimes, done func(Joined)) {
	KeepAlive(a.Conn)
	KeepAlive(b.Conn)
	j := &join{loop: r.Loop(), began: time.Now(), times: times, done: done}
	j.a = leg{join: j, name: a.Name, to: &j.b}
	j.b = leg{join: j, name: b.Name, to: &j.a}
	if !j.loop.Do(func() { j.begin(ctx, a, b, ender) }) {
		_ = a.Conn.Close()
		_ = b.Conn.Close()
		done(Joined{By: ender, Cause: errClosed})
	}
}

func (j *join) begin(ctx context.Context, a, b Side, ender string) {
	j.forget = context.AfterFunc(ctx, func() {
		j.loop.Do(func() { j.end(ender, context.Cause(ctx)) })
	})
	j.late = j.loop.NewTimer(func() { j.end(ender, errors.New("it waited for too long")) })
	j.look = j.loop.NewTimer(j.lookAtPeers)
	j.look.Set(j.loop.Now().Add(j.times.look))
	j.a.conn, j.b.conn = j.loop.Add(a.Conn, &j.a), j.loop.Add(b.Conn, &j.b)
	j.a.takeAhead(a.Ahead)
	j.b.takeAhead(b.Ahead)
}

// takeAhead passes on what was read of the leg before the join.
func (l *leg) takeAhead(b []byte) {
	for len(b) > 0 && l.done != nil {
		n := min(len(b), MinRead)
		_ = l.to.conn.Write(b[:n]) // passOn finds the failure
		l.passOn(n)
		b = b[n:]
	}
}

// Readable takes what the leg's peer sends.
func (l *leg) Readable() {
	if l.bulk {
		l.moveOn()
		return
	}
	buf := l.loop.Buffer()[:MinRead]
	n, err := l.conn.Read(buf)
	switch {
	case err == ErrWait:
	case err != nil:
		l.ends(err)
	case l.failed:
	default:
		l.bulk = n == len(buf) && l.conn.Moves(l.to.conn)
		_ = l.to.conn.Write(buf[:n]) // passOn finds the failure
		l.passOn(n)
	}
}

// moveOn passes on what the leg holds without copying it.
func (l *leg) moveOn() {
	n, err := l.conn.Move(l.to.conn, MaxMove, nil)
	l.bulk = err == nil && n >= WorthMoving && !l.failed
	switch {
	case err == ErrWait:
	case err != nil:
		l.ends(err)
	default:
		l.passOn(n)
	}
}

// passOn goes on after n bytes of the leg were written to the other, and stops
// the leg while the other does not take them. One that takes no more may still
// have words to say, and reading it finds its end behind them.
func (l *leg) passOn(n int) {
	if l.to.conn.Failure() != nil {
		l.to.deaf = true
		l.conn.Pause()
		l.late.Set(l.loop.Now().Add(l.times.lastWords))
		return
	}
	l.passed += int64(n)
	if l.to.conn.Pending() {
		l.conn.Pause()
	}
	if l.to.ended {
		l.late.Set(l.loop.Now().Add(l.times.halfClosed))
	}
}

// Flushed goes on with what the other leg holds.
func (l *leg) Flushed() {
	if !l.to.ended && !l.deaf {
		l.to.conn.Resume()
	}
	l.endIfOver()
}

// Lost finds that the leg has failed while the other side does not take what
// came before, which still gets lastWords. One that was told the other's last
// word, all of it, has most likely said its own: the other takes what it left,
// and has halfClosed for the next piece of it.
func (l *leg) Lost() {
	if l.to.ended && !l.conn.Pending() {
		return
	}
	l.fails(errors.New("the connection was reset"))
}

func (l *leg) ends(err error) {
	if err != io.EOF || l.deaf {
		l.fails(err)
		return
	}
	l.blame(nil)
	l.ended = true
	l.conn.Pause()
	l.to.conn.CloseWrite()
	if !l.failed {
		l.late.Set(l.loop.Now().Add(l.times.halfClosed))
	}
	l.endIfOver()
}

// fails ends a join whose leg can't be read or written any more. What it said
// before still reaches the other side, which is read to its end: closing a
// socket that holds unread bytes would throw that away.
func (l *leg) fails(err error) {
	l.blame(err)
	if l.failed {
		l.end(l.name, err)
		return
	}
	l.join.failed, l.ended = true, true
	l.conn.Close()
	l.to.bulk = false
	l.to.conn.CloseWrite()
	l.to.conn.Resume()
	l.late.Set(l.loop.Now().Add(l.times.lastWords))
	l.endIfOver()
}

func (j *join) blame(name string, err error) {
	if j.told.By == "" {
		j.told.By, j.told.Cause = name, err
	}
}

func (l *leg) blame(err error) { l.join.blame(l.name, err) }

func (j *join) lookAtPeers() {
	j.look.Set(j.loop.Now().Add(j.times.look))
	for _, l := range []*leg{&j.a, &j.b} {
		if silent := l.conn.Peer().SilentFor(); silent > j.times.silence {
			l.fails(fmt.Errorf("it has not acknowledged what was sent for %v", silent.Round(time.Second)))
			return
		}
	}
}

// endIfOver ends a join of which both sides have said their last and been told
// the other's.
func (j *join) endIfOver() {
	over := func(l *leg) bool { return l.conn.Closed() || l.ended && !l.conn.Pending() }
	if over(&j.a) && over(&j.b) {
		j.end("", nil)
	}
}

// end closes both legs at once. It may come again.
func (j *join) end(by string, cause error) {
	if j.done == nil {
		return
	}
	j.blame(by, cause)
	j.forget()
	j.late.Stop()
	j.look.Stop()
	j.a.conn.Close()
	j.b.conn.Close()
	done, told := j.done, j.told
	j.done = nil
	told.FromA, told.FromB, told.Lasted = j.a.passed, j.b.passed, time.Since(j.began)
	go done(told) // a log may be slow
}
