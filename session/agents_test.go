package session

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/streamspace-dev/streamspace-edge/store"
)

func TestAnAgentThatComesBackWithItsSessionGoesOn(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		h := w.join("a")
		s := w.create()
		w.m.Viewers(s.ID, 1)
		w.drop(h)
		w.want(s.ID, store.Unreachable, "the connection broke")
		if len(w.cut) != 0 {
			t.Errorf("viewers were cut: %v; their streams may still run", w.cut)
		}
		pass(9 * time.Minute)
		w.connect(h)
		w.want(s.ID, store.Running, "")
		if h.starts != 1 {
			t.Errorf("started %d times, want once", h.starts)
		}
		w.checkBooks()
	})
}

// After a restart of the edge a session is as it was, so that no change of its
// state tells that its agent is back.
func TestTheReturnOfAnAgentIsToldOnceForEachOfItsRunningSessions(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		h := w.join("a")
		s, ended := w.create(), w.create()
		if _, err := w.m.Stop(t.Context(), ended.ID); err != nil {
			t.Fatal(err)
		}
		returns := func() (ids []string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			for _, e := range w.events {
				if e.AgentUp {
					ids = append(ids, e.ID)
					if e.State != string(store.Running) || e.Org != "acme" || e.Owner != "ann" {
						t.Errorf("the event is %+v", e)
					}
				}
			}
			return ids
		}
		synctest.Wait()
		if got := returns(); len(got) > 0 {
			t.Errorf("told of the return of an agent that was never away: %v", got)
		}
		for want := 1; want <= 3; want++ {
			w.restart()
			w.connect(h)
			for n := range 5 {
				w.m.Viewers(s.ID, n) // events, and looks, of other things
				w.say(h, s.ID, ObservedRunning, "")
			}
			w.want(s.ID, store.Running, "")
			if got := returns(); len(got) != want || slices.Contains(got, ended.ID) {
				t.Errorf("told of %v, want %s %d times", got, s.ID, want)
			}
		}
	})
}

func TestAnAgentThatComesBackWithoutItsSessionFailsIt(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		h := w.join("a")
		s := w.create()
		w.drop(h)
		h.running = map[string]ObservedState{}
		w.connect(h)
		w.want(s.ID, store.Failed, "the desktop ended while its agent was away")
		w.checkBooks()
	})
}

func TestAnAgentThatStaysAwayLosesItsSessions(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		h := w.join("a")
		s, stopping := w.create(), w.create()
		w.m.Viewers(s.ID, 1)
		w.drop(h)
		if _, err := w.m.Stop(t.Context(), stopping.ID); err != nil {
			t.Fatal(err)
		}
		pass(10*time.Minute - time.Second)
		w.want(s.ID, store.Unreachable, "the connection broke")
		w.want(stopping.ID, store.Stopping, "")
		pass(time.Second)
		w.want(s.ID, store.Failed, "did not come back within 10m")
		w.want(stopping.ID, store.Terminated, "did not come back within 10m")
		if want := []string{s.ID + " agent_offline"}; !slices.Equal(w.cut, want) {
			t.Errorf("viewers cut: %v, want %v", w.cut, want)
		}
		w.connect(h) // what it brings back is nobody's any more
		if got := w.runs(h); len(got) != 0 {
			t.Errorf("the agent still runs %v", got)
		}
		w.checkBooks()
	})
}

func TestAnAgentThatLeavesForGoodEndsItsSessionsAtOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		h := w.join("a")
		running := w.create()
		w.set(h, mood{slow: time.Hour})
		starting := w.create()
		w.leave(h)
		w.want(running.ID, store.Failed, "the host shuts down")
		w.want(starting.ID, store.Pending, "1 offline") // it never ran, so another agent may have it
		other := w.join("b")
		w.want(starting.ID, store.Running, "")
		if got := w.runs(other); !slices.Equal(got, []string{starting.ID}) {
			t.Errorf("b runs %v", got)
		}
		w.checkBooks()
	})
}

func TestAStopWaitsForAnAgentThatIsAway(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		h := w.join("a")
		s := w.create()
		w.drop(h)
		if _, err := w.m.Stop(t.Context(), s.ID); err != nil {
			t.Fatal(err)
		}
		pass(time.Minute)
		w.want(s.ID, store.Stopping, "")
		if got := w.runs(h); len(got) != 1 {
			t.Fatalf("the agent runs %v", got)
		}
		w.connect(h)
		w.want(s.ID, store.Terminated, "")
		if got := w.runs(h); len(got) != 0 {
			t.Errorf("the agent still runs %v", got)
		}
	})
}

// A fault of the system that this one replaces.
func TestLateCleanUpOfAnOldTunnelChangesNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		h := w.join("a")
		s := w.create()
		old := h.generation
		w.connect(h) // a new tunnel while the old one is still open
		for name, late := range map[string]func(){
			"down":       func() { w.m.AgentDown(h.agent.ID, old, "the old connection broke", false) },
			"final down": func() { w.m.AgentDown(h.agent.ID, old, "the old connection broke", true) },
			"state": func() {
				w.m.AgentState(h.agent.ID, old, Observed{Session: s.ID, State: ObservedFailed, Reason: "late"})
			},
			"beat": func() { w.m.AgentBeat(h.agent.ID, old) },
			"up":   func() { w.m.AgentUp(h.agent, old, nil) },
		} {
			late()
			w.want(s.ID, store.Running, "")
			if status := w.m.AgentStatus(h.agent); status != store.AgentOnline {
				t.Errorf("after a late %s the agent is %s", name, status)
			}
		}
		w.m.AgentDown("agent-nobody", 1, "", false)
		w.drop(h)
		w.want(s.ID, store.Unreachable, "the connection broke")
		w.m.AgentState(h.agent.ID, h.generation, Observed{Session: s.ID, State: ObservedRunning})
		w.want(s.ID, store.Unreachable, "the connection broke")
	})
}

func TestOrphansAreEnded(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a := w.join("a")
		s := w.create()
		b := w.join("b")
		const unknown = "0193f5a2-7c31-7abc-8def-000000000000"
		ended := w.create()
		if _, err := w.m.Stop(t.Context(), ended.ID); err != nil {
			t.Fatal(err)
		}
		w.drop(b)
		b.running = map[string]ObservedState{unknown: ObservedRunning, s.ID: ObservedStarting, ended.ID: ObservedStopping}
		w.connect(b)
		if got := w.runs(b); len(got) != 0 {
			t.Errorf("b still runs %v", got)
		}
		w.say(b, unknown, ObservedRunning, "") // again, outside a hello
		synctest.Wait()
		if got := w.runs(b); len(got) != 0 {
			t.Errorf("b still runs %v", got)
		}
		w.want(s.ID, store.Running, "")
		if got := w.runs(a); !slices.Contains(got, s.ID) {
			t.Errorf("a lost its session")
		}
		w.checkBooks()
		if n := len(w.m.links[b.agent.ID].reports); n != 0 {
			t.Errorf("%d reports of what is gone are kept", n)
		}
	})
}

func TestAStopIsRepeatedUntilTheEndIsReported(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		h := w.join("a")
		s := w.create()
		stops := 0
		w.m.o.Stop = func(ctx context.Context, x *store.Session) error {
			if stops++; stops < 3 {
				return nil
			}
			return w.stop(ctx, x)
		}
		if _, err := w.m.Stop(t.Context(), s.ID); err != nil {
			t.Fatal(err)
		}
		w.want(s.ID, store.Stopping, "")
		pass(2 * stopAgain)
		w.want(s.ID, store.Terminated, "")
		if got := w.runs(h); len(got) != 0 || stops != 3 {
			t.Errorf("the agent runs %v after %d stops", got, stops)
		}
	})
}

// A fault of the system that this one replaces.
func TestCommandsToADeadAgentAreNotReportedAsSent(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		h := w.join("a")
		w.set(h, mood{stuck: true}) // the tunnel is up, nobody answers
		s := w.create()
		pass(time.Minute + commandTimeout)
		w.want(s.ID, store.Failed, "the agent did not answer within 1m0s")
		s = w.create()
		pass(2 * commandTimeout)
		w.want(s.ID, store.Starting, "")
		w.set(h, mood{})
		pass(30 * time.Second)
		w.want(s.ID, store.Running, "")

		w.set(h, mood{stuck: true})
		if _, err := w.m.Stop(t.Context(), s.ID); err != nil {
			t.Fatal(err)
		}
		pass(time.Hour)
		w.want(s.ID, store.Stopping, "")
		w.set(h, mood{})
		pass(time.Minute)
		w.want(s.ID, store.Terminated, "")
	})
}

func TestAStuckAgentHoldsUpNobodyElse(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		big := func(a *store.Agent) { a.Capacity = 500 }
		stuck := w.join("a", big)
		w.set(stuck, mood{stuck: true})
		for range 200 {
			w.create()
		}
		healthy := w.join("b", big, func(a *store.Agent) { a.Labels = map[string]string{"zone": "b"} })
		s := w.create(func(s *store.Session) { s.Labels = map[string]string{"zone": "b"} })
		w.want(s.ID, store.Running, "")
		if got := w.runs(healthy); !slices.Equal(got, []string{s.ID}) {
			t.Errorf("b runs %d sessions", len(got))
		}
		w.set(stuck, mood{})
		pass(5 * time.Minute)
		w.checkBooks()
	})
}

func TestADrainingAgentTakesNothingNewAndKeepsWhatRuns(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		h := w.join("a")
		s := w.create()
		if err := w.m.DrainAgent(t.Context(), h.agent.ID); err != nil {
			t.Fatal(err)
		}
		a, err := w.store.Agent(t.Context(), h.agent.ID)
		if err != nil {
			t.Fatal(err)
		}
		if status := w.m.AgentStatus(a); status != store.AgentDraining {
			t.Errorf("status %s", status)
		}
		if _, err := w.m.Create(t.Context(), &store.Session{}, ""); store.CodeOf(err) != store.NoAgent || !containsFold(err.Error(), "1 draining") {
			t.Errorf("Create: %v", err)
		}
		w.drop(h)
		w.connect(h)
		w.want(s.ID, store.Running, "")
		if err := w.m.ResumeAgent(t.Context(), h.agent.ID); err != nil {
			t.Fatal(err)
		}
		w.create()
		if got, want := w.told(h.agent.ID), []string{"online", "draining", "offline", "draining", "online"}; !slices.Equal(got, want) {
			t.Errorf("events told %v, want %v", got, want)
		}
		for name, call := range map[string]func(context.Context, string) error{"drain": w.m.DrainAgent, "resume": w.m.ResumeAgent, "delete": w.m.DeleteAgent} {
			if err := call(t.Context(), "agent-nobody"); store.CodeOf(err) != store.NotFound {
				t.Errorf("%s of an unknown agent: %v", name, err)
			}
		}
	})
}

func TestDeletingAnAgentStopsItsSessionsFirst(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		h := w.join("a")
		s := w.create()
		held := make(chan struct{})
		w.m.o.Stop = func(ctx context.Context, x *store.Session) error { <-held; return w.stop(ctx, x) }
		if err := w.m.DeleteAgent(t.Context(), h.agent.ID); err != nil {
			t.Fatal(err)
		}
		w.want(s.ID, store.Stopping, "its agent was removed")
		if _, err := w.store.Agent(t.Context(), h.agent.ID); err != nil || len(w.removed) > 0 {
			t.Fatalf("gone before its sessions: %v, %v", err, w.removed)
		}
		close(held)
		w.want(s.ID, store.Terminated, "its agent was removed")
		if _, err := w.store.Agent(t.Context(), h.agent.ID); store.CodeOf(err) != store.NotFound {
			t.Errorf("the agent is still there: %v", err)
		}
		if want := []string{h.agent.ID}; !slices.Equal(w.removed, want) {
			t.Errorf("disconnected %v, want %v", w.removed, want)
		}
		if got := w.runs(h); len(got) != 0 {
			t.Errorf("the agent still runs %v", got)
		}
		w.drop(h) // the tunnel's late end
		for _, name := range []string{"streamspace_agent_sessions_active", "streamspace_agent_heartbeat_last_seen"} {
			if _, found := w.metric(name, h.agent.ID); found {
				t.Errorf("%s still has the agent", name)
			}
		}
	})
}

func TestDeletingAnAgentThatIsAwayGivesItsSessionsUp(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		h := w.join("a")
		s := w.create()
		w.drop(h)
		if err := w.m.DeleteAgent(t.Context(), h.agent.ID); err != nil {
			t.Fatal(err)
		}
		w.want(s.ID, store.Terminated, "its agent was removed")
		if _, err := w.store.Agent(t.Context(), h.agent.ID); store.CodeOf(err) != store.NotFound {
			t.Errorf("the agent is still there: %v", err)
		}
		w.connect(h) // it joins anew
		if got := w.runs(h); len(got) != 0 {
			t.Errorf("the agent still runs %v", got)
		}
	})
}

func TestHeartbeatsAreStoredOnceAMinute(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		h := w.join("a")
		joined := time.Now()
		for range 11 {
			pass(5 * time.Second)
			w.m.AgentBeat(h.agent.ID, h.generation)
		}
		if seen, _ := w.metric("streamspace_agent_heartbeat_last_seen", h.agent.ID); seen != float64(time.Now().UnixMilli())/1000 {
			t.Errorf("the metric says %v", seen)
		}
		if a, err := w.store.Agent(t.Context(), h.agent.ID); err != nil || !a.LastHeartbeat.Equal(joined) {
			t.Errorf("stored %v before a minute has passed, %v", a.LastHeartbeat, err)
		} else if live := w.m.LastHeartbeat(a); !live.Equal(time.Now()) {
			t.Errorf("told %v, want the last beat, which came now: %v", live, time.Now())
		}
		beat := time.Now()
		pass(10 * time.Second)
		if a, err := w.store.Agent(t.Context(), h.agent.ID); err != nil || !a.LastHeartbeat.Equal(beat) {
			t.Errorf("stored %v, want %v, %v", a.LastHeartbeat, beat, err)
		}
		never := &store.Agent{ID: "agent-nobody", LastHeartbeat: joined}
		if told := w.m.LastHeartbeat(never); !told.Equal(joined) {
			t.Errorf("told %v of an agent that is not known here, want what is stored: %v", told, joined)
		}
	})
}

func TestAnAgentThatIsRemovedMayLeaveBeforeItsSessionsEnd(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		h := w.join("a")
		s := w.create()
		w.set(h, mood{stuck: true})
		if err := w.m.DeleteAgent(t.Context(), h.agent.ID); err != nil {
			t.Fatal(err)
		}
		w.want(s.ID, store.Stopping, "its agent was removed")
		w.drop(h)
		pass(commandTimeout) // the stop that was under way
		w.want(s.ID, store.Terminated, "its agent was removed")
		if _, err := w.store.Agent(t.Context(), h.agent.ID); store.CodeOf(err) != store.NotFound {
			t.Errorf("the agent is still there: %v", err)
		}
	})
}

func TestAResumeCallsARemovalOff(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		h := w.join("a")
		w.create()
		w.set(h, mood{stuck: true})
		if err := w.m.DeleteAgent(t.Context(), h.agent.ID); err != nil {
			t.Fatal(err)
		}
		if err := w.m.ResumeAgent(t.Context(), h.agent.ID); err != nil {
			t.Fatal(err)
		}
		w.set(h, mood{})
		pass(time.Minute)
		if len(w.removed) > 0 {
			t.Errorf("removed %v", w.removed)
		}
		w.want(w.create().ID, store.Running, "")
	})
}

func TestASilentAgentIsToldToStopWhatItMayHaveStarted(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		h := w.join("a")
		w.set(h, mood{silent: true})
		stops := 0
		w.m.o.Stop = func(ctx context.Context, s *store.Session) error { stops++; return w.stop(ctx, s) }
		s := w.create()
		w.want(s.ID, store.Starting, "")
		pass(time.Minute + time.Millisecond)
		w.want(s.ID, store.Failed, "did not start within 1m0s")
		if h.starts != 1 || stops != 1 {
			t.Errorf("%d starts and %d stops, want one each", h.starts, stops)
		}
	})
}

func TestAnAgentThatBringsAForgottenSessionBackKeepsIt(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		h := w.join("a")
		w.set(h, mood{slow: 5 * time.Second})
		s := w.create()
		w.drop(h)
		pass(connectGrace)
		w.want(s.ID, store.Starting, "its agent is away")
		if err := w.m.DrainAgent(t.Context(), h.agent.ID); err != nil {
			t.Fatal(err)
		}
		w.connect(h) // it came up meanwhile
		w.want(s.ID, store.Running, "")
		if h.starts != 1 {
			t.Errorf("started %d times", h.starts)
		}
		w.checkBooks()
	})
}

func TestAStopDuringAStartWins(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		core, logs := observer.New(zap.WarnLevel)
		w.m.o.Log = zap.New(core)
		h := w.join("a")
		hold := make(chan struct{})
		w.m.o.Start = func(ctx context.Context, s *store.Session, generation uint64) error {
			<-hold
			return w.start(ctx, s, generation)
		}
		s := w.create()
		w.want(s.ID, store.Starting, "")
		if _, err := w.m.Stop(t.Context(), s.ID); err != nil {
			t.Fatal(err)
		}
		close(hold)
		w.want(s.ID, store.Terminated, "")
		if got := w.runs(h); len(got) != 0 || h.starts != 1 {
			t.Errorf("the agent runs %v after %d starts", got, h.starts)
		}
		if logs.Len() > 0 {
			t.Errorf("warned: %v", logs.All())
		}
	})
}

// TestWhatAnAgentSaidLastIsTakenIn although its tunnel ends right behind it.
func TestWhatAnAgentSaidLastIsTakenIn(t *testing.T) {
	back := func(w *world, h *host) { // before any look
		generation := w.detach(h)
		w.m.AgentDown(h.agent.ID, generation, "the connection broke", false)
		w.connect(h)
	}
	for name, end := range map[string]func(*world, *host){"away": (*world).drop, "for good": (*world).leave, "away and back": back} {
		for word, want := range map[ObservedState]store.State{ObservedEnded: store.Terminated, ObservedFailed: store.Failed} {
			t.Run(name+" after "+string(word), func(t *testing.T) {
				inWorld(t, func(t *testing.T, w *world) {
					h := w.join("a")
					running, stopping := w.create(), w.create()
					if _, err := w.m.Stop(t.Context(), stopping.ID); err != nil {
						t.Fatal(err)
					}
					for _, s := range []*store.Session{running, stopping} {
						w.say(h, s.ID, word, "it was its time")
					}
					end(w, h)
					synctest.Wait()
					w.want(running.ID, want, "it was its time")
					w.want(stopping.ID, store.Terminated, "")
					w.checkBooks()
				})
			})
		}
	}
}
