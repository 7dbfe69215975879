package sqldb

import (
	"container/heap"
	"context"
	"crypto/rand"
	"sync"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// maxTickets is what 1,000 viewers use that each reconnect every 36 s for an
// hour, the life of a ticket.
const maxTickets = 100_000

// memoryLedger is the ledger of the one edge on a SQLite, which needs no disk for
// it while it runs. Whenever it no longer knows of each of its tickets, because the
// process before was killed, there were too many, or the clock was set back to
// before the end of what is forgotten, it begins anew: under another id, by which
// all tickets of before are good for nothing.
type memoryLedger struct {
	mu        sync.Mutex
	id        string // empty: no ticket was made yet
	used      map[string]struct{}
	queue     ticketHeap
	forgotten time.Time // when the last to expire of those forgotten has expired
	closed    bool
}

func newMemoryLedger() *memoryLedger { return &memoryLedger{used: map[string]struct{}{}} }

func (l *memoryLedger) begin() {
	l.id, l.used, l.queue, l.forgotten = rand.Text(), map[string]struct{}{}, nil, time.Time{}
}

func (l *memoryLedger) current() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.id == "" {
		l.begin()
	}
	return l.id
}

func (l *memoryLedger) use(_ context.Context, ledger, id string, expires time.Time) (first bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false, store.Errorf(store.Unavailable, "the database is closed")
	}
	now := time.Now()
	l.forget(now)
	if _, used := l.used[id]; used || l.id == "" || ledger != l.id || !expires.After(now) {
		return false, nil
	}
	if len(l.queue) == maxTickets {
		l.begin()
		return false, nil
	}
	l.note(usedTicket{id, expires})
	return true, nil
}

func (l *memoryLedger) note(u usedTicket) {
	l.used[u.id] = struct{}{}
	heap.Push(&l.queue, u)
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

const dropLedger = "DELETE FROM ticket_ledger"

// resume goes on with what close has left in the file. It is taken out first: who
// is killed after that begins anew.
func (l *memoryLedger) resume(ctx context.Context, file engine) error {
	type head struct {
		id        string
		forgotten time.Time
	}
	var heads []*head
	var used []*usedTicket
	err := file.transact(ctx, func(tx querier) (err error) {
		heads, err = all(ctx, tx, func(h *head) []any { return []any{&h.id, (*micros)(&h.forgotten)} }, "SELECT id, forgotten_at FROM ticket_ledger")
		if err != nil || len(heads) == 0 {
			return err
		}
		used, err = all(ctx, tx, func(u *usedTicket) []any { return []any{&u.id, (*micros)(&u.expires)} }, "SELECT id, expires_at FROM used_tickets")
		if err != nil {
			return err
		}
		return execute(ctx, tx, dropLedger)
	})
	if err != nil || len(heads) == 0 {
		return err
	}
	l.id, l.forgotten = heads[0].id, heads[0].forgotten
	for _, u := range used {
		l.note(*u)
	}
	return nil
}

// close leaves the ledger in the file, for the process that opens it next.
func (l *memoryLedger) close(ctx context.Context, file engine) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.id == "" {
		return nil
	}
	l.closed = true
	return file.transact(ctx, func(tx querier) error {
		for _, text := range []string{dropLedger, "DELETE FROM used_tickets"} {
			if err := execute(ctx, tx, text); err != nil {
				return err
			}
		}
		for _, u := range l.queue {
			if err := execute(ctx, tx, "INSERT INTO used_tickets (id, expires_at) VALUES (?, ?)", u.id, micros(u.expires)); err != nil {
				return err
			}
		}
		return execute(ctx, tx, "INSERT INTO ticket_ledger (id, forgotten_at) VALUES (?, ?)", l.id, micros(l.forgotten))
	})
}

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
