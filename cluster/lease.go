package cluster

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// ownLease is this edge's, of the goroutine of keepLease.
type ownLease struct {
	c          *Cluster
	generation uint64   // Cluster.started
	superseded bool     // another process had the lease when it was to be renewed last
	sequence   uint64   // of the last change
	texts      [][]byte // what was announced last, without its sequence
	parts      int      // the most that were announced
	failing    bool     // the last renewal failed, and it was logged
}

// keepLease renews the lease at each beat, and when something changed, until ctx
// ends; then it releases it.
func (c *Cluster) keepLease(ctx context.Context) {
	l := &ownLease{c: c}
	beat := time.NewTicker(c.o.Beat)
	defer beat.Stop()
	for ctx.Err() == nil {
		if err := l.renew(ctx); ctx.Err() == nil {
			l.log(err)
		}
		sleep(ctx, pause)
		select {
		case <-ctx.Done():
		case <-beat.C:
		case <-c.announce:
		}
	}
	l.release(context.WithoutCancel(ctx))
}

// renew announces this edge as it is now. The Coord has one beat to take it.
func (l *ownLease) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, l.c.o.Beat)
	defer cancel()
	if l.generation == 0 {
		if err := l.begin(ctx); err != nil {
			return err
		}
	}
	if err := l.hold(ctx); err != nil {
		l.superseded = store.CodeOf(err) == store.Conflict
		return err
	}
	if !l.superseded {
		return nil
	}
	// The other one has gone, and the rest remember its generation.
	if err := l.begin(ctx); err != nil {
		return err
	}
	l.superseded = false
	return l.hold(ctx)
}

// begin takes a generation above all that there were.
func (l *ownLease) begin(ctx context.Context) error {
	generation, err := l.c.o.Coord.Generation(ctx, leaseKind, l.c.id)
	if err != nil {
		return err
	}
	l.generation = generation
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	l.c.started = generation
	return nil
}

func (l *ownLease) hold(ctx context.Context) error {
	began := time.Now()
	l.c.mu.Lock()
	agents, telling := maps.Clone(l.c.agents), len(l.c.telling)
	l.c.mu.Unlock()
	n := l.c.self()
	parts := announcementsOf(n, agents)
	if err := l.number(parts); err != nil {
		return err
	}
	// The first part last: it is what makes the others count.
	for i := len(parts) - 1; i >= 0; i-- {
		value, err := l.c.seal.write(parts[i])
		if err != nil {
			return err
		}
		lease := store.Lease{Kind: leaseKind, ID: partID(n.ID, i), Generation: l.generation, Value: value}
		if err := l.c.o.Coord.Hold(ctx, lease, beatsOfLease*l.c.o.Beat); err != nil {
			return err
		}
	}
	l.parts = max(l.parts, len(parts))
	l.c.mu.Lock()
	l.c.announced = began
	l.c.mu.Unlock()
	l.c.said(telling)
	return nil
}

// number gives parts the sequence of the last change, so that a beat which
// brings nothing new looks the same to everybody.
func (l *ownLease) number(parts []announcement) error {
	texts := make([][]byte, len(parts))
	same := len(parts) == len(l.texts)
	for i := range parts {
		text, err := l.c.seal.write(parts[i])
		if err != nil {
			return err
		}
		texts[i] = text
		same = same && bytes.Equal(text, l.texts[i])
	}
	if !same {
		l.sequence++
	}
	l.texts = texts
	for i := range parts {
		parts[i].Sequence = l.sequence
	}
	return nil
}

// said has the first so many calls of Tell return.
func (c *Cluster) said(calls int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, told := range c.telling[:calls] {
		close(told)
	}
	c.telling = slices.Delete(c.telling, 0, calls)
}

// log tells the first failure of several in a row, and that they are over.
func (l *ownLease) log(err error) {
	failed := err != nil
	if failed == l.failing {
		return
	}
	l.failing = failed
	switch {
	case !failed:
		l.c.o.Log.Info("the other edges can learn of this one again")
	case store.CodeOf(err) == store.Conflict:
		l.c.o.Log.Error("another edge has this one's id, so the others do not see this one; give each edge a node.id of its own",
			zap.String("node", l.c.id), zap.Error(err))
	default:
		l.c.o.Log.Warn("the other edges can't learn of this one; what they knew of it stays", zap.Error(err))
	}
}

// release tells the others that this edge has gone, if the Coord takes it within
// a beat; if not they find out.
func (l *ownLease) release(ctx context.Context) {
	if l.generation == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, l.c.o.Beat)
	defer cancel()
	for i := range max(l.parts, 1) {
		if err := l.c.o.Coord.Release(ctx, leaseKind, partID(l.c.id, i), l.generation); err != nil {
			l.c.o.Log.Warn("the other edges were not told that this one has gone", zap.Error(err))
			return
		}
	}
}
