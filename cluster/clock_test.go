package cluster

import (
	"context"
	"testing"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// aheadCoord gives generations of a clock that is far ahead.
type aheadCoord struct{ store.Coord }

func (aheadCoord) Generation(context.Context, string, string) (uint64, error) { return 1 << 60, nil }

// TestAnEdgeIsSeenAgainWhenTheClockOfGenerationsWasSetBack, and the Coord has
// forgotten the one that it had: within a minute or so, not only when an old lease
// can't be anywhere any more.
func TestAnEdgeIsSeenAgainWhenTheClockOfGenerationsWasSetBack(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		watcher := w.start("w")
		before := w.start("a", func(o *Options) { o.Coord = aheadCoord{o.Coord} })
		settle()
		if got := watcher.of(t, "a"); got.Generation != 1<<60 {
			t.Fatalf("it sees %+v", got)
		}
		before.kill()
		w.flush()
		w.answers("a", true)
		w.start("a")
		time.Sleep(time.Minute + 2*beatsOfLease*defaultBeat)
		settle()
		if got := watcher.of(t, "a"); got.Generation == 1<<60 || !got.Healthy {
			t.Errorf("it sees %+v", got)
		}
	})
}

func TestEdgesKnowWhoseClockIsWrong(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start("a", func(o *Options) {
			self := o.Self
			o.Self = func() Node { n := self(); n.ClockOffset = -3 * time.Second; return n }
		})
		watcher := w.start("w")
		settle()
		if a, own := watcher.of(t, "a"), watcher.of(t, "w"); a.ClockOffset != -3*time.Second || own.ClockOffset != 0 {
			t.Errorf("a is told to be %v off, and the one that is right %v", a.ClockOffset, own.ClockOffset)
		}
	})
}
