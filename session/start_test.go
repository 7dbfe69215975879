package session

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// TestAStartThatWasTakenEndsInTime: its agent has taken it and says nothing more.
func TestAStartThatWasTakenEndsInTime(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.set(w.join("a"), mood{silent: true})
		s := w.create(func(s *store.Session) { s.MaxDuration = 20 * time.Second })
		pass(10 * time.Second)
		if got := w.session(s.ID).EndsBecause; got != store.EndsMaxDuration {
			t.Errorf("its end is announced as %q", got)
		}
		pass(10 * time.Second)
		if got := w.session(s.ID); got.Desired != store.Terminated {
			t.Errorf("it is %s at the end of its max_duration", got.State)
		}
	})
}

// TestAStartThatIsTakenAfterADoubtIsToldNoMore, and has not failed for want of an
// answer.
func TestAStartThatIsTakenAfterADoubtIsToldNoMore(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		h := w.join("a")
		w.set(h, mood{stuck: true})
		s := w.create()
		pass(commandTimeout / 2)
		w.set(h, mood{silent: true})
		pass(2 * commandTimeout)
		w.want(s.ID, store.Starting, "")
		pass(time.Minute)
		w.want(s.ID, store.Failed, "the desktop did not start within")
		if h.starts != 1 {
			t.Errorf("it was told %d times after it had answered", h.starts)
		}
	})
}

// TestAStartThatItsAgentLeftBeforeGoesElsewhereAtOnce: it left as the session was
// about to be told to it.
func TestAStartThatItsAgentLeftBeforeGoesElsewhereAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fuse{Store: openStore(t), left: -1}
		w := newWorld(t, f)
		w.run()
		synctest.Wait()
		h := w.join("a")
		w.set(h, mood{stuck: true})
		goesOn := make(chan struct{})
		f.at = func(done bool) {
			if !done {
				f.mend(-1)
				<-goesOn
			}
		}
		f.mend(2) // it is stored, then it is starting
		s := w.create()
		w.want(s.ID, store.Pending, "")
		other := w.join("b")
		w.leave(h)
		pass(time.Second)
		close(goesOn)
		pass(time.Second)
		w.want(s.ID, store.Running, "")
		if got := w.runs(other); !slices.Equal(got, []string{s.ID}) {
			t.Errorf("the other agent runs %v", got)
		}
		w.end()
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestWhoTakesOverCountsFromTheLatestStart: it has missed that the session was lost,
// as it ran or before, and is started at the same agent again.
func TestWhoTakesOverCountsFromTheLatestStart(t *testing.T) {
	for _, ran := range []bool{true, false} {
		t.Run(fmt.Sprintf("it ran %v", ran), func(t *testing.T) {
			inCluster(t, 2, func(o *Options) { o.RestartLost = true }, func(t *testing.T, c *cluster) {
				h := c.join("a", c.edges)
				if !ran {
					h.slow = never
				}
				s := c.create(c.edges[0])
				driver := c.driver(s.ID)
				for !driver.drives(&store.Session{ID: s.ID}) { // the other one is to miss that it is on no agent, too
					s = c.create(c.edges[0])
				}
				pass(50 * time.Second)
				c.setDeaf(true)
				c.mu.Lock()
				delete(h.running, s.ID)
				h.slow = 50 * time.Second
				generation := h.homes[driver]
				c.mu.Unlock()
				driver.m.AgentState(h.agent.ID, generation, Observed{Session: s.ID, State: ObservedFailed, Reason: "no edge was heard of", Lost: true})
				pass(recheckEvery + time.Second)
				c.want(s.ID, store.Starting, "")
				c.setDeaf(false)
				c.kill(driver)
				pass(30 * time.Second)
				c.want(s.ID, store.Starting, "")
				pass(30 * time.Second)
				c.want(s.ID, store.Running, "")
				c.checkQuiet()
			})
		})
	}
}
