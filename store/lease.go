package store

import (
	"bytes"
	"cmp"
	"slices"
	"sync"
	"time"
)

// Lease says that somebody is there for as long as it is renewed: an edge, an
// agent's home on an edge.
type Lease struct {
	Kind, ID   string
	Generation uint64 // of who holds it; see Coord.Generation
	Value      []byte // what others should know of it; at most MaxLeaseValue
}

// MaxLeaseValue is in bytes: every list carries the values of all.
const MaxLeaseValue = 16 << 10

// Check returns an Error with the code Invalid for what no Coord takes.
func (l Lease) Check(ttl time.Duration) error {
	switch {
	case l.Kind == "" || l.ID == "":
		return Errorf(Invalid, "a lease of kind %q has the id %q; both are needed", l.Kind, l.ID)
	case len(l.Value) > MaxLeaseValue:
		return Errorf(Invalid, "the value of the lease of %s %s has %d bytes; at most %d", l.Kind, l.ID, len(l.Value), MaxLeaseValue)
	case ttl < time.Millisecond:
		return Errorf(Invalid, "a lease of %s is too short; at least 1ms", ttl)
	}
	return nil
}

// Superseded is the error of Coord.Hold for who no longer may hold the lease.
func (l Lease) Superseded() *Error {
	return Errorf(Conflict, "the lease of %s %s is of a newer generation than %d, or was released", l.Kind, l.ID, l.Generation)
}

// releasedFor is how long a release keeps out the beats that were sent before
// it: longer than any request is under way.
const releasedFor = time.Minute

// leases are the leases of a Local.
type leases struct {
	mu         sync.Mutex
	kinds      map[string]map[string]*heldLease
	generation uint64 // the highest that was given or held
}

type heldLease struct {
	Lease
	released bool
	until    time.Time
}

func (ls *leases) next() uint64 {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.generation++
	return ls.generation
}

// hold tells whether l may be held, and whether others see a difference.
func (ls *leases) hold(l Lease, ttl time.Duration) (held, changed bool) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	now := time.Now()
	of := ls.of(l.Kind, now)
	old := of[l.ID]
	if old != nil && (old.Generation > l.Generation || old.Generation == l.Generation && old.released) {
		return false, false
	}
	ls.generation = max(ls.generation, l.Generation)
	l.Value = bytes.Clone(l.Value)
	of[l.ID] = &heldLease{Lease: l, until: now.Add(ttl)}
	return true, old == nil || old.Generation != l.Generation || !bytes.Equal(old.Value, l.Value)
}

// release tells whether others see a difference.
func (ls *leases) release(kind, id string, generation uint64) (changed bool) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	now := time.Now()
	of := ls.of(kind, now)
	old := of[id]
	if old != nil && old.Generation > generation {
		return false
	}
	of[id] = &heldLease{Lease: Lease{Kind: kind, ID: id, Generation: generation}, released: true, until: now.Add(releasedFor)}
	return old != nil && !old.released
}

func (ls *leases) list(kind string) []Lease {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	var list []Lease
	for _, l := range ls.of(kind, time.Now()) {
		if !l.released {
			one := l.Lease
			one.Value = bytes.Clone(one.Value)
			list = append(list, one)
		}
	}
	SortLeases(list)
	return list
}

// of are the leases of a kind that have not expired.
func (ls *leases) of(kind string, now time.Time) map[string]*heldLease {
	of := ls.kinds[kind]
	if of == nil {
		of = map[string]*heldLease{}
		ls.kinds[kind] = of
	}
	for id, l := range of {
		if !l.until.After(now) {
			delete(of, id)
		}
	}
	return of
}

// SortLeases sorts by id.
func SortLeases(list []Lease) {
	slices.SortFunc(list, func(a, b Lease) int { return cmp.Compare(a.ID, b.ID) })
}
