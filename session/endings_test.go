package session

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// The clock of these tests starts at 2000-01-01 00:00:00 UTC.

// typeFor is a person at the keyboard for so long, as the relay tells it.
func (w *world) typeFor(id string, d time.Duration) {
	for range d / time.Second {
		pass(time.Second)
		w.m.Input(id, time.Now())
	}
	synctest.Wait()
}

func idleAfter(d time.Duration) func(*store.Session) {
	return func(s *store.Session) { s.IdleTimeout = d }
}

func (w *world) wantCut(id, reason string) {
	w.t.Helper()
	if got, want := w.cuts(), []string{id + " " + reason}; !slices.Equal(got, want) {
		w.t.Errorf("viewers cut: %v, want %v", got, want)
	}
}

func (w *world) wantAnnounced(id string, want ...string) {
	w.t.Helper()
	if got := w.announced(id); !slices.Equal(got, want) {
		w.t.Errorf("announced %q, want %q", got, want)
	}
}

func (w *world) wantEnd(id string, at string, because store.EndsBecause) {
	w.t.Helper()
	synctest.Wait()
	s, got := w.session(id), ""
	if !s.EndsAt.IsZero() {
		got = s.EndsAt.Format(time.TimeOnly)
	}
	if got != at || s.EndsBecause != because {
		w.t.Errorf("the row says that it ends at %q because of %q, want %q, %q", got, s.EndsBecause, at, because)
	}
}

func TestIdleCountsFromTheStartWhenNobodyUsesIt(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.set(w.join("a"), mood{slow: 30 * time.Second})
		s := w.create(idleAfter(10 * time.Minute))
		pass(10*time.Minute + 30*time.Second - time.Millisecond)
		w.want(s.ID, store.Running, "")
		pass(time.Millisecond)
		w.want(s.ID, store.Terminated, "idle: nobody used it for 10m0s")
	})
}

func TestIdleCountsFromTheLastInput(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.join("a")
		s := w.create(idleAfter(10 * time.Minute))
		w.m.Viewers(s.ID, 1)
		w.typeFor(s.ID, time.Hour)
		pass(10*time.Minute - time.Millisecond)
		w.want(s.ID, store.Running, "")
		pass(time.Millisecond)
		w.want(s.ID, store.Terminated, "idle")
		w.wantCut(s.ID, "idle")
		w.wantAnnounced(s.ID, "idle_timeout 01:10:00", "")
		w.checkBooks()
		if len(w.m.live) != 0 {
			t.Errorf("ended sessions are still in memory: %v", w.m.live)
		}
	})
}

func TestAViewerThatOnlyWatchesDoesNotKeepASession(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.join("a")
		s := w.create(idleAfter(10 * time.Minute))
		for n := range 10 {
			w.m.Viewers(s.ID, n+1)
			pass(time.Minute - time.Millisecond)
		}
		w.want(s.ID, store.Running, "")
		pass(10 * time.Millisecond)
		w.want(s.ID, store.Terminated, "idle")
		w.wantCut(s.ID, "idle")
		if n := len(w.told(s.ID)); n == 0 {
			t.Error("no event")
		}
	})
}

func TestInputIsWrittenOnceAMinuteAtMost(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.join("a")
		s := w.create(idleAfter(10*time.Minute), func(s *store.Session) { s.MaxDuration = 24 * time.Hour })
		before := w.writes()
		w.typeFor(s.ID, time.Hour)
		if n := w.writes() - before; n > 60 {
			t.Errorf("%d writes in an hour, want 60 at most", n)
		}
		if age := time.Since(w.session(s.ID).LastActivity); age > activityGrain {
			t.Errorf("LastActivity is %v old", age)
		}
	})
}

func TestAComingAndGoingViewerIsToldButNotWritten(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.join("a")
		s := w.create()
		writes, events := w.writes(), w.countEvents(s.ID)
		for _, n := range []int{1, 2, 1, 0} {
			w.m.Viewers(s.ID, n)
			synctest.Wait()
		}
		if n := w.countEvents(s.ID) - events; n != 4 {
			t.Errorf("%d events, want 4", n)
		}
		if n := w.writes() - writes; n != 0 {
			t.Errorf("%d writes, want none", n)
		}
	})
}

func TestAnIdleEndIsAnnouncedAndTakenBackByInput(t *testing.T) {
	for _, c := range []struct {
		name            string
		timeout, notice time.Duration
		first, second   string
	}{
		{"a minute before", 10 * time.Minute, time.Minute, "00:10:00", "00:19:30"},
		{"half a short timeout before", 20 * time.Second, 10 * time.Second, "00:00:20", "00:00:35"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.join("a")
				s := w.create(idleAfter(c.timeout))
				w.m.Viewers(s.ID, 1)
				pass(c.timeout - c.notice - time.Millisecond)
				w.wantEnd(s.ID, "", "")
				pass(time.Millisecond)
				w.wantEnd(s.ID, c.first, store.EndsIdle)

				pass(c.notice / 2)
				w.m.Input(s.ID, time.Now())
				w.wantEnd(s.ID, "", "")
				pass(c.timeout - time.Millisecond)
				w.want(s.ID, store.Running, "")
				w.wantEnd(s.ID, c.second, store.EndsIdle)
				pass(time.Millisecond)
				w.want(s.ID, store.Terminated, "idle")
				w.wantEnd(s.ID, "", "")
				w.wantAnnounced(s.ID, "idle_timeout "+c.first, "", "idle_timeout "+c.second, "")
				w.wantCut(s.ID, "idle")
			})
		})
	}
}

func TestWhileAnEndIsAnnouncedEveryEventSaysSo(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.join("a")
		s := w.create(idleAfter(10 * time.Minute))
		pass(9*time.Minute + time.Second)
		w.m.Viewers(s.ID, 1)
		w.m.Viewers(s.ID, 2)
		synctest.Wait()
		w.wantAnnounced(s.ID, "idle_timeout 00:10:00")
	})
}

func TestTheEndByMaxDurationIsAnnouncedAndInputDoesNotMoveIt(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.join("a")
		s := w.create(idleAfter(10*time.Minute), func(s *store.Session) { s.MaxDuration = time.Hour })
		w.m.Viewers(s.ID, 1)
		w.typeFor(s.ID, 59*time.Minute-time.Second)
		w.wantEnd(s.ID, "", "")
		w.typeFor(s.ID, time.Second)
		w.wantEnd(s.ID, "01:00:00", store.EndsMaxDuration)
		w.typeFor(s.ID, 59*time.Second)
		w.want(s.ID, store.Running, "")
		w.wantEnd(s.ID, "01:00:00", store.EndsMaxDuration)
		w.typeFor(s.ID, time.Second)
		w.want(s.ID, store.Terminated, "max_duration")
		w.wantAnnounced(s.ID, "max_duration 01:00:00", "")
		w.wantCut(s.ID, "max_duration")
	})
}

// Of two ends that are near the first is told, and the other when that one was
// taken back.
func TestTheEarliestEndIsAnnounced(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.join("a")
		s := w.create(idleAfter(10*time.Minute), func(s *store.Session) { s.MaxDuration = 10*time.Minute + 30*time.Second })
		pass(9*time.Minute + 50*time.Second)
		w.wantEnd(s.ID, "00:10:00", store.EndsIdle)
		w.m.Input(s.ID, time.Now())
		w.wantEnd(s.ID, "00:10:30", store.EndsMaxDuration)
		pass(40 * time.Second)
		w.want(s.ID, store.Terminated, "max_duration")
		w.wantAnnounced(s.ID, "idle_timeout 00:10:00", "max_duration 00:10:30", "")
	})
}

func TestARestartOfTheEdgeStartsTheIdleTimeAnew(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		h := w.join("a")
		s := w.create(idleAfter(10 * time.Minute))
		pass(9*time.Minute + 30*time.Second)
		w.wantEnd(s.ID, "00:10:00", store.EndsIdle)
		w.restart()
		w.connect(h)
		w.wantEnd(s.ID, "", "")
		pass(10*time.Minute - time.Millisecond)
		w.want(s.ID, store.Running, "")
		pass(time.Millisecond)
		w.want(s.ID, store.Terminated, "idle")
	})
}

func TestTheTimeWithoutItsAgentIsNotIdle(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		h := w.join("a")
		s := w.create(idleAfter(5 * time.Minute))
		pass(4*time.Minute + 30*time.Second)
		w.wantEnd(s.ID, "00:05:00", store.EndsIdle)
		w.drop(h)
		w.want(s.ID, store.Unreachable, "away")
		w.wantEnd(s.ID, "", "")
		pass(8 * time.Minute)
		w.connect(h)
		pass(5*time.Minute - time.Millisecond)
		w.want(s.ID, store.Running, "")
		pass(time.Millisecond)
		w.want(s.ID, store.Terminated, "idle")
	})
}

func TestAStopTakesTheAnnouncedEndOffTheRow(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		h := w.join("a")
		s := w.create(idleAfter(10 * time.Minute))
		pass(9*time.Minute + 30*time.Second)
		w.set(h, mood{stuck: true})
		stopped, err := w.m.Stop(t.Context(), s.ID)
		if err != nil || stopped.State != store.Stopping || !stopped.EndsAt.IsZero() || stopped.EndsBecause != "" {
			t.Errorf("Stop: %+v, %v", stopped, err)
		}
		w.set(h, mood{})
		pass(time.Minute)
		w.want(s.ID, store.Terminated, "")
	})
}

// The desktop goes after its viewers, so that they are told why by the edge and
// not cut off by the desktop; one that does not leave holds it up for a second.
func TestViewersHearOfTheEndBeforeTheDesktopGoes(t *testing.T) {
	for linger, goes := range map[time.Duration]time.Duration{
		0: 0, 100 * time.Millisecond: 100 * time.Millisecond, time.Hour: farewell,
	} {
		inWorld(t, func(t *testing.T, w *world) {
			h := w.join("a")
			w.linger = linger
			s := w.create()
			w.m.Viewers(s.ID, 1)
			if _, err := w.m.Stop(t.Context(), s.ID); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if goes > 0 {
				pass(goes - time.Millisecond)
				if got, told := w.runs(h), w.cuts(); len(got) != 1 || len(told) == 0 {
					t.Errorf("viewers linger %v: before it goes the agent runs %v, viewers told %v", linger, got, told)
				}
				pass(time.Millisecond)
			}
			if got := w.runs(h); len(got) != 0 {
				t.Errorf("viewers linger %v: after %v the agent runs %v", linger, goes, got)
			}
			w.want(s.ID, store.Terminated, "")
			pass(2 * time.Hour)
		})
	}
}

func TestInputOfASessionThatDoesNotRunChangesNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.join("a")
		s := w.create()
		if _, err := w.m.Stop(t.Context(), s.ID); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		writes := w.writes()
		for _, id := range []string{s.ID, "0193f5a2-7c31-7abc-8def-000000000000"} {
			pass(2 * time.Minute)
			w.m.Input(id, time.Now())
			synctest.Wait()
		}
		if len(w.m.live) != 0 || w.writes() != writes {
			t.Errorf("kept %v and wrote %d times", w.m.live, w.writes()-writes)
		}
	})
}

// While the store is down the memory knows of the input, and the row learns of
// it afterwards.
func TestInputDuringAnOutageIsNotForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fuse{Store: openStore(t), left: -1}
		w := newWorld(t, f)
		w.run()
		w.join("a")
		s := w.create(idleAfter(10 * time.Minute))
		pass(time.Minute)
		f.mend(1)
		f.before = true
		used := time.Now()
		w.m.Input(s.ID, used)
		pass(10 * time.Second)
		f.mend(-1)
		pass(time.Minute)
		if got := w.session(s.ID).LastActivity; !got.Equal(used) {
			t.Errorf("LastActivity %v, want %v", got, used)
		}
		w.end()
	})
}

func (w *world) cuts() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.cut)
}

// writes is how often sessions were written.
func (w *world) writes() int {
	m := w.store.(*memory)
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.writes
}

func (w *world) countEvents(id string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.events {
		if e.ID == id {
			n++
		}
	}
	return n
}
