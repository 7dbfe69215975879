package bench

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// front is what stands before the edges and passes connections on, as an
// operator's TCP balancer does: it asks each edge four times a second whether it
// is ready, and sends new connections to one that was. The bench keeps no bytes
// in it: who connects asks it where to.
type front struct {
	cluster  *cluster
	ready    []atomic.Bool
	checking sync.WaitGroup
	stop     context.CancelFunc
}

const frontEvery = 250 * time.Millisecond

// startFront takes all edges for ready until the first check.
func startFront(c *cluster) *front {
	ctx, stop := context.WithCancel(context.Background())
	f := &front{cluster: c, ready: make([]atomic.Bool, len(c.edges)), stop: stop}
	for i, e := range c.edges {
		f.ready[i].Store(true)
		f.checking.Go(func() {
			for sleep(ctx, frontEvery) {
				asking, cancel := context.WithTimeout(ctx, time.Second)
				f.ready[i].Store(c.call(asking, e, "GET", "/health", nil, nil) == nil)
				cancel()
			}
		})
	}
	return f
}

func (f *front) close() {
	f.stop()
	f.checking.Wait()
}

// choose is the edge for a connection of who was at an edge before: the same, if
// it is ready.
func (f *front) choose(before int) int {
	if f.ready[before].Load() {
		return before
	}
	return f.other(before)
}

// other is any edge that is ready but at, or at if there is none.
func (f *front) other(at int) int {
	for _, i := range rand.Perm(len(f.ready)) {
		if i != at && f.ready[i].Load() {
			return i
		}
	}
	return at
}
