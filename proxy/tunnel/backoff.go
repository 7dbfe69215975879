package tunnel

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	firstBackoff = 250 * time.Millisecond
	lastBackoff  = 15 * time.Second
)

// backoff spreads retries: a wait is uniform between 0 and a limit that
// doubles each time ("full jitter"), so that the agents of an edge that
// restarts don't come back all at once. The zero value is ready to use.
type backoff struct{ attempts int }

func (b *backoff) next() time.Duration {
	limit := min(firstBackoff<<min(b.attempts, 10), lastBackoff)
	b.attempts++
	return rand.N(limit)
}

func (b *backoff) reset() { b.attempts = 0 }

// longest is for what only a person can mend: between half of limit and limit.
func longest(limit time.Duration) time.Duration { return limit/2 + rand.N(limit/2) }

// pause waits; it reports false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
