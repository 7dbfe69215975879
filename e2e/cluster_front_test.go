package e2e

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// front is the address before all edges, which sends nobody to an edge that does
// not serve, by its /health (docs/cluster.md).
type front struct {
	doors  []*installation
	serves []atomic.Bool
	owner  sync.WaitGroup
	end    context.CancelFunc
}

// frontEvery is between two looks at an edge, also how long one may take.
const frontEvery = 250 * time.Millisecond

func startFront(doors []*installation) *front {
	ctx, end := context.WithCancel(context.Background())
	f := &front{doors: doors, serves: make([]atomic.Bool, len(doors)), end: end}
	for i, in := range doors {
		f.serves[i].Store(true)
		f.owner.Go(func() {
			transport := client().Transport.(*http.Transport)
			transport.DisableKeepAlives = false
			asks := http.Client{Transport: transport, Timeout: frontEvery}
			defer asks.CloseIdleConnections()
			for ctx.Err() == nil {
				response, err := asks.Get(in.URL + "/health")
				if err == nil {
					_ = response.Body.Close()
				}
				f.serves[i].Store(err == nil && response.StatusCode == http.StatusOK)
				select {
				case <-ctx.Done():
				case <-time.After(frontEvery):
				}
			}
		})
	}
	return f
}

// after is the next edge that serves, or the next one where none is known to.
func (f *front) after(edge int) int {
	for i := 1; i < len(f.doors); i++ {
		if next := (edge + i) % len(f.doors); f.serves[next].Load() {
			return next
		}
	}
	return (edge + 1) % len(f.doors)
}

func (f *front) close() {
	f.end()
	f.owner.Wait()
}
