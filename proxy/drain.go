package proxy

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// Drain refuses new viewers from now on, until Resume, and asks those that are here to connect
// elsewhere (close code 1012), spread over window so that they do not all come
// back in the same instant. It returns when all have gone or ctx has ended;
// Close ends those that are left.
func (p *Proxy) Drain(ctx context.Context, window time.Duration) {
	leaving, empty := p.stopAdmitting()
	rand.Shuffle(len(leaving), func(i, j int) { leaving[i], leaving[j] = leaving[j], leaving[i] })
	begin := time.Now()
	for i, s := range leaving {
		// One in each slot of the window, somewhere inside the slot.
		due := time.Duration((float64(i) + rand.Float64()) / float64(len(leaving)) * float64(window))
		if !sleep(ctx, time.Until(begin.Add(due))) {
			return
		}
		s.post(func() { s.end(&Refusal{Reason: NodeDraining}) })
	}
	select {
	case <-empty:
	case <-ctx.Done():
	}
}

// Resume takes new viewers again after a Drain, which has returned. After Close
// it changes nothing.
func (p *Proxy) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.draining || p.closing {
		return
	}
	p.draining, p.empty = false, make(chan struct{})
}

// Close refuses new viewers, ends those that are here and waits until all that
// belongs to them is gone. When ctx ends first, their connections are cut
// without last words; the error tells how many were.
func (p *Proxy) Close(ctx context.Context) error {
	p.mu.Lock()
	p.closing = true
	p.mu.Unlock()
	leaving, empty := p.stopAdmitting()
	for _, s := range leaving {
		s.post(func() { s.end(&Refusal{Reason: NodeDraining}) })
	}
	defer p.release()
	select {
	case <-empty:
		p.running.Wait()
		return nil
	case <-ctx.Done():
	}
	cut, _ := p.stopAdmitting()
	for _, s := range cut {
		s.post(func() {
			s.end(&Refusal{Reason: NodeDraining})
			s.cut()
		})
	}
	select {
	case <-empty:
	case <-time.After(p.times.close): // a Dial that ignores its context is all that can take so long
	}
	return fmt.Errorf("%d viewers did not leave in time and were cut off: %w", len(cut), ctx.Err())
}

// release ends what outlives the streams.
func (p *Proxy) release() {
	p.cancel()
	if p.options.Reactor == nil {
		p.reactor.Close()
	}
}

// stopAdmitting returns the streams that are left, and what is closed when the
// last one has gone.
func (p *Proxy) stopAdmitting() (left []*stream, empty <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.draining {
		p.draining = true
		if len(p.streams) == 0 {
			close(p.empty)
		}
	}
	for s := range p.streams {
		left = append(left, s)
	}
	return left, p.empty
}

// sleep waits for d and tells whether ctx lasted as long.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
