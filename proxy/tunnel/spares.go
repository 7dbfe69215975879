package tunnel

import (
	"net"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// requestLife is how long connections that the agent was asked for are
// expected before it is asked again.
const requestLife = time.Second

// sparePool holds the idle stream connections of one generation. The youngest
// is taken first: it is the likeliest to be alive, and the echo rounds weed
// out the rest. Safe for concurrent use.
type sparePool struct {
	gauge prometheus.Gauge

	mu          sync.Mutex
	closed      bool
	idle        []net.Conn      // oldest first
	waiters     []chan net.Conn // longest waiting first; only while idle is empty
	requested   int             // asked of the agent and not here yet
	requestedAt time.Time
	arrivals    uint64 // connections that were put, ever: a sign of life
}

func newSparePool(gauge prometheus.Gauge) *sparePool { return &sparePool{gauge: gauge} }

// put hands c to whoever waits longest, or keeps it. false: the pool is closed
// or full, and c stays the caller's to close.
func (p *sparePool) put(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.idle) >= MaxSpares {
		return false
	}
	p.arrivals++
	p.requested = max(0, p.requested-1)
	if len(p.waiters) > 0 {
		p.waiters[0] <- c
		p.waiters = slices.Delete(p.waiters, 0, 1)
		return true
	}
	p.idle = append(p.idle, c)
	p.gauge.Inc()
	return true
}

// take returns a connection, or a place in the queue for one: wait receives
// it, and leave gives the place back.
func (p *sparePool) take() (c net.Conn, wait chan net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.idle); n > 0 {
		c, p.idle = p.idle[n-1], p.idle[:n-1]
		p.gauge.Dec()
		return c, nil
	}
	wait = make(chan net.Conn, 1)
	p.waiters = append(p.waiters, wait)
	return nil, wait
}

// leave gives up a place, and closes what came in the meantime.
func (p *sparePool) leave(wait chan net.Conn) {
	p.mu.Lock()
	p.waiters = slices.DeleteFunc(p.waiters, func(w chan net.Conn) bool { return w == wait })
	p.mu.Unlock()
	select {
	case c := <-wait:
		if !p.put(c) {
			_ = c.Close()
		}
	default:
	}
}

// shortage is how many connections to ask of the agent now, and counts them as
// asked for.
func (p *sparePool) shortage() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.requestedAt) > requestLife {
		p.requested = 0
	}
	n := max(0, len(p.waiters)-p.requested)
	if n > 0 {
		p.requested += n
		p.requestedAt = time.Now()
	}
	return n
}

// takeAll empties the pool, for an echo round.
func (p *sparePool) takeAll() (all []net.Conn, arrivals uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	all, p.idle = p.idle, nil
	p.gauge.Sub(float64(len(all)))
	return all, p.arrivals
}

func (p *sparePool) arrivedSince(arrivals uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.arrivals != arrivals
}

// trim closes the oldest beyond limit, which a burst has left over.
func (p *sparePool) trim(limit int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.idle) > limit {
		_ = p.idle[0].Close()
		p.idle = slices.Delete(p.idle, 0, 1)
		p.gauge.Dec()
	}
}

// close closes what is idle and what will be put. Whoever waits for a
// connection watches the tunnel's end itself.
func (p *sparePool) close() {
	all, _ := p.takeAll()
	p.mu.Lock()
	p.closed = true
	all = append(all, p.idle...)
	p.gauge.Sub(float64(len(p.idle)))
	p.idle = nil
	p.mu.Unlock()
	for _, c := range all {
		_ = c.Close()
	}
}
