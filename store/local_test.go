package store_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/streamspace-dev/streamspace-edge/store"
	"github.com/streamspace-dev/streamspace-edge/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func openLocal(t *testing.T) store.Coord {
	l := store.NewLocal()
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func TestLocalIsACoord(t *testing.T) {
	storetest.TestCoord(t, openLocal)
}

func TestASubscriptionOfAnEndedContextIsClosedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := openLocal(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		events := l.Subscribe(ctx)
		l.Publish(ctx, store.Event{Type: "session", ID: "queued"})
		time.Sleep(time.Second)
		synctest.Wait()
		if e, ok := <-events; !ok || e.ID != "queued" {
			t.Errorf("what was queued came as %+v, %v", e, ok)
		}
		if e, ok := <-events; ok {
			t.Errorf("%+v came after the end", e)
		}
	})
}

func TestCodeOf(t *testing.T) {
	limit := store.Errorf(store.Limit, "at most %d", 3)
	for name, c := range map[string]struct {
		err  error
		want store.Code
	}{
		"nil":       {nil, ""},
		"an Error":  {limit, store.Limit},
		"wrapped":   {fmt.Errorf("create: %w", limit), store.Limit},
		"a cause":   {&store.Error{Code: store.Unavailable, Text: "later", Cause: limit}, store.Unavailable},
		"any other": {context.Canceled, store.Internal},
	} {
		if got := store.CodeOf(c.err); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	if got := (&store.Error{Text: "later", Cause: limit}).Error(); got != "later: at most 3" {
		t.Errorf("text with a cause: %q", got)
	}
}

func TestEndedStatesLeadNowhereAndEveryOtherCanEnd(t *testing.T) {
	for _, from := range store.States() {
		ended := (&store.Session{State: from}).Ended()
		if !from.Valid() || !from.MayBecome(from) || from.MayBecome(store.Failed) == (ended && from != store.Failed) {
			t.Errorf("%s: valid %v, may stay %v, may fail %v", from, from.Valid(), from.MayBecome(from), from.MayBecome(store.Failed))
		}
		for _, to := range store.States() {
			if ended && to != from && from.MayBecome(to) {
				t.Errorf("%s may become %s", from, to)
			}
		}
	}
	if store.State("asleep").Valid() || store.State("asleep").MayBecome(store.Running) {
		t.Error("an unknown state counts")
	}
}
