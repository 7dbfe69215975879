package balancer

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// pool is a named group of upstreams that requests are spread over.
type pool struct {
	b       *Balancer
	name    string
	metrics *poolMetrics

	current atomic.Pointer[rules]

	mu        sync.Mutex
	config    PoolConfig
	tlsFiles  [sha256.Size]byte // what the files of config.TLS had in them
	picker    *Picker
	affinity  *Affinity // nil: none
	outliers  *outliers
	upstreams []*upstream // of the config, then those that left it and still have clients, last of them the replaced
	trust     trust       // of review
	waiting   []*waiter   // for room, in the order of their coming
	retries   float64     // that the budget allows now
	retired   bool        // it is not in the config any more: its upstreams drain, and serve who has come before

	places []Candidate // of choose, to be used again
}

// wish is what a request wants of a pool.
type wish struct {
	mark    Mark // of the upstream that it was at before
	marked  bool
	expires time.Time      // when its cookie does
	key     uint64         // for Hash
	tried   []*upstream    // that did not serve it
	queued  *time.Duration // grows by the time that it waits; nil: nobody asks
	visit   *visit         // whose end ends the waiting; nil: nobody's
}

// waiter is a request that waits for room.
type waiter struct {
	wish
	got chan *upstream // counted already
}

var (
	errNoUpstream = errors.New("no upstream of this pool can take requests now")
	errQueueFull  = errors.New("the upstreams of this pool are full, and as many requests wait as may")
	errQueueTime  = errors.New("the upstreams of this pool were full for as long as a request may wait")
	errQueueLeft  = errors.New("the client has left while its request waited")
)

// acquire finds the upstream of a request and counts it there: strictly the one
// that its cookie names while that takes it, otherwise the picker's choice among
// those that it has not tried. It waits for room, in turn. release gives the
// place back.
func (p *pool) acquire(ctx context.Context, w *wish, now time.Time) (*upstream, error) {
	p.mu.Lock()
	u, err := p.choose(w, now)
	if u != nil || err != nil {
		p.mu.Unlock()
		return u, err
	}
	if len(p.waiting) >= p.config.Queue.Size {
		p.mu.Unlock()
		return nil, errQueueFull
	}
	waits := &waiter{*w, make(chan *upstream, 1)}
	p.waiting = append(p.waiting, waits)
	timeout := p.config.Queue.Timeout
	p.mu.Unlock()

	began := time.Now()
	if w.queued != nil {
		defer func() { *w.queued += time.Since(began) }()
	}
	left := make(chan struct{})
	if w.visit != nil {
		w.visit.wait(func(int) { close(left) })
		defer w.visit.woken()
	}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case u := <-waits.got:
		return u, nil
	case <-left:
		return p.giveUp(waits, errQueueLeft)
	case <-timer.C:
		return p.giveUp(waits, errQueueTime)
	case <-ctx.Done():
		return p.giveUp(waits, context.Cause(ctx))
	}
}

// giveUp takes a waiter out, unless it has got a place in the meantime.
func (p *pool) giveUp(w *waiter, why error) (*upstream, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.waiting, w); i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
		return nil, why
	}
	return <-w.got, nil
}

// choose takes a place. Without one and without an error there is none now. p.mu
// is held.
func (p *pool) choose(w *wish, now time.Time) (*upstream, error) {
	if w.marked {
		for _, u := range p.upstreams {
			if u.replaced {
				break
			}
			if u.mark == w.mark && u.stays(p.trust) && !now.Before(u.outUntil) && !slices.Contains(w.tried, u) {
				if u.full() {
					return nil, nil
				}
				u.take()
				return u, nil
			}
		}
	}
	p.places = p.places[:0]
	some := false
	for _, u := range p.upstreams {
		if u.replaced {
			break
		}
		place := Candidate{ID: u.id, Active: *u.held, Capacity: u.config.MaxConnections, Weight: u.weight(now, p.config.SlowStart)}
		if !(u.usable() || p.retired && u.setting == Draining) || !p.trust.panics && (u.down != "" && !(p.trust.noneUp && u.down == firstCheck) || now.Before(u.outUntil)) || slices.Contains(w.tried, u) {
			place.Capacity = -1 // out; the picker goes by the same list all the time
		} else {
			some = true
		}
		p.places = append(p.places, place)
	}
	if !some {
		return nil, errNoUpstream
	}
	if i := p.picker.Pick(p.places, w.key); i >= 0 {
		u := p.upstreams[i]
		u.take()
		return u, nil
	}
	return nil, nil
}

// release gives a place back, to who has waited longest for it.
func (p *pool) release(u *upstream) {
	p.mu.Lock()
	defer p.mu.Unlock()
	u.leave()
	p.letIn(time.Now())
}

// letIn gives places to those who wait. p.mu is held.
func (p *pool) letIn(now time.Time) {
	if len(p.waiting) == 0 {
		return
	}
	stay, full := p.waiting[:0], false
	for _, w := range p.waiting {
		if full && !w.marked {
			stay = append(stay, w)
			continue
		}
		u, err := p.choose(&w.wish, now)
		if u != nil {
			w.got <- u
			continue
		}
		full = full || err == nil && !w.marked
		stay = append(stay, w) // where none takes requests now, one may come back while it waits
	}
	clear(p.waiting[len(stay):])
	p.waiting = stay
}
