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
)

// reportQueue holds what the edge must still be told: the newest report of
// each session, in the order in which they came. Safe for concurrent use.
type reportQueue struct {
	ready chan struct{} // has room for one: something was put

	mu      sync.Mutex
	count   uint64
	waiting []numberedReport
}

type numberedReport struct {
	Report
	number uint64
}

func newReportQueue() *reportQueue { return &reportQueue{ready: make(chan struct{}, 1)} }

func (q *reportQueue) put(r Report) {
	q.mu.Lock()
	q.count++
	q.waiting = slices.DeleteFunc(q.waiting, func(w numberedReport) bool { return w.Session == r.Session })
	q.waiting = append(q.waiting, numberedReport{r, q.count})
	q.mu.Unlock()
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

func (q *reportQueue) pop() (r numberedReport, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		return numberedReport{}, false
	}
	r = q.waiting[0]
	q.waiting = slices.Delete(q.waiting, 0, 1)
	return r, true
}

// putBack returns what could not be sent, unless there is newer.
func (q *reportQueue) putBack(r numberedReport) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !slices.ContainsFunc(q.waiting, func(w numberedReport) bool { return w.Session == r.Session }) {
		q.waiting = slices.Insert(q.waiting, 0, r)
	}
}

// mark is the number of the newest report so far.
func (q *reportQueue) mark() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.count
}

// forget drops what a hello, made after mark, has told of these sessions.
// Reports of sessions that it does not name, because they are gone, stay.
func (q *reportQueue) forget(mark uint64, told []Report) {
	q.mu.Lock()
	defer q.mu.Unlock()
	named := make(map[string]bool, len(told))
	for _, r := range told {
		named[r.Session] = true
	}
	q.waiting = slices.DeleteFunc(q.waiting, func(w numberedReport) bool { return w.number <= mark && named[w.Session] })
}

// commandQueue runs the edge's commands: those of one session in their order,
// those of several at once. Safe for concurrent use.
type commandQueue struct {
	run   func(ctx context.Context, c Command) error
	slots chan struct{}
	tasks *sync.WaitGroup // counts the goroutines

	mu       sync.Mutex
	count    int
	sessions map[string][]queuedCommand // a key exists while a goroutine works on it
}

type queuedCommand struct {
	Command
	ack func(error)
}

func newCommandQueue(run func(context.Context, Command) error, tasks *sync.WaitGroup) *commandQueue {
	return &commandQueue{run: run, slots: make(chan struct{}, commandsAtOnce), tasks: tasks, sessions: make(map[string][]queuedCommand)}
}

// add queues c; ack is called once with its result, or never when ctx ends
// first. It fails with CodeAgentBusy when too many wait.
func (q *commandQueue) add(ctx context.Context, c Command, ack func(error)) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.count >= maxCommands {
		return Errorf(CodeAgentBusy, "%d commands wait at the agent", q.count)
	}
	q.count++
	waiting, working := q.sessions[c.Session]
	q.sessions[c.Session] = append(waiting, queuedCommand{c, ack})
	if !working {
		q.tasks.Go(func() { q.work(ctx, c.Session) })
	}
	return nil
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
			next.ack(err)
		case <-ctx.Done():
		}
		q.mu.Lock()
		q.count--
		q.mu.Unlock()
	}
}
