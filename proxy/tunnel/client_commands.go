package tunnel

import (
	"context"
	"sync"
	"time"
)

const (
	commandsAtOnce = 16
	maxCommands    = 1024 // that run or wait
	commandLimit   = time.Minute
	takenCommands  = 4096 // ids of commands that were taken and are known for a while
)

// commandQueue runs the commands of all edges: those of one session in their
// order, those of several at once, and each id once. A command that was taken is
// acked again when it comes again, by whatever edge, and not run again: it may
// come after what undid it. One that failed may be tried again. Safe for
// concurrent use.
type commandQueue struct {
	run   func(ctx context.Context, c Command) error
	slots chan struct{}
	tasks *sync.WaitGroup // counts the goroutines

	mu       sync.Mutex
	count    int
	sessions map[string][]*queuedCommand // a key exists while a goroutine works on it
	byID     map[string]*queuedCommand   // those that run or wait
	taken    map[string]bool
	order    []string // of taken, a ring
	oldest   int      // in order
}

type queuedCommand struct {
	Command
	acks []func(error) // guarded by the queue's mu
}

func newCommandQueue(run func(context.Context, Command) error, tasks *sync.WaitGroup) *commandQueue {
	return &commandQueue{
		run: run, slots: make(chan struct{}, commandsAtOnce), tasks: tasks,
		sessions: make(map[string][]*queuedCommand), byID: make(map[string]*queuedCommand), taken: make(map[string]bool),
	}
}

// add queues c; ack is called once with its result, perhaps before add returns,
// or never when ctx ends first. It fails with CodeAgentBusy when too many wait.
func (q *commandQueue) add(ctx context.Context, c Command, ack func(error)) error {
	known, err := q.enqueue(ctx, c, ack)
	if known {
		ack(nil)
	}
	return err
}

// enqueue reports a command that was taken before.
func (q *commandQueue) enqueue(ctx context.Context, c Command, ack func(error)) (known bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.taken[c.ID] {
		return true, nil
	}
	if same := q.byID[c.ID]; same != nil {
		if len(same.acks) >= maxCommands {
			return false, Errorf(CodeAgentBusy, "the command waits at the agent, and so do %d repeats of it", len(same.acks)-1)
		}
		same.acks = append(same.acks, ack)
		return false, nil
	}
	if q.count >= maxCommands {
		return false, Errorf(CodeAgentBusy, "%d commands wait at the agent", q.count)
	}
	q.count++
	queued := &queuedCommand{Command: c, acks: []func(error){ack}}
	if c.ID != "" {
		q.byID[c.ID] = queued
	}
	waiting, working := q.sessions[c.Session]
	q.sessions[c.Session] = append(waiting, queued)
	if !working {
		q.tasks.Go(func() { q.work(ctx, c.Session) })
	}
	return false, nil
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
			limited, cancel := context.WithTimeout(ctx, commandLimit)
			err := q.run(limited, next.Command)
			cancel()
			<-q.slots
			for _, ack := range q.done(next, err == nil) {
				ack(err)
			}
		case <-ctx.Done():
			q.done(next, false)
		}
	}
}

// done forgets a command, or remembers it as taken, and returns who is to be told.
func (q *commandQueue) done(c *queuedCommand, taken bool) []func(error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.count--
	if c.ID == "" {
		return c.acks
	}
	delete(q.byID, c.ID)
	if !taken {
		return c.acks
	}
	if len(q.order) < takenCommands {
		q.order = append(q.order, c.ID)
	} else {
		delete(q.taken, q.order[q.oldest])
		q.order[q.oldest] = c.ID
		q.oldest = (q.oldest + 1) % takenCommands
	}
	q.taken[c.ID] = true
	return c.acks
}
