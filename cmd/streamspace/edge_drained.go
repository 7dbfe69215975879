package main

import (
	"context"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/api"
	"github.com/streamspace-dev/streamspace-edge/store"
)

// drainsReadEvery is how often an edge looks which edges are drained, beside the
// events that tell it at once: as often as the edges tell each other of
// themselves.
const drainsReadEvery = 2 * time.Second

// drainedNodes is what this edge knows of the edges that an operator has drained.
type drainedNodes struct {
	reading sync.Mutex    // held while the store is read, so that the latest answer stays
	again   chan struct{} // the store has news; holds one

	mu  sync.Mutex
	ids []string
}

func (d *drainedNodes) has(id string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Contains(d.ids, id)
}

// standsAside tells whether this edge takes nothing new: it leaves, or an
// operator has drained it.
func (e *edge) standsAside() bool { return e.draining.Load() || e.drained.Load() }

// openDrains has an edge that was drained before it was started begin so.
func (e *edge) openDrains(ctx context.Context) error {
	e.drains.again = make(chan struct{}, 1)
	if err := e.readDrains(ctx); err != nil {
		return err
	}
	if !e.drains.has(e.config.Node.ID) {
		return nil
	}
	e.drained.Store(true)
	e.log.Warn("an operator has drained this edge: it takes no viewers, and agents stay away, until somebody resumes it", zap.String("resume", e.resumePath()))
	e.viewers.Drain(ctx, 0) // nobody is there yet
	if e.hop != nil {
		e.hop.Drain()
	}
	return nil
}

func (e *edge) resumePath() string { return "POST /api/v1/nodes/" + e.config.Node.ID + "/resume" }

func (e *edge) readDrains(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	e.drains.reading.Lock()
	defer e.drains.reading.Unlock()
	ids, err := e.store.DrainedNodes(ctx)
	if err != nil {
		return err
	}
	e.drains.mu.Lock()
	e.drains.ids = ids
	e.drains.mu.Unlock()
	if e.cluster != nil {
		e.cluster.Drained(ids)
	}
	return nil
}

// followDrains drains and resumes this edge as operators say, until ctx ends.
// Without the store what was said last holds.
func (e *edge) followDrains(ctx context.Context) error {
	events := e.coord.Subscribe(ctx)
	tick := time.NewTicker(drainsReadEvery)
	defer tick.Stop()
	stop := func() {} // ends the handover that runs, and waits for it
	defer func() { stop() }()
	failing := false
	for {
		err := e.readDrains(ctx)
		if failed := err != nil && ctx.Err() == nil; failed != failing {
			failing = failed
			if failed {
				e.log.Warn("whether an operator drains or resumes this edge can't be learned", zap.Error(err))
			}
		}
		if drained := e.drains.has(e.config.Node.ID); err == nil && drained != e.drained.Load() {
			stop()
			stop = func() {}
			if drained {
				stop = e.standAside(ctx)
			} else {
				e.resume()
			}
		}
		for wanted := false; !wanted; {
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
				wanted = true
			case <-e.drains.again:
				wanted = true
			case event, open := <-events:
				if !open {
					events = nil // the ticks go on
					continue
				}
				wanted = event.Type == "node" || event.Type == "resync"
			}
		}
	}
}

// standAside takes nothing new, has the agents move and hands the viewers over,
// as an edge does that leaves. stop ends that where it is, and waits.
func (e *edge) standAside(ctx context.Context) (stop func()) {
	e.log.Info("an operator has drained this edge; it stays until somebody resumes it", append(e.inWork().fields(), zap.String("resume", e.resumePath()))...)
	e.drained.Store(true)
	ctx, cancel := context.WithTimeout(ctx, e.config.Drain.Timeout.std())
	handedOver := make(chan struct{})
	go func() {
		defer close(handedOver)
		if e.cluster != nil {
			e.moveAgents(ctx, e.cluster.Tell)
		}
		e.handOver(ctx, e.config.Drain.Timeout.std()/6)
		if ctx.Err() == nil {
			e.log.Info("this edge has no viewers any more")
		}
	}()
	return func() {
		cancel()
		<-handedOver
	}
}

// resume undoes standAside, which has been stopped.
func (e *edge) resume() {
	e.drained.Store(false)
	e.viewers.Resume()
	if e.hop != nil {
		e.hop.Resume()
		e.cluster.Announce()
	}
	e.log.Info("an operator has resumed this edge")
}

// setNodeDrained drains or resumes any edge of the cluster. One that was drained
// and is not there can be resumed, too.
func (e *edge) setNodeDrained(ctx context.Context, id string, drained bool) (api.Node, error) {
	if _, there := e.node(ctx, id); !there && (drained || !e.drains.has(id)) {
		return api.Node{}, store.Errorf(store.NotFound, "there is no edge %.64q; GET /api/v1/nodes lists them", id)
	}
	changed, err := e.store.SetNodeDrained(ctx, id, drained)
	if err != nil {
		return api.Node{}, err
	}
	if err := e.readDrains(ctx); err != nil {
		return api.Node{}, err
	}
	if changed {
		state := map[bool]string{true: "draining", false: "online"}[drained]
		e.coord.Publish(ctx, store.Event{Type: "node", ID: id, State: state})
	}
	select {
	case e.drains.again <- struct{}{}: // where events don't come: Redis is away
	default:
	}
	n, there := e.node(ctx, id)
	if !there {
		n = api.Node{ID: id, Status: "unreachable"}
	}
	return n, nil
}

func (e *edge) drainNode(ctx context.Context, id string) (api.Node, error) {
	return e.setNodeDrained(ctx, id, true)
}

func (e *edge) resumeNode(ctx context.Context, id string) (api.Node, error) {
	return e.setNodeDrained(ctx, id, false)
}
