package storetest

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
)

func ticketBehaviours() []behaviour {
	return []behaviour{
		{"a ticket is used once", ticketOnce},
		{"a ticket used at once is used once", func(t *testing.T, s store.Store) { TicketRace(t, s) }},
		{"a ticket of another ledger is of no use", ticketOfAnotherLedger},
		{"a ticket that expired long ago is used", ticketExpired},
		{"a purge forgets no ticket that could be used", ticketPurge},
	}
}

// useTicket is a use of a ticket of the store's own ledger.
func useTicket(t *testing.T, s store.Store, id string, expires time.Time) bool {
	t.Helper()
	first, err := s.UseTicket(context.Background(), s.TicketLedger(), id, expires)
	if err != nil {
		t.Error(err)
	}
	return first
}

func ticketOnce(t *testing.T, s store.Store) {
	id, expires := newID(), time.Now().Add(time.Hour)
	for i, want := range []bool{true, false, false} {
		if got := useTicket(t, s, id, expires); got != want {
			t.Errorf("use %d: first is %v", i+1, got)
		}
	}
	if !useTicket(t, s, newID(), expires) {
		t.Error("another ticket counts as used")
	}
}

// TicketRace has tickets used at several edges of one store at once, and wants
// each to be used once.
func TicketRace(t *testing.T, edges ...store.Store) {
	t.Helper()
	const rounds, callers = 10, 20
	for range rounds {
		id, expires := newID(), time.Now().Add(time.Hour)
		var all sync.WaitGroup
		var firsts atomic.Int32
		for i := range callers {
			all.Go(func() {
				if useTicket(t, edges[i%len(edges)], id, expires) {
					firsts.Add(1)
				}
			})
		}
		all.Wait()
		if firsts.Load() != 1 {
			t.Errorf("%d were first", firsts.Load())
		}
	}
}

func ticketOfAnotherLedger(t *testing.T, s store.Store) {
	if ledger := s.TicketLedger(); ledger == "" || ledger != s.TicketLedger() {
		t.Errorf("the ledger %q has changed", ledger)
	}
	for _, ledger := range []string{"", "another", s.TicketLedger() + "x"} {
		id := newID()
		if first, err := s.UseTicket(context.Background(), ledger, id, time.Now().Add(time.Hour)); first || err != nil {
			t.Errorf("of the ledger %q: %v, %v", ledger, first, err)
		}
		if !useTicket(t, s, id, time.Now().Add(time.Hour)) {
			t.Errorf("a use that was refused in the ledger %q has used it up", ledger)
		}
	}
}

func ticketExpired(t *testing.T, s store.Store) {
	if useTicket(t, s, newID(), time.Now().Add(-store.TicketPatience-time.Minute)) {
		t.Error("a ticket that has expired could be used")
	}
}

func ticketPurge(t *testing.T, s store.Store) {
	id, expires := newID(), time.Now().Add(time.Second)
	if !useTicket(t, s, id, expires) {
		t.Fatal("the first use was refused")
	}
	if _, err := s.PurgeSessions(context.Background(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if useTicket(t, s, id, expires) {
		t.Error("it is used again after a purge")
	}
}
