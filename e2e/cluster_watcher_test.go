package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/streamspace-dev/streamspace-edge/e2e/chaos"
)

// watcher is a person at a console: a viewer who checks every byte and, when a
// stream ends, comes again by itself as the page does, at the same edge or, when
// that has gone, at the one that the address in front leads to.
type watcher struct {
	f      *fleet
	front  *front
	number int
	id     string
	page   *pageMimic

	mu      sync.Mutex
	at      int // the edge
	home    int // the one at which it began
	move    func()
	seed    uint64
	rounds  int // echoes so far
	isOpen  bool
	endings []ending
	gaps    []chaos.Gap
	missing chaos.Gap // the gap that lasts; without From: none
	wrong   error     // the first stream with wrong bytes
}

// ending is how a stream ended that had shown something.
type ending struct {
	at   int    // the edge
	told string // "1012 node_draining", "-1 …" without a close frame
}

// audience is all the watchers of a test.
type audience struct {
	t        *testing.T
	watchers []*watcher
	front    *front
	leave    context.CancelFunc
	owner    sync.WaitGroup
}

// watch has the plan's viewers look at the consoles, from all edges in turn, and
// waits until all see theirs.
func (f *fleet) watch(d desktops) *audience {
	f.t.Helper()
	ctx, leave := context.WithCancel(context.Background())
	a := &audience{t: f.t, leave: leave, front: startFront(f.doors)}
	policy := readPolicy(f.t)
	for i := range f.plan.viewers {
		s := d.consoles[i%len(d.consoles)]
		home := (i + i/len(d.consoles)) % len(f.edges)
		w := &watcher{f: f, front: a.front, number: i, id: s.ID, at: home, home: home, seed: uint64(i) << 24, page: newPageMimic(policy, uint64(i))}
		a.watchers = append(a.watchers, w)
		a.owner.Go(func() { w.run(ctx) })
		time.Sleep(5 * time.Millisecond) // people do not come all at once
	}
	f.t.Cleanup(a.end)
	a.allSee()
	return a
}

// end has all leave. No stream may have had a wrong byte.
func (a *audience) end() {
	a.leave()
	a.owner.Wait()
	a.front.close()
	for _, w := range a.watchers {
		if w.wrong != nil {
			a.t.Errorf("a viewer of %s: %v", w.id, w.wrong)
		}
		w.wrong = nil
	}
}

// allSee waits until every watcher has had an answer to something that was sent
// from now on.
func (a *audience) allSee() {
	a.t.Helper()
	before := make([]int, len(a.watchers))
	for i, w := range a.watchers {
		_, before[i], _ = w.now()
	}
	for i, w := range a.watchers {
		eventually(a.t, "every viewer sees its console", func() error {
			if at, rounds, endings := w.now(); rounds < before[i]+2 {
				return fmt.Errorf("the one of %s, now at edge %d, does not; it was told %v", w.id, at+1, endings)
			}
			return nil
		})
	}
}

func (w *watcher) now() (at, rounds int, endings []ending) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at, w.rounds, slices.Clone(w.endings)
}

// spread has every watcher at the edge at which it began, as those who come anew
// are spread over all edges, and waits until all see.
func (a *audience) spread() {
	a.t.Helper()
	eventually(a.t, "the viewers have moved", func() (err error) {
		for _, w := range a.watchers {
			w.mu.Lock()
			if w.at != w.home {
				err = fmt.Errorf("the one of %s is at edge %d", w.id, w.at+1)
				w.move()
			}
			w.mu.Unlock()
		}
		return err
	})
	a.allSee()
}

// errMoved ends a stream for another edge.
var errMoved = errors.New("moved")

// run looks until ctx ends.
func (w *watcher) run(ctx context.Context) {
	defer w.page.client.CloseIdleConnections()
	for ctx.Err() == nil {
		at, rounds, _ := w.now()
		looking, move := context.WithCancelCause(ctx)
		w.mu.Lock()
		w.move = func() { move(errMoved) }
		w.mu.Unlock()
		lived, err := w.look(looking, w.f.doors[at])
		moved := errors.Is(context.Cause(looking), errMoved)
		move(nil)
		if ctx.Err() != nil {
			return
		}
		if moved {
			w.mu.Lock()
			w.at, w.isOpen, w.missing = w.home, false, chaos.Gap{}
			w.seed++
			w.mu.Unlock()
			continue
		}
		code, reason := closeOf(err)
		word, _, _ := strings.Cut(reason, ": ")
		w.mu.Lock()
		w.isOpen = false
		told := fmt.Sprint(int(code), " ", word)
		w.misses(at, time.Now(), told)
		if w.rounds > rounds {
			w.endings = append(w.endings, ending{at, told})
		}
		if errors.Is(err, errWrongBytes) && w.wrong == nil {
			w.wrong = err
		}
		if code < 4400 { // this edge is gone, or leaving
			w.at = w.front.after(at)
		}
		w.seed++
		w.mu.Unlock()
		w.page.pause(ctx, word, err, lived)
	}
}

// misses notes that there is no picture since then. The caller holds w.mu.
func (w *watcher) misses(at int, since time.Time, told string) {
	if w.missing.From.IsZero() {
		w.missing = chaos.Gap{Viewer: w.number, At: edgeName(at), Told: told, From: since}
	} else if w.missing.Told == "" {
		w.missing.Told = told
	}
}

// stoodStill is for how long a stream may be silent without being noticed.
const stoodStill = 250 * time.Millisecond

// sees notes that there is a picture. The caller holds w.mu.
func (w *watcher) sees() {
	gap := w.missing
	w.missing = chaos.Gap{}
	if gap.From.IsZero() {
		return
	}
	if gap.Took = time.Since(gap.From); gap.Told != "" || gap.Took > stoodStill {
		w.gaps = append(w.gaps, gap)
	}
}

// look opens one stream and uses it until it ends. lived is how long it had a
// picture.
func (w *watcher) look(ctx context.Context, in *installation) (lived time.Duration, err error) {
	ctx, leave := context.WithCancelCause(ctx)
	defer leave(nil)
	ticket, err := w.page.ticket(ctx, in, w.id)
	if err != nil {
		return 0, err
	}
	dead := time.AfterFunc(w.page.silence, func() { leave(errSilent) })
	defer dead.Stop()
	heard := func() { dead.Reset(w.page.silence) }
	viewer, err := w.open(ctx, in, ticket)
	if err == nil {
		began := time.Now()
		heard()
		err = w.use(viewer, heard)
		lived = time.Since(began)
	}
	if errors.Is(context.Cause(ctx), errSilent) {
		err = errSilent
	}
	return lived, err
}

// open returns a stream that has shown its picture.
func (w *watcher) open(ctx context.Context, in *installation, ticket string) (net.Conn, error) {
	viewer, err := in.dial(ctx, ctx, ticket)
	if err != nil {
		return nil, err
	}
	err = sayHello(viewer, w.seed)
	if err == nil {
		err = readRest(viewer, w.seed, w.f.plan.picture)
	}
	if err != nil {
		_ = viewer.Close()
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.isOpen = true
	w.sees()
	return viewer, nil
}

// use sends a line at the plan's pace once the one before has come back, and
// tells heard of each that has. It returns why the stream has ended.
func (w *watcher) use(viewer net.Conn, heard func()) error {
	ended := make(chan struct{})
	back := make(chan struct{}, 1)
	var sender sync.WaitGroup
	sender.Go(func() { w.send(viewer, back, ended) })
	defer func() {
		close(ended)
		_ = viewer.Close() // or else a sender that is stuck stays so
		sender.Wait()
	}()
	for n := 0; ; n++ {
		if err := wantText(viewer, w.line(n)); err != nil {
			return err
		}
		heard()
		w.mu.Lock()
		w.rounds++
		w.sees()
		w.mu.Unlock()
		back <- struct{}{}
	}
}

// send ends with the stream.
func (w *watcher) send(viewer net.Conn, back, ended chan struct{}) {
	for n := 0; ; n++ {
		w.mu.Lock()
		w.misses(w.at, time.Now(), "")
		w.mu.Unlock()
		if _, err := viewer.Write(w.line(n)); err != nil {
			return
		}
		select {
		case <-back:
		case <-ended:
			return
		}
		select {
		case <-time.After(w.f.plan.pace):
		case <-ended:
			return
		}
	}
}

func (w *watcher) line(n int) []byte { return fmt.Appendf(nil, "line %d of stream %d", n, w.seed) }
