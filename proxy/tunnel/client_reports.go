package tunnel

import (
	"slices"
	"sync"
)

// outbox gives each report to every tunnel, and keeps those that no edge has been
// told yet for the next one. Safe for concurrent use.
type outbox struct {
	mu     sync.Mutex
	count  uint64
	untold reportList
	queues map[*reportQueue]struct{}
}

// reportQueue is what one edge must still be told. Its outbox's mu guards it.
type reportQueue struct {
	outbox  *outbox
	ready   chan struct{} // has room for one: something was put
	waiting reportList
}

// reportList is the newest report of each session, in the order in which they
// came: never longer than there are sessions.
type reportList []numberedReport

type numberedReport struct {
	Report
	number uint64
}

func newOutbox() *outbox { return &outbox{queues: make(map[*reportQueue]struct{})} }

func (o *outbox) put(r Report) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.count++
	numbered := numberedReport{r, o.count}
	o.untold.put(numbered)
	for q := range o.queues {
		q.waiting.put(numbered)
		q.signal()
	}
}

// open begins a queue for an edge that is about to get a hello: mark is the
// number of the newest report so far. close ends it.
func (o *outbox) open() (q *reportQueue, mark uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	q = &reportQueue{outbox: o, ready: make(chan struct{}, 1), waiting: slices.Clone(o.untold)}
	q.signal()
	o.queues[q] = struct{}{}
	return q, o.count
}

func (q *reportQueue) close() {
	q.outbox.mu.Lock()
	defer q.outbox.mu.Unlock()
	delete(q.outbox.queues, q)
}

func (q *reportQueue) signal() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

func (q *reportQueue) pop() (r numberedReport, ok bool) {
	q.outbox.mu.Lock()
	defer q.outbox.mu.Unlock()
	if len(q.waiting) == 0 {
		return numberedReport{}, false
	}
	r = q.waiting[0]
	q.waiting = slices.Delete(q.waiting, 0, 1)
	return r, true
}

// told says that the edge has been sent r.
func (q *reportQueue) told(r numberedReport) {
	q.outbox.mu.Lock()
	defer q.outbox.mu.Unlock()
	q.outbox.untold.drop(func(w numberedReport) bool { return w.number == r.number })
}

// forget drops what a hello, made after mark, has told of these sessions.
// Reports of sessions that it does not name, because they are gone, stay.
func (q *reportQueue) forget(mark uint64, hello []Report) {
	named := make(map[string]bool, len(hello))
	for _, r := range hello {
		named[r.Session] = true
	}
	told := func(w numberedReport) bool { return w.number <= mark && named[w.Session] }
	q.outbox.mu.Lock()
	defer q.outbox.mu.Unlock()
	q.waiting.drop(told)
	q.outbox.untold.drop(told)
}

func (l *reportList) put(r numberedReport) {
	l.drop(func(w numberedReport) bool { return w.Session == r.Session })
	*l = append(*l, r)
}

func (l *reportList) drop(which func(numberedReport) bool) { *l = slices.DeleteFunc(*l, which) }
