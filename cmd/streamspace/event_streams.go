package main

import (
	"context"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// eventStreams is a Coord whose subscriptions end before it does: a drain ends
// the clients' event streams first, while requests that still run have changes
// to tell to other edges.
type eventStreams struct {
	store.Coord
	drained context.Context
}

func (s eventStreams) Subscribe(ctx context.Context) <-chan store.Event {
	ctx, cancel := context.WithCancel(ctx)
	forget := context.AfterFunc(s.drained, cancel)
	context.AfterFunc(ctx, func() { forget() })
	return s.Coord.Subscribe(ctx)
}
