package tunnel

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
)

// commandLog records what is run.
type commandLog struct {
	mu  sync.Mutex
	ids []string
}

func (l *commandLog) add(c Command) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ids = append(l.ids, c.ID)
}

func (l *commandLog) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.ids)
}

// TestACommandOfTwoEdgesIsRunOnce: both send it, at the same time and again
// later, and both get its ack.
func TestACommandOfTwoEdgesIsRunOnce(t *testing.T) {
	c := newCluster(t, "a", "b")
	var ran commandLog
	started, release := make(chan struct{}, 1), make(chan struct{})
	o := c.options("a")
	o.Command = func(_ context.Context, c Command) error {
		ran.add(c)
		started <- struct{}{}
		<-release
		return nil
	}
	agent := startAgent(t, o)
	results := make(chan error, 2)
	for _, n := range c.nodes {
		n.next("up")
		go func() { results <- n.hub.Command(deadlined(t), agent.id, 0, command("1", "s")) }()
	}
	<-started
	eventually(t, "both wait for it", func() bool {
		agent.commands.mu.Lock()
		defer agent.commands.mu.Unlock()
		return len(agent.commands.byID["1"].askers) == 2
	})
	close(release)
	for range c.nodes {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	for _, n := range c.nodes {
		if err := n.hub.Command(deadlined(t), agent.id, 0, command("1", "s")); err != nil {
			t.Error(err)
		}
	}
	if got := ran.all(); !slices.Equal(got, []string{"1"}) {
		t.Errorf("ran %v", got)
	}
}

// TestACommandIsDecidedOnce: an edge that has heard of a refusal may have placed the
// session elsewhere, when the same command of another edge comes at last.
func TestACommandIsDecidedOnce(t *testing.T) {
	for _, c := range []struct {
		answers []error // of those that are run
		want    []Code
	}{
		{[]error{nil}, []Code{"", "", ""}},
		{[]error{Errorf(CodeNoRoom, "full")}, []Code{CodeNoRoom, CodeNoRoom, CodeNoRoom}},
		{[]error{Errorf(CodeTimeout, "not decided"), nil}, []Code{CodeTimeout, "", ""}},
	} {
		var tasks sync.WaitGroup
		ran := 0
		q := newCommandQueue(func(context.Context, Command) error { ran++; return c.answers[min(ran, len(c.answers))-1] }, &tasks)
		for _, want := range c.want {
			var got error
			ask(q, command("1", "s"), &got)
			tasks.Wait()
			wantCode(t, got, want)
		}
		if ran != len(c.answers) {
			t.Errorf("ran %d times, want %d", ran, len(c.answers))
		}
	}
}

// TestACommandThatNobodyWaitsForIsDropped: its edge has told that the agent may have
// taken it, and what came of that may be over.
func TestACommandThatNobodyWaitsForIsDropped(t *testing.T) {
	var tasks sync.WaitGroup
	var ran commandLog
	started, release := make(chan struct{}), make(chan struct{})
	q := newCommandQueue(func(_ context.Context, c Command) error {
		if c.ID == "first" {
			close(started)
			<-release
		}
		ran.add(c)
		return nil
	}, &tasks)
	ended, end := context.WithCancel(context.Background())
	nobody := asker{ended, func(error) { t.Error("acked by a tunnel that has ended") }}
	ask(q, command("first", "s"), nil)
	<-started
	q.add(context.Background(), command("dropped", "s"), nobody)
	q.add(context.Background(), command("wanted", "s"), asker{ended, func(error) {}})
	ask(q, command("wanted", "s"), nil)
	end()
	close(release)
	tasks.Wait()
	ask(q, command("dropped", "s"), nil) // it was not decided
	tasks.Wait()
	if got := ran.all(); !slices.Equal(got, []string{"first", "wanted", "dropped"}) {
		t.Errorf("ran %v", got)
	}
}

// TestACommandGoesByItsOwnTunnel: one that was decided on before the agent left, and
// is late, does not reach the agent that came back.
func TestACommandGoesByItsOwnTunnel(t *testing.T) {
	e := newEdge(t)
	var ran commandLog
	a, up := connected(t, e, func(o *ClientOptions) {
		o.Command = func(_ context.Context, c Command) error { ran.add(c); return nil }
	})
	err := e.hub.Command(deadlined(t), a.id, up.generation-1, command("1", "s"))
	wantCode(t, err, CodeAgentOffline)
	if !Undecided(err) {
		t.Error("taken for a refusal")
	}
	if err := e.hub.Command(deadlined(t), a.id, up.generation, command("2", "s")); err != nil {
		t.Error(err)
	}
	if got := ran.all(); !slices.Equal(got, []string{"2"}) {
		t.Errorf("ran %v", got)
	}
}

func TestDecidedCommandsAreKnownForAWhile(t *testing.T) {
	var tasks sync.WaitGroup
	var ran commandLog
	q := newCommandQueue(func(_ context.Context, c Command) error { ran.add(c); return nil }, &tasks)
	send := func(id string) {
		t.Helper()
		ask(q, command(id, "s"), nil)
		tasks.Wait()
	}
	for i := range knownCommands + 1 {
		send(fmt.Sprint(i))
	}
	if len(q.decided) != knownCommands || len(q.order) != knownCommands || len(q.byID) != 0 {
		t.Errorf("%d ids are known, %d in order, %d wait", len(q.decided), len(q.order), len(q.byID))
	}
	send(fmt.Sprint(knownCommands)) // known
	send("1")                       // known
	send("0")                       // forgotten
	if got := len(ran.all()); got != knownCommands+2 {
		t.Errorf("%d commands ran, want %d", got, knownCommands+2)
	}
}

func TestRepeatsOfOneCommandAreBounded(t *testing.T) {
	var tasks sync.WaitGroup
	release := make(chan struct{})
	q := newCommandQueue(func(context.Context, Command) error { <-release; return nil }, &tasks)
	for range maxCommands {
		ask(q, command("1", "s"), nil)
	}
	var answer error
	ask(q, command("1", "s"), &answer)
	wantCode(t, answer, CodeTimeout) // the others may yet have it taken
	close(release)
	tasks.Wait()
}

func TestReportsWaitUntilOneEdgeIsTold(t *testing.T) {
	o := newOutbox()
	drain := func(q *reportQueue, send bool) (sessions []string) {
		for r, ok := q.pop(); ok; r, ok = q.pop() {
			sessions = append(sessions, r.Session+" "+string(r.State))
			if send {
				q.told(r)
			}
		}
		return sessions
	}
	want := func(got []string, want ...string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	o.put(Report{Session: "1", State: SessionStarting})
	o.put(Report{Session: "2", State: SessionRunning})
	o.put(Report{Session: "1", State: SessionFailed})
	a, _ := o.open()
	want(drain(a, false), "2 running", "1 failed")
	a.close() // nothing of it was sent
	a, _ = o.open()
	b, mark := o.open()
	b.forget(mark, []Report{{Session: "2"}})
	o.put(Report{Session: "3", State: SessionRunning})
	want(drain(b, true), "1 failed", "3 running")
	want(drain(a, false), "2 running", "1 failed", "3 running")
	late, _ := o.open() // all was told by then
	want(drain(late, true))
	for _, q := range []*reportQueue{a, b, late} {
		q.close()
	}
	o.put(Report{Session: "3", State: SessionEnded})
	if len(o.queues) != 0 || len(o.untold) != 1 {
		t.Errorf("%d queues, untold %v", len(o.queues), o.untold)
	}
}
