package session

import (
	"container/heap"
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// queue decides which id is looked at when. An id is in it at most once and
// looked at by one goroutine at a time; a kick during a look means one more
// look. It holds no more than there are ids.
type queue struct {
	limit int // looks at once

	mu     sync.Mutex
	kicked map[string]struct{}
	wake   chan struct{} // has a value when kicked may not be empty

	// Owned by run.
	entries map[string]*entry
	waiting byDue // those that are not being looked at
}

type entry struct {
	id       string
	due      time.Time
	place    int  // in waiting; -1: being looked at
	again    bool // kicked during the look
	failures int  // looks in a row that returned an error
}

// outcome of one look: when to look again (zero: only after a kick), or an
// error, after which the queue backs off.
type outcome struct {
	entry *entry
	again time.Time
	err   error
}

func newQueue(limit int) *queue {
	return &queue{
		limit:   limit,
		kicked:  map[string]struct{}{},
		wake:    make(chan struct{}, 1),
		entries: map[string]*entry{},
	}
}

// kick asks for a look at id now. It never blocks.
func (q *queue) kick(id string) {
	q.mu.Lock()
	q.kicked[id] = struct{}{}
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// run looks at ids until ctx ends, then waits for the looks under way.
func (q *queue) run(ctx context.Context, look func(ctx context.Context, id string) (again time.Time, err error)) {
	var looks sync.WaitGroup
	defer looks.Wait()
	done := make(chan outcome, q.limit)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for free := q.limit; ; {
		now := time.Now()
		for free > 0 && len(q.waiting) > 0 && !q.waiting[0].due.After(now) {
			e := heap.Pop(&q.waiting).(*entry)
			free--
			looks.Go(func() {
				again, err := look(ctx, e.id)
				done <- outcome{e, again, err}
			})
		}
		var due <-chan time.Time
		if free > 0 && len(q.waiting) > 0 {
			timer.Reset(q.waiting[0].due.Sub(now))
			due = timer.C
		}
		select {
		case <-ctx.Done():
			return
		case <-q.wake:
			q.takeKicks()
		case o := <-done:
			free++
			q.settle(o)
		case <-due:
		}
	}
}

func (q *queue) takeKicks() {
	q.mu.Lock()
	kicked := q.kicked
	q.kicked = map[string]struct{}{}
	q.mu.Unlock()
	now := time.Now()
	for id := range kicked {
		e := q.entries[id]
		switch {
		case e == nil:
			e = &entry{id: id, due: now}
			q.entries[id] = e
			heap.Push(&q.waiting, e)
		case e.place < 0:
			e.again = true
		case e.due.After(now):
			e.due = now
			heap.Fix(&q.waiting, e.place)
		}
	}
}

func (q *queue) settle(o outcome) {
	e := o.entry
	if o.err != nil {
		e.failures++
		e.due = time.Now().Add(backoff(e.failures))
	} else {
		e.failures = 0
		e.due = o.again
	}
	if e.again {
		e.again = false
		e.due = time.Now()
	}
	if e.due.IsZero() {
		delete(q.entries, e.id)
		return
	}
	heap.Push(&q.waiting, e)
}

// backoff is how long to wait after so many failures in a row: 1 s doubled up
// to 30 s, less up to a half, so that what failed together does not return
// together.
func backoff(failures int) time.Duration {
	d := min(time.Second<<min(failures-1, 5), 30*time.Second)
	return d - rand.N(d/2)
}

// byDue is a heap of entries, the earliest first.
type byDue []*entry

func (h byDue) Len() int           { return len(h) }
func (h byDue) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h byDue) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}
func (h *byDue) Push(x any) {
	e := x.(*entry)
	e.place = len(*h)
	*h = append(*h, e)
}
func (h *byDue) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	e.place = -1
	return e
}
