package tunnel

import (
	"context"
	"slices"
	"sync"
	"time"
)

const (
	commandsAtOnce = 16
	maxCommands    = 1024 // that run or wait
	commandLimit   = time.Minute
	knownCommands  = 4096 // decided ones whose ids are known for a while
)

// commandQueue runs the commands of all edges: those of one session in their
// order, those of several at once, and each id once. A command that was taken or
// refused gets the same answer when it comes again, by whatever edge, and is not
// run again: what undid it, or what an edge made of the refusal, may have come
// before. One that is Undecided may be tried again. One whose edges have all lost
// their tunnels while it waited is dropped: they have told that it is not known
// whether it was taken. Safe for concurrent use.
type commandQueue struct {
	run   func(ctx context.Context, c Command) error
	slots chan struct{}
	tasks *sync.WaitGroup // counts the goroutines

	mu       sync.Mutex
	count    int
	sessions map[string][]*queuedCommand // a key exists while a goroutine works on it
	byID     map[string]*queuedCommand   // those that run or wait
	decided  map[string]error            // nil: taken
	order    []string                    // of decided, a ring
	oldest   int                         // in order
}

type queuedCommand struct {
	Command
	askers []asker // guarded by the queue's mu
}

// asker is a tunnel by which a command has come.
type asker struct {
	tunnel context.Context // ends with it
	ack    func(error)
}

func newCommandQueue(run func(context.Context, Command) error, tasks *sync.WaitGroup) *commandQueue {
	return &commandQueue{
		run: run, slots: make(chan struct{}, commandsAtOnce), tasks: tasks,
		sessions: make(map[string][]*queuedCommand), byID: make(map[string]*queuedCommand), decided: make(map[string]error),
	}
}

// add queues c for a; a.ack is called once with its result, perhaps before add
// returns, or never when ctx or all that asked for it end first.
func (q *commandQueue) add(ctx context.Context, c Command, a asker) {
	if answer, is := q.enqueue(ctx, c, a); is {
		a.ack(answer)
	}
}

// enqueue returns the answer to a command that has one already.
func (q *commandQueue) enqueue(ctx context.Context, c Command, a asker) (answer error, is bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if answer, is = q.decided[c.ID]; is {
		return answer, true
	}
	if same := q.byID[c.ID]; same != nil {
		if len(same.askers) >= maxCommands {
			return Errorf(CodeTimeout, "the command waits at the agent, and so do %d repeats of it", len(same.askers)-1), true
		}
		same.askers = append(same.askers, a)
		return nil, false
	}
	if q.count >= maxCommands {
		answer = Errorf(CodeAgentBusy, "%d commands wait at the agent", q.count)
		q.know(c.ID, answer)
		return answer, true
	}
	q.count++
	queued := &queuedCommand{Command: c, askers: []asker{a}}
	if c.ID != "" {
		q.byID[c.ID] = queued
	}
	waiting, working := q.sessions[c.Session]
	q.sessions[c.Session] = append(waiting, queued)
	if !working {
		q.tasks.Go(func() { q.work(ctx, c.Session) })
	}
	return nil, false
}

func (q *commandQueue) work(ctx context.Context, session string) {
	for {
		q.mu.Lock()
		waiting := q.sessions[session]
		if len(waiting) == 0 {
			delete(q.sessions, session)
			q.mu.Unlock()
			return
		}
		next := waiting[0]
		q.sessions[session] = waiting[1:]
		q.mu.Unlock()

		select {
		case q.slots <- struct{}{}:
			q.decide(ctx, next)
			<-q.slots
		case <-ctx.Done():
			q.done(next, Errorf(CodeTimeout, "the agent ends"))
		}
	}
}

// decide runs a command that somebody still waits for.
func (q *commandQueue) decide(ctx context.Context, c *queuedCommand) {
	if q.dropped(c) {
		return
	}
	limited, cancel := context.WithTimeout(ctx, commandLimit)
	err := q.run(limited, c.Command)
	cancel()
	for _, a := range q.done(c, err) {
		a.ack(err)
	}
}

// dropped forgets a command that nobody waits for any more.
func (q *commandQueue) dropped(c *queuedCommand) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if slices.ContainsFunc(c.askers, func(a asker) bool { return a.tunnel.Err() == nil }) {
		return false
	}
	q.forget(c)
	return true
}

// done forgets a command, or remembers its answer, and returns who is to be told.
func (q *commandQueue) done(c *queuedCommand, answer error) []asker {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.forget(c)
	if !Undecided(answer) {
		q.know(c.ID, answer)
	}
	return c.askers
}

// forget is called with mu held, and so is know.
func (q *commandQueue) forget(c *queuedCommand) {
	q.count--
	delete(q.byID, c.ID)
}

func (q *commandQueue) know(id string, answer error) {
	if id == "" {
		return
	}
	if len(q.order) < knownCommands {
		q.order = append(q.order, id)
	} else {
		delete(q.decided, q.order[q.oldest])
		q.order[q.oldest] = id
		q.oldest = (q.oldest + 1) % knownCommands
	}
	q.decided[id] = answer
}
