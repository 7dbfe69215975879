package session

import (
	"testing"
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
