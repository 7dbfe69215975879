package balancer

import (
	"net"
	"sync"
	"time"
)

// visit is one request that is being served.
type visit struct {
	client   net.Conn // of the server's; only its state is looked at
	attempts int      // that have failed so far
	metDead  *links   // where the latest connection was one that had waited for too long; nil: nowhere

	mu      sync.Mutex
	link    *link // that carries the request now
	aborted bool  // the client has gone

	came          time.Time
	before, after *visit // guarded by visits.mu
}

// hold makes l end when the client goes.
func (v *visit) hold(l *link) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.link = l; v.aborted {
		_ = l.Close()
	}
}

// letGo ends the hold and tells whether the client was still there.
func (v *visit) letGo() (there bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.link = nil
	return !v.aborted
}

func (v *visit) abort() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.aborted = true
	if v.link != nil {
		_ = v.link.Close()
	}
}

func (v *visit) gone() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.aborted
}

// visits are the requests under way, the oldest first.
type visits struct {
	mu            sync.Mutex
	first, newest *visit
	n             int
}

func (vs *visits) add(v *visit) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	v.before, v.after = vs.newest, nil
	if vs.newest != nil {
		vs.newest.after = v
	} else {
		vs.first = v
	}
	vs.newest = v
	vs.n++
}

func (vs *visits) remove(v *visit) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	if v.before != nil {
		v.before.after = v.after
	} else {
		vs.first = v.after
	}
	if v.after != nil {
		v.after.before = v.before
	} else {
		vs.newest = v.before
	}
	v.before, v.after = nil, nil
	vs.n--
}

// lookAfter is how old a request is before anybody asks whether its client is
// still there: most are over by then.
const lookAfter = 500 * time.Millisecond

// abortLeft ends the requests whose clients have left. fasthttp reads nothing
// while a request is served, so nobody else finds that out.
func (vs *visits) abortLeft(now time.Time) {
	vs.mu.Lock()
	var left []*visit
	for v := vs.first; v != nil && now.Sub(v.came) >= lookAfter; v = v.after {
		if hasLeft(v.client) {
			left = append(left, v)
		}
	}
	vs.mu.Unlock()
	for _, v := range left {
		v.abort()
	}
}

func (vs *visits) count() int {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	return vs.n
}
