package session

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// TestSessionsThatRestAreNotReadWhenHomesChange: an edge that goes takes a home
// from many agents, each with many sessions.
func TestSessionsThatRestAreNotReadWhenHomesChange(t *testing.T) {
	inCluster(t, 3, nil, func(t *testing.T, c *cluster) {
		h := c.join("a", c.edges[:2])
		var all []*store.Session
		for range h.agent.Capacity {
			all = append(all, c.create(c.edges[0], idleAfter(time.Hour)))
		}
		before := c.store.(*memory).reads()
		c.connect(h, c.edges[2])
		c.drop(h, c.edges[0], false)
		c.kill(c.edges[0])
		c.kill(c.edges[1])
		if got := c.store.(*memory).reads() - before; got != 0 {
			t.Errorf("%d reads", got)
		}
		last := c.edges[2]
		if _, err := last.m.Stop(t.Context(), all[0].ID); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		c.want(all[0].ID, store.Terminated, "")
		pass(time.Hour + activityGrain) // by whom they are driven now
		for _, s := range all[1:] {
			c.want(s.ID, store.Terminated, "idle")
		}
		if ids := c.runs(h); len(ids) > 0 {
			t.Errorf("still there: %v", ids)
		}
	})
}

func TestOnlyAnAgentThatWasAwayIsToldToBeBack(t *testing.T) {
	inCluster(t, 2, nil, func(t *testing.T, c *cluster) {
		h := c.join("a", c.edges[:1])
		s := c.create(c.edges[0])
		var told atomic.Int64
		for _, e := range c.edges {
			events := e.own.Subscribe(t.Context())
			go func() {
				for e := range events {
					if e.AgentUp && e.ID == s.ID && !e.Remote {
						told.Add(1)
					}
				}
			}()
		}
		want := func(when string, n int64) {
			t.Helper()
			synctest.Wait()
			if got := told.Swap(0); got != n {
				t.Errorf("%s: told %d times, want %d", when, got, n)
			}
		}
		c.connect(h, c.edges[1])
		want("a second home", 0)
		c.drop(h, c.edges[0], false)
		c.connect(h, c.edges[0])
		want("the first one again", 0)
		c.dropAll(h)
		c.connect(h, c.edges[1])
		want("back after it was nowhere", 1)
	})
}

// TestAStopThatAnotherEdgeHasWrittenIsTakenIn: its event was lost, and the row at
// hand says that the session rests.
func TestAStopThatAnotherEdgeHasWrittenIsTakenIn(t *testing.T) {
	inCluster(t, 2, nil, func(t *testing.T, c *cluster) {
		h := c.join("a", c.edges[1:])
		s := c.create(c.edges[1])
		c.setDeaf(true)
		for _, e := range c.edges { // the second one's stop changes nothing
			if _, err := e.m.Stop(t.Context(), s.ID); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second) // for the agent, and less than until a recheck
		}
		c.want(s.ID, store.Terminated, "")
		if ids := c.runs(h); len(ids) > 0 {
			t.Errorf("still there: %v", ids)
		}
	})
}

// late answers the next read only when it is told to, with what was there when it
// was asked.
type late struct {
	store.Store
	one, list atomic.Bool // of these reads the next
	answer    chan struct{}
}

func (l *late) Session(ctx context.Context, id string) (*store.Session, error) {
	s, err := l.Store.Session(ctx, id)
	if l.one.CompareAndSwap(true, false) {
		<-l.answer
	}
	return s, err
}

func (l *late) Sessions(ctx context.Context, f store.SessionFilter) ([]*store.Session, string, error) {
	page, next, err := l.Store.Sessions(ctx, f)
	if l.list.CompareAndSwap(true, false) {
		<-l.answer
	}
	return page, next, err
}

// TestAWriteDuringALookIsNotForgotten: the look puts the older row, by which the
// session rests, in the place of the newer one.
func TestAWriteDuringALookIsNotForgotten(t *testing.T) {
	slow := &late{}
	inCluster(t, 1, func(o *Options) { slow.Store, o.Store = o.Store, slow }, func(t *testing.T, c *cluster) {
		slow.answer = make(chan struct{})
		h := c.join("a", c.edges)
		s := c.create(c.edges[0])
		m := c.edges[0].m
		slow.one.Store(true)
		m.lookAnew(s.ID)
		synctest.Wait()
		if _, err := m.Stop(t.Context(), s.ID); err != nil {
			t.Fatal(err)
		}
		close(slow.answer)
		time.Sleep(time.Second) // for the agent, and less than until a recheck
		c.want(s.ID, store.Terminated, "")
		if len(c.runs(h)) > 0 {
			t.Error("its agent still has it")
		}
	})
}

// TestAnEndDuringARereadIsNotForgotten: the list has the session as it was, and
// its record is gone when the list comes.
func TestAnEndDuringARereadIsNotForgotten(t *testing.T) {
	slow := &late{}
	lastIsSlow := func(o *Options) { slow.Store, o.Store = o.Store, slow }
	inCluster(t, 1, nil, func(t *testing.T, c *cluster) {
		slow.answer = make(chan struct{})
		onlooker := c.start("edge-1", lastIsSlow)
		c.join("a", c.edges[:1])
		s := c.create(c.edges[0])
		c.setDeaf(true)
		_, err := c.store.UpdateSession(t.Context(), s.ID, func(s *store.Session) error { s.LastActivity = time.Now(); return nil })
		if err != nil {
			t.Fatal(err)
		}
		c.setDeaf(false)
		slow.list.Store(true)
		onlooker.m.outdated <- struct{}{}
		synctest.Wait()
		if _, err := onlooker.m.Stop(t.Context(), s.ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		c.want(s.ID, store.Terminated, "")
		close(slow.answer)
		synctest.Wait()
		if onlooker.m.running(s.ID) != nil {
			t.Error("it is taken for running")
		}
	})
}
