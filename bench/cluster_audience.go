package bench

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// workCluster is the traffic of a cluster's desktops.
const workCluster = "cluster"

// audience is people who look at sessions of a cluster: each at one, by one
// WebSocket, checking every byte. When a stream ends they come again by
// themselves with a fresh ticket, as the viewer page does, with its waits. Like
// the page they know one address only, that of what stands before the edges.
type audience struct {
	cluster *cluster
	front   *front
	offer   *tls.Config
	pixels  block
	all     []*onlooker
	going   sync.WaitGroup
	leave   context.CancelFunc

	opens   atomic.Int64 // streams that showed something
	refused atomic.Int64 // attempts that ended before they did
	bytes   atomic.Int64 // of RFB, checked

	mu      sync.Mutex
	wrong   error     // the first wrong byte
	last    error     // why an attempt failed last
	picture *delays   // from an attempt's begin to its first picture
	gaps    []gap     // that are over
	stalls  []float64 // seconds without a picture on a stream that went on
}

// gap is how long an onlooker saw nothing because a stream had ended.
type gap struct {
	edge   string // which the stream ended at
	why    string
	began  time.Time
	lasted time.Duration
}

func newAudience(c *cluster, seed uint64) *audience {
	return &audience{cluster: c, front: startFront(c), offer: tlsOffer(), pixels: newBlock(seed), picture: newDelays()}
}

// come lets one onlooker for each of the sessions come, atOnce at a time, spread
// over the edges, and waits until each has its first picture.
func (a *audience) come(ctx context.Context, sessions []string) error {
	looking, leave := context.WithCancel(context.WithoutCancel(ctx))
	a.leave = leave
	return inParallel(ctx, atOnce, len(sessions), func(ctx context.Context, i int) error {
		o, err := newOnlooker(a, sessions[i], i%len(a.cluster.edges))
		if err != nil {
			return err
		}
		a.mu.Lock()
		a.all = append(a.all, o)
		a.mu.Unlock()
		a.going.Go(func() { o.run(looking) })
		return a.until(ctx, "viewers see nothing", func() bool { return o.sees() })
	})
}

// until waits for something that viewers do; only a minute without it is an
// error.
func (a *audience) until(ctx context.Context, what string, is func() bool) error {
	for end := time.Now().Add(time.Minute); !is(); {
		if err := a.fault(); err != nil {
			return err
		}
		if time.Now().After(end) {
			a.mu.Lock()
			defer a.mu.Unlock()
			return fmt.Errorf("%s; the last attempt: %w", what, a.last)
		}
		if !sleep(ctx, 2*time.Millisecond) {
			return context.Cause(ctx)
		}
	}
	return nil
}

// allSee waits until every one of them has had a picture since then.
func (a *audience) allSee(ctx context.Context, since time.Time) error {
	for _, o := range a.all {
		if err := a.until(ctx, "not all viewers see something again", func() bool { return o.seesSince(since) }); err != nil {
			return err
		}
	}
	return nil
}

// fault is the first wrong byte.
func (a *audience) fault() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.wrong
}

// close lets all leave and waits.
func (a *audience) close() {
	if a.leave != nil {
		a.leave()
	}
	a.going.Wait()
	a.front.close()
}

// takeGaps are those since the last call, and the stalls.
func (a *audience) takeGaps() (gaps []gap, stalls []float64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	gaps, stalls = a.gaps, a.stalls
	a.gaps, a.stalls = nil, nil
	return gaps, stalls
}

// takePictures is how long first pictures took since the last call.
func (a *audience) takePictures() *delays {
	a.mu.Lock()
	defer a.mu.Unlock()
	d := a.picture
	a.picture = newDelays()
	return d
}

// perEdge is how many of them each edge has now.
func (a *audience) perEdge() []int {
	n := make([]int, len(a.cluster.edges))
	for _, o := range a.all {
		o.mu.Lock()
		if o.at >= 0 {
			n[o.at]++
		}
		o.mu.Unlock()
	}
	return n
}

func (a *audience) firstPicture(after time.Duration) {
	a.opens.Add(1)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.picture.add(after)
}

func (a *audience) found(wrong error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.wrong == nil {
		a.wrong = wrong
	}
}

// gapsOf is their times in order.
func gapsOf(gaps []gap) *delays {
	d := newDelays()
	for _, g := range gaps {
		d.add(g.lasted)
	}
	return d
}

// endings counts how streams ended, the commonest first.
func endings(gaps []gap) []string {
	counts := map[string]int{}
	for _, g := range gaps {
		counts[g.edge+": "+g.why]++
	}
	words := slices.SortedFunc(maps.Keys(counts), func(a, b string) int { return cmp.Or(counts[b]-counts[a], strings.Compare(a, b)) })
	var lines []string
	for _, why := range words[:min(len(words), mostEndings)] {
		lines = append(lines, fmt.Sprintf("%d streams ended at %s", counts[why], why))
	}
	return lines
}

const mostEndings = 8 // that are told; beyond are rarities
