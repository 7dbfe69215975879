package sqldb

import (
	"context"
	"sync/atomic"
	"time"
)

// slots bound how many calls have a connection at once. Beside the ordinary
// ones there is a reserve for calls that have waited for a while, like
// PgBouncer's reserve_pool_size and reserve_pool_timeout: slow calls that take
// all ordinary slots do not stop the quick ones behind them.
type slots struct {
	ordinary, reserve chan struct{}
	reserveAfter      time.Duration
	waiting           atomic.Int64
}

func newSlots(ordinary, reserve int, reserveAfter time.Duration) *slots {
	return &slots{ordinary: make(chan struct{}, ordinary), reserve: make(chan struct{}, reserve), reserveAfter: reserveAfter}
}

// take waits for a slot until ctx ends, and returns what gives it back; nil
// when ctx has ended.
func (s *slots) take(ctx context.Context) (release func()) {
	select {
	case s.ordinary <- struct{}{}:
		return func() { <-s.ordinary }
	default:
	}
	s.waiting.Add(1)
	defer s.waiting.Add(-1)
	patience := time.NewTimer(s.reserveAfter)
	defer patience.Stop()
	select {
	case s.ordinary <- struct{}{}:
		return func() { <-s.ordinary }
	case <-ctx.Done():
		return nil
	case <-patience.C:
	}
	select {
	case s.ordinary <- struct{}{}:
		return func() { <-s.ordinary }
	case s.reserve <- struct{}{}:
		return func() { <-s.reserve }
	case <-ctx.Done():
		return nil
	}
}

// inUse is how many slots are taken.
func (s *slots) inUse() int { return len(s.ordinary) + len(s.reserve) }
