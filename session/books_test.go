package session

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// TestAListThatIsOlderThanTheEndLeavesNothingCounted: all sessions are read again
// while one ends, and its row of before comes between the look that sees the end and
// its last step.
func TestAListThatIsOlderThanTheEndLeavesNothingCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, openStore(t))
		w.linger = time.Hour
		var old *store.Session
		w.o.EndViewers = func(id, reason string) {
			w.endViewers(id, reason)
			s, err := w.store.Session(t.Context(), id)
			switch {
			case err != nil:
				t.Error(err)
			case !s.Ended():
				old = s
			case old != nil:
				w.m.track(old)
				w.m.lookAnew(id)
				w.m.Viewers(id, 0)
				old = nil
			}
		}
		w.run()
		w.join("a")
		s := w.create()
		w.m.Viewers(s.ID, 1)
		if _, err := w.m.Stop(t.Context(), s.ID); err != nil {
			t.Fatal(err)
		}
		pass(time.Minute)
		w.want(s.ID, store.Terminated, "")
		if old != nil {
			t.Error("the end was not seen as this test needs it")
		}
		w.checkBooks()
		w.end()
		if err := w.store.Close(); err != nil {
			t.Error(err)
		}
	})
}
