package bench

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// fleetPlan is the viewers of one measurement.
type fleetPlan struct {
	Door    door
	Work    string
	Seed    uint64
	Viewers int
	AtOnce  int // how many connect at the same time
}

// fleetCounts is what the viewers saw since the last mark.
type fleetCounts struct {
	Bytes   int64 // of RFB, behind the hello
	Updates int64
	Inputs  int64 // since the start
	Delays  *delays
}

const (
	drainLimit = 60 * time.Second // for what is under way when the traffic stops
	leaveLimit = 5 * time.Second
)

// fleet is all the viewers of one measurement.
type fleet struct {
	plan    fleetPlan
	block   block
	offer   *tls.Config
	viewers []*viewer
	reading sync.WaitGroup
	typing  sync.WaitGroup
	cancel  context.CancelFunc
	fail    func(error)

	ended, bytes, updates, inputs atomic.Int64
	leaving                       atomic.Bool

	mu     sync.Mutex
	delays *delays
}

func newFleet(plan fleetPlan, fail func(error)) *fleet {
	return &fleet{plan: plan, block: newBlock(plan.Seed), offer: tlsOffer(), fail: fail, delays: newDelays()}
}

// connect brings all viewers in and leaves them reading.
func (f *fleet) connect(ctx context.Context) error {
	viewers := make([]*viewer, f.plan.Viewers)
	err := inParallel(ctx, f.plan.AtOnce, f.plan.Viewers, func(ctx context.Context, i int) error {
		v, err := connect(ctx, f.plan.Door, f.offer, i, f.block)
		viewers[i] = v
		return ofViewer(i, err)
	})
	for i, v := range viewers {
		if v == nil {
			continue
		}
		f.viewers = append(f.viewers, v)
		v.check.update = f.watch(v)
		f.reading.Go(func() { f.read(i, v) })
	}
	return err
}

func ofViewer(i int, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("viewer %d: %w", i, err)
}

// watch returns what is to be done with each update of v.
func (f *fleet) watch(v *viewer) func(number, sent uint32, size int) {
	return func(number, sent uint32, _ int) {
		f.updates.Add(1)
		var delay time.Duration
		switch f.plan.Work {
		case workEcho:
			delay = time.Since(v.born) - time.Duration(v.sent[number%outstanding].Load())
			v.answered.Store(number + 1)
		case workDesktop, workHold:
			delay = time.Duration(now()-sent) * time.Microsecond
		default:
			return
		}
		f.mu.Lock()
		f.delays.add(delay)
		f.mu.Unlock()
	}
}

func (f *fleet) read(i int, v *viewer) {
	err := v.wire.pump(func(p []byte) error {
		f.bytes.Add(int64(len(p)))
		if err := v.check.check(p); err != nil {
			return &wrongBytes{err}
		}
		if v.check.ended {
			return errAllCame
		}
		return nil
	})
	var wrong *wrongBytes
	switch {
	case errors.Is(err, errAllCame):
		f.ended.Add(1)
		v.leave(leaveLimit)
		return
	case errors.As(err, &wrong):
		f.fail(fmt.Errorf("viewer %d: WRONG BYTES: %w", i, err))
	case !f.leaving.Load():
		f.fail(fmt.Errorf("viewer %d lost its stream behind byte %d: %w", i, v.check.position, err))
	}
	_ = v.plain.Close()
}

type wrongBytes struct{ error }

var errAllCame = errors.New("the last update came")

// start begins the traffic.
func (f *fleet) start() error {
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel = cancel
	for i, v := range f.viewers {
		if err := v.order(keyStart); err != nil {
			return fmt.Errorf("viewer %d: %w", i, err)
		}
		switch f.plan.Work {
		case workEcho:
			f.typing.Go(func() { f.echo(ctx, i, v) })
		case workDesktop:
			f.typing.Go(func() { f.use(ctx, i, v) })
		}
	}
	return nil
}

// echo types at a steady pace, whether answers come or not.
func (f *fleet) echo(ctx context.Context, i int, v *viewer) {
	phase := echoPause * time.Duration(i) / time.Duration(f.plan.Viewers) // spread them
	if !sleep(ctx, phase) {
		return
	}
	tick := time.NewTicker(echoPause)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if v.number-v.answered.Load() >= outstanding {
			continue
		}
		f.inputs.Add(1)
		if err := v.input(true); err != nil {
			return // the reader tells
		}
	}
}

// use moves the pointer and types now and then.
func (f *fleet) use(ctx context.Context, i int, v *viewer) {
	model := newInputModel(f.plan.Seed, i)
	for {
		pause, key := model.next()
		if !sleep(ctx, pause) {
			return
		}
		f.inputs.Add(1)
		if err := v.input(key); err != nil {
			return
		}
	}
}

func (f *fleet) mark() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.bytes.Store(0)
	f.updates.Store(0)
	f.delays.Reset()
}

func (f *fleet) counts() fleetCounts {
	f.mu.Lock()
	defer f.mu.Unlock()
	return fleetCounts{Bytes: f.bytes.Load(), Updates: f.updates.Load(), Inputs: f.inputs.Load(), Delays: &delays{f.delays.Clone()}}
}

// stop ends the traffic, waits until every viewer has the last of its bytes,
// and lets them leave.
func (f *fleet) stop() error {
	if f.cancel != nil {
		f.cancel()
	}
	f.typing.Wait()
	for i, v := range f.viewers {
		if err := v.plain.SetDeadline(time.Now().Add(drainLimit)); err != nil {
			return fmt.Errorf("viewer %d: %w", i, err)
		}
		if err := v.order(keyStop); err != nil {
			return fmt.Errorf("viewer %d: %w", i, err)
		}
	}
	f.reading.Wait()
	if n := f.ended.Load(); n != int64(len(f.viewers)) {
		return fmt.Errorf("%d of %d viewers did not get the last of their bytes", int64(len(f.viewers))-n, len(f.viewers))
	}
	return nil
}

// close ends what is still there.
func (f *fleet) close() {
	f.leaving.Store(true)
	if f.cancel != nil {
		f.cancel()
	}
	for _, v := range f.viewers {
		_ = v.plain.Close()
	}
	f.typing.Wait()
	f.reading.Wait()
}

// storm lets all viewers come, say hello and leave, and tells how long the
// coming took.
func (f *fleet) storm(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	err := inParallel(ctx, f.plan.AtOnce, f.plan.Viewers, func(ctx context.Context, i int) error {
		came := time.Now()
		v, err := connect(ctx, f.plan.Door, f.offer, i, f.block)
		if err != nil {
			return ofViewer(i, err)
		}
		f.mu.Lock()
		f.delays.add(time.Since(came))
		f.mu.Unlock()
		v.wire.take = func([]byte) error { return nil }
		v.leave(leaveLimit)
		return nil
	})
	return time.Since(began), err
}
