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
		go func() { results <- n.hub.Command(deadlined(t), agent.id, command("1", "s")) }()
	}
	<-started
	eventually(t, "both wait for it", func() bool {
		agent.commands.mu.Lock()
		defer agent.commands.mu.Unlock()
		return len(agent.commands.byID["1"].acks) == 2
	})
	close(release)
	for range c.nodes {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	for _, n := range c.nodes {
		if err := n.hub.Command(deadlined(t), agent.id, command("1", "s")); err != nil {
			t.Error(err)
		}
	}
	if got := ran.all(); !slices.Equal(got, []string{"1"}) {
		t.Errorf("ran %v", got)
	}
}

func TestACommandThatFailedMayComeAgain(t *testing.T) {
	var tasks sync.WaitGroup
	var ran commandLog
	q := newCommandQueue(func(_ context.Context, c Command) error {
		ran.add(c)
		if len(ran.all()) == 1 {
			return Errorf(CodeNoRoom, "full")
		}
		return nil
	}, &tasks)
	for _, want := range []Code{CodeNoRoom, "", ""} {
		var got error
		if err := q.add(context.Background(), command("1", "s"), func(err error) { got = err }); err != nil {
			t.Fatal(err)
		}
		tasks.Wait()
		wantCode(t, got, want)
	}
	if got := ran.all(); len(got) != 2 {
		t.Errorf("ran %v", got)
	}
}

func TestTakenCommandsAreKnownForAWhile(t *testing.T) {
	var tasks sync.WaitGroup
	var ran commandLog
	q := newCommandQueue(func(_ context.Context, c Command) error { ran.add(c); return nil }, &tasks)
	send := func(id string) {
		t.Helper()
		if err := q.add(context.Background(), command(id, "s"), func(error) {}); err != nil {
			t.Fatal(err)
		}
		tasks.Wait()
	}
	for i := range takenCommands + 1 {
		send(fmt.Sprint(i))
	}
	if len(q.taken) != takenCommands || len(q.order) != takenCommands || len(q.byID) != 0 {
		t.Errorf("%d ids are known, %d in order, %d wait", len(q.taken), len(q.order), len(q.byID))
	}
	send(fmt.Sprint(takenCommands)) // known
	send("1")                       // known
	send("0")                       // forgotten
	if got := len(ran.all()); got != takenCommands+2 {
		t.Errorf("%d commands ran, want %d", got, takenCommands+2)
	}
}

func TestRepeatsOfOneCommandAreBounded(t *testing.T) {
	var tasks sync.WaitGroup
	release := make(chan struct{})
	q := newCommandQueue(func(context.Context, Command) error { <-release; return nil }, &tasks)
	for range maxCommands {
		if err := q.add(context.Background(), command("1", "s"), func(error) {}); err != nil {
			t.Fatal(err)
		}
	}
	wantCode(t, q.add(context.Background(), command("1", "s"), func(error) {}), CodeAgentBusy)
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
