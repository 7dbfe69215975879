package balancer

import (
	"net"
	"sync"
	"time"

	"github.com/streamspace-dev/streamspace-edge/accesslog"
)

// visit is one request that is being served.
type visit struct {
	client   net.Conn // of the server's; only its state is looked at; nil: not any more
	once     bool     // it can't be sent again once an upstream may have seen some of it
	attempts int      // that have failed so far
	asked    *link    // has the request's head and waits for the body; nil: none
	metDead  *links   // where the latest connection was one that had waited for too long; nil: nowhere

	mu      sync.Mutex
	link    *link            // that carries the request now
	aborted bool             // the client has gone
	orphan  func(status int) // see wait; nil: nobody waits

	came          time.Time
	list          *visitList
	before, after *visit // guarded by list.mu
}

// hold makes l end when the client goes.
func (v *visit) hold(l *link) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.link = l; v.aborted {
		l.cut()
	}
}

// letGo ends the hold and tells whether the client was still there.
func (v *visit) letGo() (there bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.link = nil
	return !v.aborted
}

// abort ends the upstream's side of the request. The caller calls what it
// returns, if anything.
func (v *visit) abort() (orphan func(status int)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.aborted = true
	if v.link != nil {
		v.link.cut()
	}
	orphan, v.orphan = v.orphan, nil
	return orphan
}

func (v *visit) gone() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.aborted
}

// visits are the requests under way. They are kept in several lists, so that
// those who come and go at the same time seldom meet.
type visits [16]visitList

// visitList holds some of them, the oldest first.
type visitList struct {
	mu            sync.Mutex
	first, newest *visit
	n             int
	_             [32]byte // the next one's is a cache line of its own
}

// of is the list of a request; turn is its number, or its connection's.
func (vs *visits) of(turn uint64) *visitList { return &vs[turn%uint64(len(vs))] }

func (l *visitList) add(v *visit) {
	l.mu.Lock()
	defer l.mu.Unlock()
	v.list, v.before, v.after = l, l.newest, nil
	if l.newest != nil {
		l.newest.after = v
	} else {
		l.first = v
	}
	l.newest = v
	l.n++
}

func (v *visit) leave() {
	l := v.list
	l.mu.Lock()
	defer l.mu.Unlock()
	if v.before != nil {
		v.before.after = v.after
	} else {
		l.first = v.after
	}
	if v.after != nil {
		v.after.before = v.before
	} else {
		l.newest = v.before
	}
	v.before, v.after = nil, nil
	l.n--
}

// handOver is for a client whose connection is somebody else's from here on, who
// finds out for himself when it ends.
func (v *visit) handOver() {
	v.list.mu.Lock()
	defer v.list.mu.Unlock()
	v.client = nil
}

// lookAfter is how old a request is before anybody asks whether its client is
// still there: most are over by then.
const lookAfter = 500 * time.Millisecond

// abortLeft ends the requests whose clients have left. fasthttp reads nothing
// while a request is served, so nobody else finds that out.
func (vs *visits) abortLeft(now time.Time) {
	for i := range vs {
		for _, orphan := range vs[i].abortLeft(now) {
			orphan(accesslog.StatusClientLeft)
		}
	}
}

// abortLeft returns what is to be called for those of them that wait.
func (l *visitList) abortLeft(now time.Time) (orphans []func(status int)) {
	l.mu.Lock() // no visit leaves the list meanwhile, so none is another request's already
	defer l.mu.Unlock()
	for v := l.first; v != nil && now.Sub(v.came) >= lookAfter; v = v.after {
		if v.client != nil && hasLeft(v.client) {
			if orphan := v.abort(); orphan != nil {
				orphans = append(orphans, orphan)
			}
		}
	}
	return orphans
}

// orphanOf returns what is to be called for the one of a client that waits, once;
// nil: none does.
func (l *visitList) orphanOf(client net.Conn) (orphan func(status int)) {
	l.mu.Lock() // as in abortLeft
	defer l.mu.Unlock()
	for v := l.first; v != nil; v = v.after {
		if v.client == client {
			return v.wake()
		}
	}
	return nil
}

func (vs *visits) count() (n int) {
	for i := range vs {
		vs[i].mu.Lock()
		n += vs[i].n
		vs[i].mu.Unlock()
	}
	return n
}
