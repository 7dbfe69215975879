package bench

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
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

// onlooker is one of them.
type onlooker struct {
	audience *audience
	session  string
	backoff  backoff

	mu    sync.Mutex
	entry int       // of the edges: where its connections go
	at    int       // where its stream is; -1: it has none that shows something
	ended time.Time // its last stream; zero: it has had none
	left  int       // where that was
	why   string    // it ended
	shown time.Time // its last picture
}

// The page's waits, as api/console/web has them.
const (
	shortestWait = 250 * time.Millisecond
	longestWait  = 10 * time.Second
	settledAfter = 5 * time.Second        // a stream that lived as long lets the waits begin anew
	handOverWait = 100 * time.Millisecond // at most, after 1012 on a stream that showed something: the edge has spread its viewers itself
	startingWait = 250 * time.Millisecond // between two looks at a session that starts
)

const closeServiceRestart = 1012 // RFC 6455's registry: the edge leaves, come again

// stalled is how long a stream may show nothing beyond its beat before that
// counts as a stall.
const stalled = 500 * time.Millisecond

// backoff is the page's: waits that double, each spread over its upper half. The
// zero value begins with the shortest.
type backoff struct{ wait time.Duration }

func (b *backoff) next() time.Duration {
	wait := max(b.wait, shortestWait)
	b.wait = min(2*wait, longestWait)
	return wait/2 + rand.N(wait/2)
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
		o := &onlooker{audience: a, session: sessions[i], entry: i % len(a.cluster.edges), at: -1}
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

func (o *onlooker) sees() bool { return o.seesSince(time.Time{}) }

func (o *onlooker) seesSince(t time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.at >= 0 && o.shown.After(t)
}

// run looks until ctx ends.
func (o *onlooker) run(ctx context.Context) {
	for ctx.Err() == nil {
		lived, err := o.attempt(ctx)
		if ctx.Err() != nil {
			return
		}
		if !sleep(ctx, o.pause(lived, err)) {
			return
		}
	}
}

// errStarting is a session that does not run yet.
var errStarting = errors.New("the session does not run yet")

// attempt is one try to look: the session, a ticket, a stream. It returns why that
// ended and how long there was a picture.
func (o *onlooker) attempt(ctx context.Context) (lived time.Duration, err error) {
	began := time.Now()
	var session struct{ State, Reason string }
	if err := o.ask(ctx, "GET", "", &session); err != nil {
		return 0, o.failed(err)
	}
	if session.State != "running" {
		if session.State == "pending" || session.State == "starting" {
			return 0, errStarting
		}
		return 0, o.failed(fmt.Errorf("session %s is %s: %s", o.session, session.State, session.Reason))
	}
	var ticket struct{ Token string }
	if err := o.ask(ctx, "POST", "/vnc", &ticket); err != nil {
		return 0, o.failed(err)
	}
	at := o.entryNow()
	d := door{Address: o.audience.cluster.edges[at].address, TLS: true, Tickets: []string{ticket.Token}}
	v, err := connect(ctx, d, o.audience.offer, 0, o.audience.pixels)
	if err != nil {
		if !answered(err) {
			o.elsewhere(at)
		}
		return 0, o.failed(err)
	}
	return o.show(ctx, v, at, began)
}

// answered tells whether there was an edge that said something.
func answered(err error) bool {
	var said *closedWith
	return errors.As(err, &said) || errors.Is(err, errRefused)
}

func (o *onlooker) failed(err error) error {
	o.audience.refused.Add(1)
	o.audience.mu.Lock()
	defer o.audience.mu.Unlock()
	o.audience.last = err
	return err
}

// ask makes a request of the API. Where an edge can't be reached it goes to
// another one, as what stands before them would have it.
func (o *onlooker) ask(ctx context.Context, method, of string, result any) (err error) {
	var body any
	if method == "POST" {
		body = map[string]string{"mode": "control"}
	}
	for range o.audience.cluster.edges {
		at := o.entryNow()
		err = o.audience.cluster.call(ctx, o.audience.cluster.edges[at], method, "/api/v1/sessions/"+o.session+of, body, result)
		var said *refusal
		if err == nil || ctx.Err() != nil || errors.As(err, &said) {
			return err
		}
		o.elsewhere(at)
	}
	return err
}

func (o *onlooker) entryNow() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.entry = o.audience.front.choose(o.entry)
	return o.entry
}

// elsewhere sends what comes next to another edge than at.
func (o *onlooker) elsewhere(at int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.entry = o.audience.front.other(at)
}

// show looks at a stream until it ends.
func (o *onlooker) show(ctx context.Context, v *viewer, at int, began time.Time) (lived time.Duration, err error) {
	defer func() { _ = v.plain.Close() }()
	stop := context.AfterFunc(ctx, func() { v.bye(leaveLimit) })
	defer stop()
	var first time.Time
	v.check.update = func(uint32, uint32, int) {
		now := time.Now()
		if first.IsZero() {
			first = now
			o.audience.firstPicture(now.Sub(began))
		}
		o.pictured(at, now)
	}
	if err = v.order(keyStart); err == nil {
		err = v.wire.pump(func(p []byte) error {
			o.audience.bytes.Add(int64(len(p)))
			if err := v.check.check(p); err != nil {
				return &wrongBytes{err}
			}
			return nil
		})
	}
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	if wrong, ok := errors.AsType[*wrongBytes](err); ok {
		o.audience.found(fmt.Errorf("a viewer of session %s at %s: WRONG BYTES: %w", o.session, o.audience.cluster.edges[at].name, wrong))
	}
	if first.IsZero() {
		return 0, o.failed(err)
	}
	o.lost(at, err)
	return time.Since(first), err
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

// pictured notes a picture: a gap is over, or there was none.
func (o *onlooker) pictured(at int, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	a := o.audience
	switch silent := now.Sub(o.shown); {
	case o.at < 0 && !o.ended.IsZero():
		a.mu.Lock()
		a.gaps = append(a.gaps, gap{edge: a.cluster.edges[o.left].name, why: o.why, began: o.ended, lasted: now.Sub(o.ended)})
		a.mu.Unlock()
	case o.at >= 0 && silent > tickPause+stalled:
		a.mu.Lock()
		a.stalls = append(a.stalls, (silent - tickPause).Seconds())
		a.mu.Unlock()
	}
	o.at, o.shown = at, now
}

func (o *onlooker) lost(at int, why error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.at, o.left, o.ended, o.why = -1, at, time.Now(), why.Error()
}

// pause is how long the page waits after an attempt that ended like this; lived is
// 0 when it has shown nothing.
func (o *onlooker) pause(lived time.Duration, why error) time.Duration {
	if lived >= settledAfter {
		o.backoff = backoff{}
	}
	var said *closedWith
	switch {
	case errors.Is(why, errStarting):
		return startingWait
	case errors.As(why, &said) && said.code == closeServiceRestart && lived > 0:
		return rand.N(handOverWait)
	default:
		return o.backoff.next()
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

// takePictures is how long first pictures took since the last call.
func (a *audience) takePictures() *delays {
	a.mu.Lock()
	defer a.mu.Unlock()
	d := a.picture
	a.picture = newDelays()
	return d
}
