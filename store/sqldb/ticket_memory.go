package sqldb

import (
	"container/heap"
	"context"
	"crypto/rand"
	"sync"
	"time"
)

// maxTickets is what 1,000 viewers use that each reconnect every 36 s for an
// hour, the life of a ticket.
const maxTickets = 100_000

// memoryLedger is the ledger of the one edge on a SQLite, which needs no disk for
// it. Whenever it no longer knows of each of its tickets, because the process is a
// new one, there were too many, or the clock was set back to before the end of
// what is forgotten, it begins anew: under another id, by which all tickets of
// before are good for nothing.
type memoryLedger struct {
	mu        sync.Mutex
	id        string
	used      map[string]struct{}
	queue     ticketHeap
	forgotten time.Time // when the last to expire of those forgotten has expired
}

func newMemoryLedger() *memoryLedger {
	l := &memoryLedger{}
	l.begin()
	return l
}

func (l *memoryLedger) begin() {
	l.id, l.used, l.queue, l.forgotten = rand.Text(), map[string]struct{}{}, nil, time.Time{}
}

func (l *memoryLedger) current() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.id
}

func (l *memoryLedger) use(_ context.Context, ledger, id string, expires time.Time) (first bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.forget(now)
	if _, used := l.used[id]; used || ledger != l.id || !expires.After(now) {
		return false, nil
	}
	if len(l.queue) == maxTickets {
		l.begin()
		return false, nil
	}
	l.used[id] = struct{}{}
	heap.Push(&l.queue, usedTicket{id, expires})
	return true, nil
}

// forget drops what has expired.
func (l *memoryLedger) forget(now time.Time) {
	for len(l.queue) > 0 && !l.queue[0].expires.After(now) {
		expired := heap.Pop(&l.queue).(usedTicket)
		delete(l.used, expired.id)
		if expired.expires.After(l.forgotten) {
			l.forgotten = expired.expires
		}
	}
	if l.forgotten.After(now) {
		l.begin()
	}
}

// purge has nothing to do: each use forgets what has expired.
func (l *memoryLedger) purge(context.Context) error { return nil }

type usedTicket struct {
	id      string
	expires time.Time
}

// ticketHeap is a heap.Interface with the soonest to expire on top.
type ticketHeap []usedTicket

func (h ticketHeap) Len() int           { return len(h) }
func (h ticketHeap) Less(i, j int) bool { return h[i].expires.Before(h[j].expires) }
func (h ticketHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *ticketHeap) Push(x any)        { *h = append(*h, x.(usedTicket)) }
func (h *ticketHeap) Pop() any {
	last := len(*h) - 1
	use := (*h)[last]
	(*h)[last] = usedTicket{}
	*h = (*h)[:last]
	return use
}
