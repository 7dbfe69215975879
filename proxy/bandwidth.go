package proxy

import (
	"container/heap"
	"sync"
	"time"
)

const (
	// streamBurst is how far a stream may run ahead of its own limit: a changed
	// screen comes at once, a film does not.
	streamBurst = 250 * time.Millisecond

	// nodeBurst is how far the streams may run ahead of the node's limit. It is
	// long against the lateness of a timer, so that the limit is used to the full,
	// and short against the queue that it makes in the network behind.
	nodeBurst = 50 * time.Millisecond

	// shortestPause keeps a stream at its limit from setting a timer for every
	// chunk. It is well below both bursts, so that nothing runs dry meanwhile.
	shortestPause = 10 * time.Millisecond

	// longestPause bounds how late a stream finds that others have left it more.
	longestPause = 250 * time.Millisecond

	// paceMemory is over how long the rate is averaged by which a pause is
	// foreseen.
	paceMemory = 100 * time.Millisecond
)

// Bandwidth limits the bytes a second of each stream, and of all streams of the
// node together. When the node's limit binds, it is shared max-min fairly: a
// stream that wants less than an equal share gets all it wants, and the others
// share the rest equally.
//
// Both limits are meters, not queues: a stream tells what it has moved and is
// told how long to pause. A stream's own limit is a token bucket, which is no
// more than the time at which all that was moved will have been served.
//
// The node's limit is generalised processor sharing: an imagined link serves all
// streams that have a backlog at once and equally, which is max-min fair by its
// definition, and a stream pauses while its backlog there is too long. That link
// is followed by its virtual time: the bytes that a stream with a backlog has
// been served. It runs at the link's rate over the number of such streams, and a
// stream's backlog is served when it reaches the stream's finish tag. Sources:
// Demers, Keshav and Shenker, "Analysis and simulation of a fair queueing
// algorithm", SIGCOMM 1989; Parekh and Gallager, "A generalized processor
// sharing approach to flow control in integrated services networks: the
// single-node case", IEEE/ACM Transactions on Networking 1(3), 1993.
//
// In any time t a stream moves at most (t + 250 ms) * perStream and one chunk,
// and N streams together (t + 50 ms * (1 + ln N)) * perNode and one chunk each;
// the logarithm only when they begin one after another within those 50 ms.
//
// The nil Bandwidth limits nothing. Its methods are safe for concurrent use.
type Bandwidth struct {
	perStream float64 // bytes a second; 0: no limit
	perNode   float64

	mu      sync.Mutex // guards the fields below
	last    time.Time  // up to when the link has been followed
	virtual float64    // bytes since the link was last empty
	backlog finishHeap
	pace    float64 // how fast virtual has run of late, in bytes a second
}

// NewBandwidth makes limits in bytes a second; 0 is no limit. Without any it is
// nil.
func NewBandwidth(perStream, perNode int64) *Bandwidth {
	if perStream <= 0 && perNode <= 0 {
		return nil
	}
	return &Bandwidth{perStream: float64(max(perStream, 0)), perNode: float64(max(perNode, 0)), pace: float64(perNode)}
}

// Join makes a stream's share. It holds nothing that must be given back: what
// the stream has moved is served after it has gone, too, or else who comes
// again for every chunk would have no limit.
func (b *Bandwidth) Join() *Share {
	if b == nil {
		return nil
	}
	return &Share{of: b, index: idle}
}

// Share is one stream's part of a Bandwidth. The nil Share has no limit. Its
// methods may not be called at the same time.
type Share struct {
	of     *Bandwidth
	served time.Time // when the stream's own limit has served what was moved

	// Guarded by of.mu.
	finish float64 // the virtual time at which the backlog is served
	index  int     // in the heap; idle: there is no backlog
}

const idle = -1

// Take counts n bytes that were moved at now, and tells how long to pause before
// more are moved; 0: not at all. A pause is at most 250 ms; after it Take(0, now)
// tells whether it is over, because others may have come or gone meanwhile.
func (s *Share) Take(n int, now time.Time) (pause time.Duration) {
	if s == nil {
		return 0
	}
	return s.take(float64(n), now)
}

func (s *Share) take(n float64, now time.Time) (pause time.Duration) {
	if s.of.perStream > 0 {
		pause = s.takeOwn(n, now)
	}
	if s.of.perNode > 0 {
		pause = max(pause, s.of.takeShared(s, n, now))
	}
	if pause <= 0 {
		return 0
	}
	return min(max(pause, shortestPause), longestPause)
}

// takeOwn counts n bytes against the stream's own limit.
func (s *Share) takeOwn(n float64, now time.Time) (pause time.Duration) {
	if s.served.Before(now) {
		s.served = now
	}
	s.served = s.served.Add(seconds(n / s.of.perStream))
	return s.served.Sub(now) - streamBurst
}

// takeShared counts n bytes of s against the node's limit.
func (b *Bandwidth) takeShared(s *Share, n float64, now time.Time) (pause time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.follow(now)
	switch {
	case s.index != idle:
		s.finish += n
		heap.Fix(&b.backlog, s.index)
	case n > 0:
		s.finish = b.virtual + n
		heap.Push(&b.backlog, s)
	default:
		return 0
	}
	allowed := b.perNode / float64(len(b.backlog)) * nodeBurst.Seconds()
	return seconds((s.finish - b.virtual - allowed) / b.pace)
}

// follow lets the imagined link work until now. Loops read the clock each for
// itself, so a time may lie a little before the last one.
func (b *Bandwidth) follow(now time.Time) {
	left := now.Sub(b.last).Seconds()
	if left <= 0 {
		return
	}
	b.last = now
	for len(b.backlog) > 0 {
		first := b.backlog[0]
		rate := b.perNode / float64(len(b.backlog))
		need := (first.finish - b.virtual) / rate
		if need > left {
			b.virtual += rate * left
			b.remember(rate, left)
			return
		}
		b.virtual = first.finish
		heap.Pop(&b.backlog)
		b.remember(rate, need)
		left -= need
	}
	b.virtual = 0 // nobody has a finish tag, and small numbers are exact
	b.remember(b.perNode, left)
}

// remember averages in that virtual has run at rate for some seconds. The rate
// of one moment would foresee pauses badly: a stream of small updates has a
// backlog only now and then, but for that moment halves the rate of a greedy one.
func (b *Bandwidth) remember(rate, seconds float64) {
	b.pace += (rate - b.pace) * seconds / (seconds + paceMemory.Seconds())
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// finishHeap is a heap of the shares with a backlog, the one that is served
// first at its top.
type finishHeap []*Share

func (h finishHeap) Len() int           { return len(h) }
func (h finishHeap) Less(i, j int) bool { return h[i].finish < h[j].finish }
func (h finishHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *finishHeap) Push(x any) {
	s := x.(*Share)
	s.index = len(*h)
	*h = append(*h, s)
}

func (h *finishHeap) Pop() any {
	last := len(*h) - 1
	s := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	s.index = idle
	return s
}
