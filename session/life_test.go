package session

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
)

func TestAFullLife(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		h := w.join("a", func(a *store.Agent) { a.Runtimes = []store.Runtime{{Name: "xfce"}, {Name: "demo"}} })
		w.set(h, mood{slow: 2 * time.Second})
		s := w.create()
		if s.State != store.Pending || s.AgentID != h.agent.ID || s.Desired != store.Running {
			t.Errorf("Create returned %+v", s)
		}
		w.want(s.ID, store.Starting, "")
		var notReady *NotReady
		if _, err := w.m.Target(t.Context(), s.ID); !errors.As(err, &notReady) || notReady.Word != "session_starting" {
			t.Errorf("Target of a starting session: %v", err)
		}
		pass(2 * time.Second)
		w.want(s.ID, store.Running, "")
		if got, err := w.m.Target(t.Context(), s.ID); err != nil || got.AgentID != h.agent.ID {
			t.Errorf("Target of a running session: %+v, %v", got, err)
		}
		if got := w.session(s.ID).Runtime; got != "xfce" {
			t.Errorf("runtime %q, want the agent's first", got)
		}
		if n, _ := w.metric("streamspace_session_start_seconds", ""); n != 1 {
			t.Errorf("%v starts measured, want 1", n)
		}
		w.checkBooks()

		for range 2 {
			stopped, err := w.m.Stop(t.Context(), s.ID)
			if err != nil || stopped.Desired != store.Terminated {
				t.Fatalf("Stop: %+v, %v", stopped, err)
			}
			synctest.Wait()
		}
		w.want(s.ID, store.Terminated, "")
		if got := w.runs(h); len(got) != 0 {
			t.Errorf("the agent still runs %v", got)
		}
		if _, err := w.m.Target(t.Context(), s.ID); !errors.As(err, &notReady) || notReady.Word != "session_ended" {
			t.Errorf("Target of an ended session: %v", err)
		}
		if got, want := w.told(s.ID), []string{"pending", "starting", "running", "stopping", "terminated"}; !slices.Equal(got, want) {
			t.Errorf("events told %v, want %v", got, want)
		}
		w.checkBooks()
		if len(w.m.live) != 0 {
			t.Errorf("ended sessions are still in memory: %v", w.m.live)
		}
	})
}

func TestTargetAndStopOfAnUnknownSession(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const id = "0193f5a2-7c31-7abc-8def-000000000000"
		if _, err := w.m.Target(t.Context(), id); store.CodeOf(err) != store.NotFound {
			t.Errorf("Target: %v", err)
		}
		if _, err := w.m.Stop(t.Context(), id); store.CodeOf(err) != store.NotFound {
			t.Errorf("Stop: %v", err)
		}
	})
}

func TestADesktopThatDoesNotStartFails(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		h := w.join("a")
		w.set(h, mood{slow: 61 * time.Second})
		s := w.create()
		pass(59 * time.Second)
		w.want(s.ID, store.Starting, "")
		pass(time.Second + time.Millisecond)
		w.want(s.ID, store.Failed, "did not start within 1m0s")
		w.set(h, mood{})
		pass(20 * time.Second) // it came up too late and is stopped
		if got := w.runs(h); len(got) != 0 {
			t.Errorf("the agent still runs %v", got)
		}
		w.checkBooks()
	})
}

func TestADesktopThatEndsByItselfFails(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		h := w.join("a")
		s := w.create()
		w.m.Viewers(s.ID, 1)
		w.say(h, s.ID, ObservedFailed, "Xtigervnc exited with status 1")
		w.want(s.ID, store.Failed, "Xtigervnc exited with status 1")
		if want := []string{s.ID + " session_ended"}; !slices.Equal(w.cut, want) {
			t.Errorf("viewers cut: %v, want %v", w.cut, want)
		}
	})
}

func TestMaxDurationEndsASessionWithItsViewers(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		h := w.join("a")
		s := w.create(func(s *store.Session) { s.MaxDuration = time.Hour })
		if want := s.CreatedAt.Add(time.Hour); !s.ExpiresAt.Equal(want) {
			t.Errorf("expires at %v, want %v", s.ExpiresAt, want)
		}
		w.m.Viewers(s.ID, 2)
		pass(time.Hour - time.Second)
		w.want(s.ID, store.Running, "")
		pass(time.Second)
		w.want(s.ID, store.Terminated, "max_duration: it reached its longest allowed time, 1h0m0s")
		if want := []string{s.ID + " max_duration"}; !slices.Equal(w.cut, want) {
			t.Errorf("viewers cut: %v, want %v", w.cut, want)
		}
		if got := w.runs(h); len(got) != 0 {
			t.Errorf("the agent still runs %v", got)
		}
	})
}

func TestAnEndpointNeedsNoAgent(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.probe = func(context.Context, string) error { return nil }
		ask := func(s *store.Session) { s.Endpoint = "10.0.0.9:5900"; s.IdleTimeout = time.Minute }
		s := w.create(ask)
		w.want(s.ID, store.Running, "")
		if got, err := w.m.Target(t.Context(), s.ID); err != nil || got.Endpoint != "10.0.0.9:5900" || got.AgentID != "" {
			t.Errorf("Target: %+v, %v", got, err)
		}
		pass(time.Minute)
		w.want(s.ID, store.Terminated, "idle")

		s = w.create(ask)
		if _, err := w.m.Stop(t.Context(), s.ID); err != nil {
			t.Fatal(err)
		}
		w.want(s.ID, store.Terminated, "")

		w.probe = func(context.Context, string) error { return errors.New("10.0.0.9:5900 refused the connection") }
		w.want(w.create(ask).ID, store.Failed, "10.0.0.9:5900 refused the connection")

		w.probe = func(ctx context.Context, _ string) error { <-ctx.Done(); return errors.New("no answer") }
		s = w.create(ask)
		w.want(s.ID, store.Starting, "")
		pass(commandTimeout)
		w.want(s.ID, store.Failed, "no answer")
		w.checkBooks()
	})
}

func TestEndedSessionsArePurgedAfterTheirRetention(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.join("a")
		s := w.create()
		if _, err := w.m.Stop(t.Context(), s.ID); err != nil {
			t.Fatal(err)
		}
		kept := w.create()
		pass(7*24*time.Hour - time.Hour)
		w.want(s.ID, store.Terminated, "")
		pass(2 * time.Hour)
		if _, err := w.store.Session(t.Context(), s.ID); store.CodeOf(err) != store.NotFound {
			t.Errorf("an ended session is still there: %v", err)
		}
		w.want(kept.ID, store.Running, "")
	})
}

// Every state and observation leads to a step that the table in store allows,
// and no session is left without one that will move it on.
func TestEveryStepIsAllowedByTheTable(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	l := limits{startTimeout: time.Minute, lostAfter: 10 * time.Minute}
	observed := []ObservedState{"", ObservedStarting, ObservedRunning, ObservedStopping, ObservedEnded, ObservedFailed}
	for _, state := range store.States() {
		for _, desired := range []store.State{store.Running, store.Terminated} {
			for _, agent := range []string{"", "agent-a"} {
				for _, r := range []reach{unheard, up, away, left} {
					for _, o := range observed {
						for _, age := range []time.Duration{0, 20 * time.Second, time.Hour} {
							s := &store.Session{State: state, Desired: desired, AgentID: agent, UpdatedAt: now.Add(-age), LastActivity: now.Add(-age), IdleTimeout: time.Minute,
								MaxDuration: time.Hour, ExpiresAt: now.Add(endNotice / 2)}
							v := view{now: now, reach: r, since: now.Add(-age), report: Observed{State: o}, fits: true}
							if r == unheard {
								v.since = now.Add(connectGrace)
							}
							st := l.next(s, v)
							if st.do == become && !state.MayBecome(st.to) {
								t.Errorf("%s (desired %s, reach %d, report %q, age %v) -> %s", state, desired, r, o, age, st.to)
							}
							if st.do == become && state == st.to && st.reason == s.Reason {
								t.Errorf("%s (desired %s, reach %d, report %q, age %v) goes round in a circle", state, desired, r, o, age)
							}
							if st.do == warn {
								s.EndsAt, s.EndsBecause = st.end.at, st.end.because
								if st = l.next(s, v); st.do == warn {
									t.Errorf("%s (desired %s, reach %d, report %q, age %v) is warned of again and again", state, desired, r, o, age)
								}
							}
							if st.do == wait && !st.again.IsZero() && !st.again.After(now) {
								t.Errorf("%s (desired %s, reach %d, report %q, age %v) waits for the past", state, desired, r, o, age)
							}
						}
					}
				}
			}
		}
	}
}

func TestViewersOfAnUnknownSessionLeaveNothingBehind(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for _, n := range []int{1, 2, 0, 0} {
			w.m.Viewers("0193f5a2-7c31-7abc-8def-000000000000", n)
			synctest.Wait()
		}
		if len(w.m.live) != 0 {
			t.Errorf("kept %v", w.m.live)
		}
	})
}
