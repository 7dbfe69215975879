package sqldb

import (
	"sync"
	"time"
)

const (
	// tripAfter is how long a database may fail all calls before it counts as
	// gone: longer than PgBouncer takes to restart, short beside what a person
	// waits for.
	tripAfter = time.Second
	// tripFailures is how many calls have to fail in that time, so that one
	// slow statement on an idle edge is not taken for the end.
	tripFailures = 3
	// probeEvery is how often one call may look whether the database is back.
	probeEvery = 500 * time.Millisecond
)

// breaker keeps calls away from a database that is gone, so that they fail at
// once and do not pile up. Now and then it lets one through, and with the first
// that is answered all others. The zero value lets all through.
type breaker struct {
	mu       sync.Mutex
	failures int       // since the last answer
	began    time.Time // of the first of these calls
	answered time.Time // when the last answered call began
	open     bool
	opened   time.Time // or when the last probe failed
	next     time.Time // when a probe may be made: the first at once, by new connections
	probing  bool
}

// outcome is what a call tells of the database.
type outcome int

const (
	answered outcome = iota // also with a refusal
	gone                    // no answer, or one that says that it is leaving
	unknown                 // the caller left before
)

// enter tells whether a call may be made now. Each that may ends with leave.
func (b *breaker) enter(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case !b.open:
		return true
	case b.probing || now.Before(b.next):
		return false
	default:
		b.probing = true
		return true
	}
}

// leave tells how a call that began then ended now, and returns whether the
// database counts as gone since this very call.
func (b *breaker) leave(began, now time.Time, how outcome) (tripped bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.open && began.Before(b.opened): // the next probe knows better
	case how == unknown:
		b.probing = false
	case how == answered:
		b.failures, b.open, b.probing = 0, false, false
		if began.After(b.answered) {
			b.answered = began
		}
	case b.open:
		b.probing, b.opened, b.next = false, now, now.Add(probeEvery)
	case began.Before(b.answered): // a later call was answered
	default:
		if b.failures == 0 || began.Before(b.began) {
			b.began = began
		}
		if b.failures++; b.failures >= tripFailures && now.Sub(b.began) >= tripAfter {
			b.open, b.opened, b.next = true, now, now
			return true
		}
	}
	return false
}

// isOpen tells whether the database counts as gone.
func (b *breaker) isOpen() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.open
}
