package store

import (
	"context"
	"sync"
	"time"
)

// eventQueue is how many events may wait for one subscriber.
const eventQueue = 256

// Local is the Coord of one edge on its own, in its memory.
type Local struct {
	mu          sync.Mutex
	subscribers map[*subscriber]struct{} // nil once closed
	buckets     *buckets
	leases      leases
	places      places

	watching sync.WaitGroup // one for each subscription
}

var _ Coord = (*Local)(nil)

// NewLocal returns a Local that knows nothing. The
// caller closes it.
func NewLocal() *Local {
	return &Local{
		subscribers: map[*subscriber]struct{}{},
		buckets:     newBuckets(),
		leases:      leases{kinds: map[string]map[string]*heldLease{}},
		places:      newPlaces(),
	}
}

// Take never fails. It holds 100,000 buckets; beyond that it forgets those that
// are the soonest to be full.
func (l *Local) Take(_ context.Context, bucket string, r Rate) (Taken, error) {
	return l.buckets.take(bucket, r, time.Now(), 1), nil
}

// Look never fails.
func (l *Local) Look(_ context.Context, bucket string, r Rate) (Taken, error) {
	return l.buckets.take(bucket, r, time.Now(), 0), nil
}

// TakePlace never fails.
func (l *Local) TakePlace(_ context.Context, group, holder string, most int, ttl time.Duration) (taken bool, err error) {
	return l.places.take(group, holder, most, ttl), nil
}

// KeepPlaces never fails.
func (l *Local) KeepPlaces(_ context.Context, held map[string][]string, ttl time.Duration) error {
	l.places.keep(held, ttl)
	return nil
}

// LeavePlaces never fails.
func (l *Local) LeavePlaces(_ context.Context, held map[string][]string) error {
	l.places.leave(held)
	return nil
}

// Places never fails.
func (l *Local) Places(_ context.Context, group string) (held int, err error) {
	return l.places.count(group), nil
}

// Generation never fails.
func (l *Local) Generation(context.Context, string, string) (uint64, error) {
	return l.leases.next(), nil
}

// Hold fails with Conflict and Invalid only.
func (l *Local) Hold(ctx context.Context, lease Lease, ttl time.Duration) error {
	if err := lease.Check(ttl); err != nil {
		return err
	}
	held, changed := l.leases.hold(lease, ttl)
	if !held {
		return lease.Superseded()
	}
	if changed {
		l.Publish(ctx, Event{Type: "lease", ID: lease.Kind})
	}
	return nil
}

// Release never fails.
func (l *Local) Release(ctx context.Context, kind, id string, generation uint64) error {
	if l.leases.release(kind, id, generation) {
		l.Publish(ctx, Event{Type: "lease", ID: kind})
	}
	return nil
}

// Leases never fails.
func (l *Local) Leases(_ context.Context, kind string) ([]Lease, error) {
	return l.leases.list(kind), nil
}

// Publish hands the event to every subscriber before it returns.
func (l *Local) Publish(_ context.Context, e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for s := range l.subscribers {
		s.offer(e)
	}
}

// Subscribe returns a channel that is closed already when l is closed.
func (l *Local) Subscribe(ctx context.Context) <-chan Event {
	s := &subscriber{events: make(chan Event, eventQueue+1)}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.subscribers == nil {
		close(s.events)
		return s.events
	}
	l.subscribers[s] = struct{}{}
	l.watching.Add(1)
	s.unwatch = context.AfterFunc(ctx, func() {
		defer l.watching.Done()
		l.mu.Lock()
		defer l.mu.Unlock()
		if _, ok := l.subscribers[s]; ok {
			delete(l.subscribers, s)
			close(s.events)
		}
	})
	return s.events
}

// Ping returns nil.
func (l *Local) Ping(context.Context) error { return nil }

// Close ends all subscriptions; what is queued for them can still be read.
// Closing again does nothing.
func (l *Local) Close() error {
	l.mu.Lock()
	for s := range l.subscribers {
		close(s.events)
		if s.unwatch() {
			l.watching.Done()
		}
	}
	l.subscribers = nil
	l.mu.Unlock()
	l.watching.Wait()
	return nil
}

// subscriber is one Subscribe call, guarded by Local.mu.
type subscriber struct {
	events  chan Event // eventQueue events and a resync
	behind  bool       // a resync is queued last
	unwatch func() bool
}

// offer queues e. When the queue is full a resync takes e's place, and of
// everything after it, until the subscriber has received it: who reads
// everything again then, sees those changes too.
func (s *subscriber) offer(e Event) {
	switch waiting := len(s.events); {
	case s.behind && waiting > 0:
	case waiting == eventQueue:
		s.events <- Event{Type: "resync"}
		s.behind = true
	default:
		s.events <- e
		s.behind = false
	}
}
