package main

import (
	"context"
	"testing"

	"github.com/streamspace-dev/streamspace-edge/store"
)

func TestADrainEndsEventStreamsAndNothingElse(t *testing.T) {
	coord := store.NewLocal()
	defer coord.Close()
	drained, drain := context.WithCancel(t.Context())
	streams := eventStreams{Coord: coord, drained: drained}
	others := coord.Subscribe(t.Context())
	left, leave := context.WithCancel(t.Context())
	gone, here := streams.Subscribe(left), streams.Subscribe(t.Context())
	leave()
	for range gone { // until it is closed
	}
	streams.Publish(t.Context(), store.Event{Type: "node", ID: "before"})
	if e := <-here; e.ID != "before" {
		t.Errorf("%+v", e)
	}
	drain()
	for range here {
	}
	streams.Publish(t.Context(), store.Event{Type: "node", ID: "after"})
	for _, want := range []string{"before", "after"} {
		if e := <-others; e.ID != want {
			t.Errorf("%+v, want %s", e, want)
		}
	}
	if _, open := <-streams.Subscribe(t.Context()); open {
		t.Error("a stream that began after the drain got an event")
	}
}
