package session

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
)

func restartLost(o *Options) { o.RestartLost = true }

// skewed is a Store in which another edge writes whose clock is off.
type skewed struct {
	store.Store
	off time.Duration
}

func (k *skewed) as(s *store.Session) *store.Session {
	if s != nil {
		s.UpdatedAt = s.UpdatedAt.Add(k.off)
	}
	return s
}

// seen has change see rows as all else sees them.
func (k *skewed) seen(change func(*store.Session) error) func(*store.Session) error {
	return func(s *store.Session) error { return change(k.as(s)) }
}

func (k *skewed) Session(ctx context.Context, id string) (*store.Session, error) {
	s, err := k.Store.Session(ctx, id)
	return k.as(s), err
}

func (k *skewed) Sessions(ctx context.Context, f store.SessionFilter) ([]*store.Session, string, error) {
	page, next, err := k.Store.Sessions(ctx, f)
	for _, s := range page {
		k.as(s)
	}
	return page, next, err
}

func (k *skewed) UpdateSession(ctx context.Context, id string, change func(*store.Session) error) (*store.Session, error) {
	s, err := k.Store.UpdateSession(ctx, id, k.seen(change))
	return k.as(s), err
}

func (k *skewed) PlaceSession(ctx context.Context, id string, fits store.Fits, change func(*store.Session) error) (*store.Session, error) {
	s, err := k.Store.PlaceSession(ctx, id, fits, k.seen(change))
	return k.as(s), err
}

func (k *skewed) AdmitSession(ctx context.Context, s *store.Session, key string, a store.Admission) (*store.Session, bool, error) {
	stored, created, err := k.Store.AdmitSession(ctx, s, key, a)
	return k.as(stored), created, err
}

// TestALeaseIsOverBeforeTheSessionIsStartedElsewhere, whatever the session was
// doing when its agent was cut off.
func TestALeaseIsOverBeforeTheSessionIsStartedElsewhere(t *testing.T) {
	for _, c := range []struct {
		name  string
		after time.Duration // from its creation to the cut
		state store.State
	}{{"running", time.Minute, store.Running}, {"starting", time.Second, store.Starting}} {
		for _, lostAfter := range []time.Duration{0, time.Second, time.Minute, 24 * time.Hour} {
			t.Run(c.name+" "+lostAfter.String(), func(t *testing.T) {
				inCluster(t, 3, func(o *Options) { o.RestartLost, o.LostAfter = true, lostAfter }, func(t *testing.T, k *cluster) {
					cutOff := k.join("a", k.edges[:2])
					cutOff.slow = 5 * time.Second
					pass(time.Minute) // the edges have seen the store
					s := k.create(k.edges[2])
					pass(c.after)
					k.want(s.ID, c.state, "")
					other := k.join("b", k.edges[1:])
					var longest time.Duration
					for _, e := range k.edges {
						lease := e.m.Lease()
						if lease <= 2*5*time.Second {
							t.Errorf("%s: a lease of %v bears no missed beat of a tunnel", e.id, lease)
						}
						longest = max(longest, lease)
					}
					k.dropAll(cutOff)
					pass(longest + leaseMargin - time.Second)
					if got := k.runs(other); len(got) > 0 {
						t.Errorf("%v was started elsewhere %v after its agent was cut off, whose lease is %v", got, longest+leaseMargin-time.Second, longest)
					}
					pass(time.Minute + longest/leaseDrift*2)
					if got := k.runs(other); !slices.Equal(got, []string{s.ID}) {
						t.Errorf("the other agent runs %v", got)
					}
				})
			})
		}
	}
}

func TestALeaseIsGivenOnlyWhereSessionsAreStartedAgain(t *testing.T) {
	inCluster(t, 1, nil, func(t *testing.T, c *cluster) {
		pass(time.Minute)
		if got := c.edges[0].m.Lease(); got != 0 {
			t.Errorf("a lease of %v, want none: what failed is not started again", got)
		}
	})
	inWorld(t, func(t *testing.T, w *world) {
		w.m.o.RestartLost, w.m.limits.restartLost = true, true
		if got, want := w.m.Lease(), 10*time.Minute-leaseMargin-10*time.Minute/leaseDrift; got != want {
			t.Errorf("a lease of %v of the only edge, want %v", got, want)
		}
	})
}

// TestAnEdgeVouchesForNoLongerThanTheOthersKnowOfItsAgents: one that is cut off
// with an agent from all others would else keep alive what they start again.
func TestAnEdgeVouchesForNoLongerThanTheOthersKnowOfItsAgents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := openStore(t)
		c := &cluster{t: t, store: shared, hosts: map[string]*hostInCluster{}}
		f := &fuse{Store: shared, left: -1}
		var announced time.Time
		e := c.start("edge-0", func(o *Options) {
			o.Store, o.RestartLost, o.Announced = f, true, func() time.Time { return announced }
		})
		if got := e.m.Lease(); got > 0 {
			t.Errorf("a lease of %v of an edge that has not seen the store yet", got)
		}
		pass(time.Minute)
		full := e.m.limits.lostAfter - leaseMargin - e.m.limits.lostAfter/leaseDrift
		if got := e.m.Lease(); got > full || got < full-2*recheckEvery {
			t.Errorf("a lease of %v, want %v less the age of what it knows", got, full)
		}
		f.mend(0)
		pass(time.Minute)
		if got := e.m.Lease(); got > full-time.Minute {
			t.Errorf("a lease of %v a minute after the store was lost", got)
		}
		pass(full)
		if got := e.m.Lease(); got >= 0 {
			t.Errorf("a lease of %v of an edge that knows nothing any more", got)
		}
		announced = time.Now() // Redis is there
		if got := e.m.Lease(); got != full {
			t.Errorf("a lease of %v while the others see it, want %v", got, full)
		}
		f.mend(-1)
		c.close(t)
	})
}

// TestASessionThatItsAgentEndedInTimeIsStartedAgain, also when the agent is back
// first.
func TestASessionThatItsAgentEndedInTimeIsStartedAgain(t *testing.T) {
	inCluster(t, 3, restartLost, func(t *testing.T, c *cluster) {
		h := c.join("a", c.edges[:1])
		s := c.create(c.edges[2])
		pass(time.Minute)
		c.mu.Lock()
		generation := h.homes[c.edges[0]]
		delete(h.running, s.ID)
		c.mu.Unlock()
		c.edges[0].m.AgentState(h.agent.ID, generation, Observed{Session: s.ID, State: ObservedFailed, Reason: "it heard of no edge", Lost: true})
		pass(time.Minute)
		c.want(s.ID, store.Running, "")
		c.checkQuiet()
	})
}

// TestTheClocksOfOtherEdgesDoNotCount where a wait of this one depends on when a
// row was written.
func TestTheClocksOfOtherEdgesDoNotCount(t *testing.T) {
	for _, off := range []time.Duration{-time.Hour, time.Hour} {
		t.Run(off.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &cluster{t: t, store: &skewed{openStore(t), off}, hosts: map[string]*hostInCluster{}}
				for _, id := range []string{"edge-0", "edge-1"} {
					c.start(id, restartLost)
				}
				synctest.Wait()
				lost := c.join("a", c.edges[:1])
				s := c.create(c.edges[1])
				other := c.join("b", c.edges)
				pass(time.Minute)
				c.dropAll(lost)
				pass(10*time.Minute - time.Second)
				if got := c.runs(other); len(got) > 0 {
					t.Errorf("%v was started elsewhere too early", got)
				}
				pass(10 * time.Second)
				if got := c.runs(other); !slices.Equal(got, []string{s.ID}) {
					t.Errorf("the other agent runs %v", got)
				}

				other.slow = time.Hour
				stuck := c.create(c.edges[1])
				pass(time.Minute - time.Second)
				c.want(stuck.ID, store.Starting, "")
				pass(2 * time.Second)
				c.want(stuck.ID, store.Failed, "did not start within 1m0s")
				c.close(t)
			})
		})
	}
}
