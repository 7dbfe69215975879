package store

import (
	"container/heap"
	"net/netip"
	"sync"
	"time"
)

// Rate is how much may be taken from a bucket: Burst at once, and Count in each
// Per on the long run. All are above 0.
type Rate struct {
	Count int
	Per   time.Duration
	Burst int
}

// Taken is the answer to one who wants to take 1 from a bucket.
type Taken struct {
	OK         bool
	Remaining  int           // that may be taken at once now
	Full       time.Duration // until the whole burst may be taken again
	RetryAfter time.Duration // until 1 may be taken; 0 when OK
}

// maxBuckets bounds the buckets of a Local: some 20 MB of memory. Who wants to
// push others out of it has to come from as many addresses at once.
const maxBuckets = 100_000

// ClientNetwork is whose doings count together where they are bounded by address:
// an IPv6 client owns its /64. Of an address that is not valid it is the zero
// Prefix.
func ClientNetwork(addr netip.Addr) netip.Prefix {
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	network, _ := addr.WithZone("").Prefix(bits) // the number of bits suits the address
	return network
}

// buckets are token buckets, kept as the moment at which each will be full again
// (GCRA: the "theoretical arrival time" of ITU-T I.371). One that is full is as
// one that was never there.
type buckets struct {
	mu    sync.Mutex
	known map[string]*bucket
	soon  bucketHeap
}

func newBuckets() *buckets { return &buckets{known: map[string]*bucket{}} }

// take takes n, which is 1, or 0 for who only wants to know.
func (bs *buckets) take(name string, r Rate, now time.Time, n int) Taken {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	for len(bs.soon) > 0 && !bs.soon[0].full.After(now) {
		bs.drop()
	}
	each := max(r.Per/time.Duration(r.Count), 1)
	whole := each * time.Duration(r.Burst)
	b := bs.known[name]
	wait := time.Duration(0) // until the bucket is full
	if b != nil {
		wait = min(b.full.Sub(now), whole) // the burst may have become smaller
	}
	if wait+each > whole {
		return Taken{Full: wait, RetryAfter: wait + each - whole}
	}
	if n == 0 {
		return Taken{OK: true, Remaining: int((whole - wait) / each), Full: wait}
	}
	wait += each
	if b != nil {
		b.full = now.Add(wait)
		heap.Fix(&bs.soon, b.at)
	} else {
		if len(bs.soon) >= maxBuckets {
			bs.drop()
		}
		b = &bucket{name: name, full: now.Add(wait)}
		bs.known[name] = b
		heap.Push(&bs.soon, b)
	}
	return Taken{OK: true, Remaining: int((whole - wait) / each), Full: wait}
}

// drop forgets the bucket that is the soonest to be full.
func (bs *buckets) drop() { delete(bs.known, heap.Pop(&bs.soon).(*bucket).name) }

type bucket struct {
	name string
	full time.Time
	at   int // its place in the heap
}

// bucketHeap is a heap.Interface with the soonest to be full on top.
type bucketHeap []*bucket

func (h bucketHeap) Len() int           { return len(h) }
func (h bucketHeap) Less(i, j int) bool { return h[i].full.Before(h[j].full) }
func (h bucketHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

func (h *bucketHeap) Push(x any) {
	b := x.(*bucket)
	b.at = len(*h)
	*h = append(*h, b)
}

func (h *bucketHeap) Pop() any {
	last := len(*h) - 1
	b := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return b
}
