package tunnel

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

func command(id, session string) Command {
	return Command{ID: id, Action: ActionStart, Session: session}
}

// ask adds c for a tunnel that stays up; answer, unless nil, gets its answer.
func ask(q *commandQueue, c Command, answer *error) {
	q.add(context.Background(), c, asker{context.Background(), func(err error) {
		if answer != nil {
			*answer = err
		}
	}})
}

func TestCommandIsAcked(t *testing.T) {
	e := newEdge(t)
	a, _ := connected(t, e, func(o *ClientOptions) {
		o.Command = func(_ context.Context, c Command) error {
			switch c.Session {
			case "full":
				return Errorf(CodeNoRoom, "10 of 10 sessions run")
			case "broken":
				return errors.New("no space left on device")
			}
			return nil
		}
	})
	if err := e.hub.Command(deadlined(t), a.id, 0, command("1", "good")); err != nil {
		t.Errorf("command: %v", err)
	}
	err := e.hub.Command(deadlined(t), a.id, 0, command("2", "full"))
	wantCode(t, err, CodeNoRoom)
	if err.Error() != "10 of 10 sessions run" {
		t.Errorf("text %q", err)
	}
	wantCode(t, e.hub.Command(deadlined(t), a.id, 0, command("3", "broken")), CodeUnavailable)
}

func TestCommandToADeadAgentIsNotReportedAsSent(t *testing.T) {
	e := newEdge(t)
	wantCode(t, e.hub.Command(deadlined(t), "0198c0de-0000-7000-8000-000000000000", 0, command("1", "s")), CodeAgentOffline)

	a := welcomedRawAgent(t, e, "")
	e.next("up")
	result := make(chan error, 1)
	go func() { result <- e.hub.Command(deadlined(t), a.id, 0, command("2", "s")) }()
	if m := a.hear(); m.Command == nil || m.Command.ID != "2" {
		t.Fatalf("got %+v, want the command", m)
	}
	_ = a.ws.CloseNow() // it dies with the command in its hand
	wantCode(t, <-result, CodeAgentOffline)
	e.next("down")
	wantCode(t, e.hub.Command(deadlined(t), a.id, 0, command("3", "s")), CodeAgentOffline)
}

func TestCommandWithoutAnAckTimesOut(t *testing.T) {
	e := newEdge(t)
	a := welcomedRawAgent(t, e, "")
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() { result <- e.hub.Command(ctx, a.id, 0, command("1", "s")) }()
	a.hear()
	cancel()
	wantCode(t, <-result, CodeTimeout)
	a.say(Envelope{Ack: &Ack{ID: "1"}}) // too late, and nobody minds
	a.say(Envelope{Beat: &Beat{Seq: 1}})
	if m := a.hear(); m.Beat == nil {
		t.Errorf("got %+v, want a beat", m)
	}
}

func TestCommandIDIsUsedOnceAtATime(t *testing.T) {
	e := newEdge(t)
	a := welcomedRawAgent(t, e, "")
	result := make(chan error, 1)
	go func() { result <- e.hub.Command(deadlined(t), a.id, 0, command("1", "s")) }()
	a.hear()
	wantCode(t, e.hub.Command(deadlined(t), a.id, 0, command("1", "s")), CodeBadRequest)
	a.say(Envelope{Ack: &Ack{ID: "1"}})
	if err := <-result; err != nil {
		t.Errorf("command: %v", err)
	}
}

func TestCommandsOfOneSessionKeepTheirOrder(t *testing.T) {
	var tasks sync.WaitGroup
	var mu sync.Mutex
	got := map[string][]string{}
	q := newCommandQueue(func(_ context.Context, c Command) error {
		mu.Lock()
		defer mu.Unlock()
		got[c.Session] = append(got[c.Session], c.ID)
		return nil
	}, &tasks)
	want := map[string][]string{}
	for i := range 300 {
		c := command(fmt.Sprint(i), fmt.Sprint("session-", i%7))
		want[c.Session] = append(want[c.Session], c.ID)
		ask(q, c, nil)
	}
	tasks.Wait()
	for session, ids := range want {
		if !slices.Equal(got[session], ids) {
			t.Errorf("%s ran %v, want %v", session, got[session], ids)
		}
	}
}

func TestOneSlowCommandHoldsUpOnlyItsSession(t *testing.T) {
	release := make(chan struct{})
	e := newEdge(t)
	a, _ := connected(t, e, func(o *ClientOptions) {
		o.Command = func(_ context.Context, c Command) error {
			if c.Session == "slow" {
				<-release
			}
			return nil
		}
	})
	slow := make(chan error, 1)
	go func() { slow <- e.hub.Command(deadlined(t), a.id, 0, command("1", "slow")) }()
	if err := e.hub.Command(deadlined(t), a.id, 0, command("2", "quick")); err != nil {
		t.Error(err)
	}
	close(release)
	if err := <-slow; err != nil {
		t.Error(err)
	}
}

func TestTooManyCommandsAreRefused(t *testing.T) {
	var tasks sync.WaitGroup
	release := make(chan struct{})
	q := newCommandQueue(func(context.Context, Command) error { <-release; return nil }, &tasks)
	for i := range maxCommands {
		ask(q, command(fmt.Sprint(i), "s"), nil)
	}
	var answer error
	ask(q, command("one too many", "s"), &answer)
	wantCode(t, answer, CodeAgentBusy)
	close(release)
	tasks.Wait()
	ask(q, command("one too many", "s"), &answer) // its edge has gone elsewhere with it
	wantCode(t, answer, CodeAgentBusy)
}

func TestReportsAreSentInOrderAndTheNewestSurvivesAReconnect(t *testing.T) {
	e := newEdge(t)
	o := agentOptions(e)
	id := o.Hello().AgentID
	running := Report{Session: "running", State: SessionRunning}
	o.Hello = func() Hello {
		return Hello{AgentID: id, Name: "a", Capacity: 1, Weight: 1, Sessions: []Report{running}}
	}
	a := &testAgent{Client: NewClient(o), id: id, result: make(chan error, 1)}
	// Before there is a tunnel: what the hello tells is not told again.
	a.Report(Report{Session: "running", State: SessionStarting})
	a.Report(Report{Session: "gone", State: SessionStarting})
	a.Report(Report{Session: "crashed", State: SessionFailed, Reason: "Xvnc ended"})
	a.Report(Report{Session: "gone", State: SessionEnded})
	a.run(t)
	if up := e.next("up"); len(up.hello.Sessions) != 1 || up.hello.Sessions[0] != running {
		t.Errorf("hello with %+v", up.hello.Sessions)
	}
	for _, want := range []Report{
		{Session: "crashed", State: SessionFailed, Reason: "Xvnc ended"},
		{Session: "gone", State: SessionEnded},
	} {
		if got := e.next("state").report; got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	for i := range 100 {
		a.Report(Report{Session: fmt.Sprint(i), State: SessionRunning})
	}
	for i := range 100 {
		if got := e.next("state").report; got.Session != fmt.Sprint(i) {
			t.Fatalf("report %d is of session %s", i, got.Session)
		}
	}
}

func TestLeaveTellsTheEdgeAndEndsRun(t *testing.T) {
	for _, bye := range []Bye{{Reason: "shut down", Final: true}, {Reason: "restart"}} {
		t.Run(bye.Reason, func(t *testing.T) {
			e := newTLSEdge(t)
			a, up := connected(t, e, nil)
			a.Report(Report{Session: "s", State: SessionEnded})
			if err := a.Leave(deadlined(t), bye); err != nil {
				t.Errorf("leave: %v", err)
			}
			if s := e.next("state"); s.report.State != SessionEnded {
				t.Errorf("state %+v ahead of the bye", s.report)
			}
			down := e.next("down")
			if down.generation != up.generation || down.down.Bye == nil || *down.down.Bye != bye {
				t.Errorf("down %+v", down)
			}
			select {
			case err := <-a.result:
				if err != nil {
					t.Errorf("run: %v", err)
				}
				a.result <- nil // for end
			case <-time.After(hang):
				t.Error("Run goes on after Leave")
			}
		})
	}
}

func TestLeaveWithoutATunnelEndsRun(t *testing.T) {
	e := newEdge(t)
	o := agentOptions(e)
	o.Edges = []string{"http://127.0.0.1:1"} // nobody listens
	a := startAgent(t, o)
	if err := a.Leave(deadlined(t), Bye{Reason: "restart"}); err == nil {
		t.Error("leave without a tunnel: no error")
	}
	err := <-a.result
	if err != nil {
		t.Errorf("run: %v", err)
	}
	a.result <- nil
}
