package tunnel

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
)

func TestAgentReconnectsWhileItsOldSocketIsOpen(t *testing.T) {
	e := newEdge(t)
	id := uuid.NewString()
	welcomedRawAgent(t, e, id) // its socket stays open, and nobody reads it
	first := e.next("up")
	spareOfOld, err := func() (net.Conn, error) {
		old := e.hub.tunnels[id]
		d, _ := newDialer(Home{URL: e.url}, agentOptions(e), dialTCP)
		conn, _, err := d.stream(deadlined(t), id, old.token)
		return conn, err
	}()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = spareOfOld.Close() }()

	o := agentOptions(e)
	hello := o.Hello()
	hello.AgentID = id
	o.Hello = func() Hello { return hello }
	o.Open = vncServer(t, echoServer)
	startAgent(t, o)

	down := e.next("down") // strictly before the up of the new one
	if down.generation != first.generation {
		t.Errorf("generation %d went down, want %d", down.generation, first.generation)
	}
	second := e.next("up")
	if second.generation <= first.generation {
		t.Errorf("generation %d after %d", second.generation, first.generation)
	}
	if !e.hub.Connected(id) {
		t.Error("the agent is not connected after its second connect")
	}
	roundTrip(t, mustOpen(t, e, id, request(1)), "over the new tunnel")
	_ = spareOfOld.SetReadDeadline(time.Now().Add(hang))
	if _, err := spareOfOld.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a spare of the old generation is still open: %v", err)
	}
}

func TestLateCleanUpOfAnOldTunnelChangesNothing(t *testing.T) {
	leaveDown := make(chan struct{})
	downs := make(chan uint64, 2)
	e := newEdge(t, func(o *HubOptions) {
		record := o.Down
		o.Down = func(id string, g uint64, why Down) {
			downs <- g
			<-leaveDown // the old generation's clean-up is slow
			record(id, g, why)
		}
	})
	id := uuid.NewString()
	old := welcomedRawAgent(t, e, id)
	e.next("up")
	current := welcomedRawAgent(t, e, id)
	wantCode(t, old.ended(), CodeSuperseded)
	if g := <-downs; g != old.welcome.Generation {
		t.Fatalf("generation %d is cleaned up, want %d", g, old.welcome.Generation)
	}
	check := func(when string) {
		t.Helper()
		if !e.hub.Connected(id) || e.hub.Agents() != 1 {
			t.Errorf("%s the clean-up: connected %v, %d agents", when, e.hub.Connected(id), e.hub.Agents())
		}
	}
	check("during")
	close(leaveDown)
	e.next("down")
	if up := e.next("up"); up.generation != current.welcome.Generation {
		t.Errorf("generation %d is up, want %d", up.generation, current.welcome.Generation)
	}
	check("after")
	current.say(Envelope{State: &Report{Session: "s", State: SessionRunning}})
	if s := e.next("state"); s.generation != current.welcome.Generation {
		t.Errorf("a state of generation %d, want %d", s.generation, current.welcome.Generation)
	}
}

func TestOldGenerationsStreamTokenIsRefused(t *testing.T) {
	e := newEdge(t)
	id := uuid.NewString()
	old := welcomedRawAgent(t, e, id)
	welcomedRawAgent(t, e, id)
	_, _, err := old.dialer.stream(deadlined(t), id, old.welcome.StreamToken)
	wantCode(t, err, CodeUnauthorized)
}

func TestGenerationsRiseAcrossARestartOfTheEdge(t *testing.T) {
	id := uuid.NewString()
	first := welcomedRawAgent(t, newEdge(t), id).welcome.Generation
	second := welcomedRawAgent(t, newEdge(t), id).welcome.Generation
	if second <= first {
		t.Errorf("generation %d after %d", second, first)
	}
}

func TestStreamsRunOnWhenTheControlChannelIsReplaced(t *testing.T) {
	for name, lose := range map[string]func(*testEdge, string){
		"by the edge": func(e *testEdge, id string) { e.hub.Disconnect(id, Errorf(CodeTimeout, "a test")) },
		"by the network": func(e *testEdge, id string) {
			t, _ := e.hub.live(id)
			_ = t.channel.ws.CloseNow()
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := newTLSEdge(t)
			a, _ := connected(t, e, func(o *ClientOptions) { o.Open = vncServer(t, echoServer) })
			before := mustOpen(t, e, a.id, request(1))
			roundTrip(t, before, "one")
			lose(e, a.id)
			e.next("down")
			roundTrip(t, before, "two")
			e.next("up")
			roundTrip(t, before, "three")
			roundTrip(t, mustOpen(t, e, a.id, request(2)), "four")
		})
	}
}

func TestASupersededAgentDoesNotFightBack(t *testing.T) {
	e := newEdge(t)
	a, _ := connected(t, e, nil)
	welcomedRawAgent(t, e, a.id)
	e.next("down")
	e.next("up")
	wait := a.waitAfter(Errorf(CodeSuperseded, "the same agent has connected anew"), &backoff{})
	if wait < supersededBackoff/2 {
		t.Errorf("a superseded agent comes back after %v, want at least %v", wait, supersededBackoff/2)
	}
}

// One agent's callback that blocks delays nobody else.
func TestABlockedCallbackHoldsUpOnlyItsAgent(t *testing.T) {
	var blocked atomic.Pointer[string]
	release := make(chan struct{})
	e := newEdge(t, func(o *HubOptions) {
		record := o.State
		o.State = func(id string, g uint64, r Report) {
			if id == *blocked.Load() {
				<-release
			}
			record(id, g, r)
		}
	})
	stuck, free := welcomedRawAgent(t, e, ""), welcomedRawAgent(t, e, "")
	blocked.Store(&stuck.id)
	e.next("up")
	e.next("up")
	for range 10 {
		stuck.say(Envelope{State: &Report{Session: "s", State: SessionRunning}})
	}
	free.say(Envelope{State: &Report{Session: "s", State: SessionRunning}})
	if s := e.next("state"); s.agent != free.id {
		t.Errorf("state of %s, want of %s", s.agent, free.id)
	}
	stuck.say(Envelope{Beat: &Beat{Seq: 7}}) // its control channel is served all the same
	if m := stuck.hear(); m.Beat == nil || m.Beat.Seq != 7 {
		t.Errorf("got %+v, want beat 7", m)
	}
	close(release)
	for range 10 {
		e.next("state")
	}
}

func TestCallbacksOfOneAgentNeverOverlap(t *testing.T) {
	var running, calls atomic.Int32
	e := newEdge(t, func(o *HubOptions) {
		enter := func() {
			if running.Add(1) != 1 {
				t.Error("two callbacks of one agent at once")
			}
			calls.Add(1)
			running.Add(-1)
		}
		up, down := o.Up, o.Down
		o.Up = func(h Hello, g uint64) { enter(); up(h, g) }
		o.State = func(string, uint64, Report) { enter() }
		o.Beat = func(string, uint64) { enter() }
		o.Down = func(id string, g uint64, why Down) { enter(); down(id, g, why) }
	})
	id := uuid.NewString()
	for range 20 {
		a := welcomedRawAgent(t, e, id)
		for range 20 {
			a.say(Envelope{State: &Report{Session: "s", State: SessionRunning}})
			a.say(Envelope{Beat: &Beat{}})
		}
	}
	// Up and Down alternate, and generations rise.
	var generation uint64
	expect := "up"
	for last := false; !last; {
		select {
		case h := <-e.events:
			if h.kind != expect || h.generation < generation {
				t.Fatalf("callback %s of generation %d after generation %d, want %s", h.kind, h.generation, generation, expect)
			}
			generation = h.generation
			expect = map[string]string{"up": "down", "down": "up"}[h.kind]
			last = h.kind == "up" && h.generation == currentGeneration(e, id)
		case <-time.After(hang):
			t.Fatal("callbacks stopped")
		}
	}
}

func currentGeneration(e *testEdge, id string) uint64 {
	t, err := e.hub.live(id)
	if err != nil {
		return 0
	}
	return t.generation
}
