package session

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// wrongClock is the Store as an edge sees it whose clock is ahead of the Store's
// by off: to it all instants in rows are so much earlier.
type wrongClock struct {
	store.Store
	off time.Duration
}

func (w *wrongClock) ClockAhead() time.Duration { return -w.off }

func moved(s *store.Session, by time.Duration) *store.Session {
	if s == nil {
		return nil
	}
	row := *s
	for _, at := range []*time.Time{&row.CreatedAt, &row.LastActivity, &row.ExpiresAt, &row.EndsAt, &row.Refusals.NotBefore} {
		if !at.IsZero() {
			*at = at.Add(by)
		}
	}
	return &row
}

func (w *wrongClock) Session(ctx context.Context, id string) (*store.Session, error) {
	s, err := w.Store.Session(ctx, id)
	return moved(s, -w.off), err
}

func (w *wrongClock) Sessions(ctx context.Context, f store.SessionFilter) ([]*store.Session, string, error) {
	page, next, err := w.Store.Sessions(ctx, f)
	for i, s := range page {
		page[i] = moved(s, -w.off)
	}
	return page, next, err
}

func (w *wrongClock) UpdateSession(ctx context.Context, id string, change func(*store.Session) error) (*store.Session, error) {
	return w.PlaceSession(ctx, id, nil, change)
}

func (w *wrongClock) PlaceSession(ctx context.Context, id string, fits store.Fits, change func(*store.Session) error) (*store.Session, error) {
	s, err := w.Store.PlaceSession(ctx, id, fits, func(row *store.Session) error {
		seen := moved(row, -w.off)
		err := change(seen)
		*row = *moved(seen, w.off)
		return err
	})
	return moved(s, -w.off), err
}

func (w *wrongClock) AdmitSession(ctx context.Context, s *store.Session, key string, a store.Admission) (*store.Session, bool, error) {
	stored, created, err := w.Store.AdmitSession(ctx, moved(s, w.off), key, a)
	return moved(stored, -w.off), created, err
}

// inTwoTimes runs a test against two edges, of which the second's clock is off.
func inTwoTimes(t *testing.T, test func(t *testing.T, c *cluster)) {
	for _, off := range []time.Duration{-time.Hour, time.Hour} {
		t.Run(off.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				shared := openStore(t)
				c := &cluster{t: t, store: shared, hosts: map[string]*hostInCluster{}}
				c.start("right", nil)
				c.start("wrong", func(o *Options) { o.Store = &wrongClock{shared, off} })
				synctest.Wait()
				test(t, c)
				c.close(t)
			})
		})
	}
}

// TestASessionLastsAsLongByAnyClock, whichever edge has made it and drives it.
func TestASessionLastsAsLongByAnyClock(t *testing.T) {
	for name, c := range map[string]struct{ makes, drives int }{"made right": {0, 1}, "made wrong": {1, 0}, "of the wrong one": {1, 1}} {
		t.Run(name, func(t *testing.T) {
			inTwoTimes(t, func(t *testing.T, k *cluster) {
				k.join("a", k.edges[c.drives:c.drives+1])
				began := time.Now()
				s := k.create(k.edges[c.makes], func(s *store.Session) { s.MaxDuration = 30 * time.Minute })
				if row := k.session(s.ID); row.CreatedAt.Sub(began).Abs() > time.Second {
					t.Errorf("the row says that it was made %v after it was", row.CreatedAt.Sub(began))
				}
				pass(30*time.Minute - endNotice + time.Second)
				k.want(s.ID, store.Running, "")
				if ends := k.session(s.ID).EndsAt; !ends.Equal(k.session(s.ID).ExpiresAt) || ends.Sub(began.Add(30*time.Minute)).Abs() > time.Second {
					t.Errorf("announced for %v from its beginning", ends.Sub(began))
				}
				pass(endNotice - 2*time.Second)
				k.want(s.ID, store.Running, "")
				pass(5 * time.Second)
				k.want(s.ID, store.Terminated, "max_duration")
			})
		})
	}
}

// TestUseCountsByAnyClock: it is at one edge, and the other drives and has it from
// the row alone.
func TestUseCountsByAnyClock(t *testing.T) {
	for name, c := range map[string]struct{ used, drives int }{"used right": {0, 1}, "used wrong": {1, 0}} {
		t.Run(name, func(t *testing.T) {
			inTwoTimes(t, func(t *testing.T, k *cluster) {
				k.join("a", k.edges[c.drives:c.drives+1])
				s := k.create(k.edges[c.used], func(s *store.Session) { s.IdleTimeout = 10 * time.Minute })
				pass(time.Second)
				k.setDeaf(true)
				for range 30 {
					pass(time.Minute)
					k.edges[c.used].m.Input(s.ID, time.Now())
					k.edges[c.drives].m.lookAnew(s.ID)
				}
				k.want(s.ID, store.Running, "")
				if last := k.session(s.ID).LastActivity; time.Since(last).Abs() > 2*time.Minute {
					t.Errorf("the row says that it was used %v ago", time.Since(last))
				}
				pass(8*time.Minute + 30*time.Second)
				k.want(s.ID, store.Running, "")
				pass(3 * time.Minute)
				k.want(s.ID, store.Terminated, "idle")
			})
		})
	}
}

// TestEndedSessionsAreKeptByTheStoresClock.
func TestEndedSessionsAreKeptByTheStoresClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &purges{Store: openStore(t)}
		m := New(Options{Store: &wrongClock{p, 1000 * time.Hour}, Coord: store.NewLocal(), Retention: 24 * time.Hour, Metrics: NewMetrics(prometheus.NewRegistry())})
		m.purge(t.Context())
		if want := time.Now().Add(-1024 * time.Hour); !p.before.Equal(want) {
			t.Errorf("what ended before %v is deleted, want %v", p.before, want)
		}
	})
}

type purges struct {
	store.Store
	before time.Time
}

func (p *purges) PurgeSessions(_ context.Context, before time.Time) (int, error) {
	p.before = before
	return 0, nil
}

// TestWhoSetsTheClockEndsNothingIdle: the wait for an idle end is of the
// monotonic clock, which a test can't part from the other.
func TestWhoSetsTheClockEndsNothingIdle(t *testing.T) {
	used := time.Now()
	s := &store.Session{State: store.Running, Endpoint: "127.0.0.1:5900", IdleTimeout: time.Hour, LastActivity: used.UTC().Truncate(time.Microsecond)}
	e := idleEnd(s, view{now: used.Add(time.Minute), used: used})
	if !strings.Contains(e.at.String(), "m=") {
		t.Errorf("the end %v has no monotonic clock reading", e.at)
	}
	if ends := here(used.Round(0), time.Now(), 0); !strings.Contains(ends.String(), "m=") {
		t.Errorf("the wait until %v has no monotonic clock reading", ends)
	}
}
