package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"sync"
	"time"
)

// onlooker is one of an audience.
type onlooker struct {
	audience *audience
	session  string
	web      *http.Client // of its own cookies
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

// newOnlooker keeps cookies as a browser does, for an address whatever its port.
func newOnlooker(a *audience, session string, entry int) (*onlooker, error) {
	cookies, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	web := *a.cluster.web
	web.Jar = cookies
	return &onlooker{audience: a, session: session, web: &web, entry: entry, at: -1}, nil
}

// cookies are those that go to an edge.
func (o *onlooker) cookies(e *clusterEdge) ([]*http.Cookie, error) {
	u, err := url.Parse(o.audience.cluster.url(e))
	if err != nil {
		return nil, err
	}
	return o.web.Jar.Cookies(u), nil
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
	edge := o.audience.cluster.edges[at]
	cookies, err := o.cookies(edge)
	if err != nil {
		return 0, o.failed(err)
	}
	d := door{Address: edge.address, TLS: true, Tickets: []string{ticket.Token}, Cookies: cookies}
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
		err = o.audience.cluster.callBy(ctx, o.web, o.audience.cluster.edges[at], method, "/api/v1/sessions/"+o.session+of, body, result)
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
