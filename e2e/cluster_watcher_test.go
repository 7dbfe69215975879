package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// watcher is a person at a console: a viewer who checks every byte and, when a
// stream ends, comes again by itself with a fresh ticket, as the page does, at
// the same edge or at the next one when that does not answer.
type watcher struct {
	f  *fleet
	id string

	mu      sync.Mutex
	at      int // the edge
	seed    uint64
	rounds  int // echoes so far
	endings []ending
	wrong   error // the first stream with wrong bytes
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
	leave    context.CancelFunc
	owner    sync.WaitGroup
}

// watch has a watcher at every edge look at each console, two by the agent's
// tunnels and one by a hop, and waits until all see it.
func (f *fleet) watch(d desktops) *audience {
	f.t.Helper()
	ctx, leave := context.WithCancel(context.Background())
	a := &audience{t: f.t, leave: leave}
	for i, s := range d.consoles {
		for j := range f.edges {
			w := &watcher{f: f, id: s.ID, at: j, seed: uint64(i)<<32 | uint64(j)<<16}
			a.watchers = append(a.watchers, w)
			a.owner.Go(func() { w.run(ctx) })
		}
	}
	f.t.Cleanup(a.end)
	a.allSee()
	return a
}

// end has all leave. No stream may have had a wrong byte.
func (a *audience) end() {
	a.leave()
	a.owner.Wait()
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
	for _, w := range a.watchers {
		_, before, _ := w.now()
		eventually(a.t, "every viewer sees its console", func() error {
			if at, rounds, endings := w.now(); rounds < before+2 {
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

// run looks until ctx ends.
func (w *watcher) run(ctx context.Context) {
	for ctx.Err() == nil {
		at, rounds, _ := w.now()
		err := w.look(ctx, w.f.edges[at])
		if ctx.Err() != nil {
			return
		}
		code, reason := closeOf(err)
		word, _, _ := strings.Cut(reason, ": ")
		w.mu.Lock()
		if w.rounds > rounds {
			w.endings = append(w.endings, ending{at, fmt.Sprint(int(code), " ", word)})
		}
		if errors.Is(err, errWrongBytes) && w.wrong == nil {
			w.wrong = err
		}
		if code < 4400 { // this edge is gone, or leaving
			w.at = (at + 1) % len(w.f.edges)
		}
		w.seed++
		w.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// look opens one stream and uses it until it ends.
func (w *watcher) look(ctx context.Context, in *installation) error {
	opening, cancel := context.WithTimeout(ctx, patience/3)
	defer cancel()
	status, answer, err := in.try("POST", "/api/v1/sessions/"+w.id+"/vnc", map[string]string{"mode": "control"}, nil)
	if err != nil {
		return err
	}
	var ticket struct{ Token string }
	if err := json.Unmarshal(answer, &ticket); err != nil || status != http.StatusOK {
		return fmt.Errorf("no ticket: %d %s", status, answer)
	}
	viewer, err := in.dial(ctx, opening, ticket.Token)
	if err != nil {
		return err
	}
	defer viewer.Close()
	if err := sayHello(viewer, w.seed); err != nil {
		return err
	}
	if err := readRest(viewer, w.seed, consoleBytes); err != nil {
		return err
	}
	for n := 0; ; n++ {
		if err := echo(viewer, fmt.Appendf(nil, "line %d of stream %d", n, w.seed)); err != nil {
			return err
		}
		w.mu.Lock()
		w.rounds++
		w.mu.Unlock()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}
