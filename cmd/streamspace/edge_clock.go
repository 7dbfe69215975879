package main

import (
	"context"
	"time"

	"go.uber.org/zap"
)

// clockLooks is how often it is looked whether this host's clock is right, and how
// long it has to be wrong to be told: that of a host that slept is known to be
// right as soon as the database's was read again.
const clockLooks = 10 * time.Second

// now is the time of day by the clock that all edges share.
func (e *edge) now() time.Time { return time.Now().Add(e.store.ClockAhead()) }

// clockOffset is how far this host's clock is ahead of that which all edges share.
func (e *edge) clockOffset() time.Duration { return -e.store.ClockAhead() }

// followClock logs when this host's clock is wrong, by how much, when that
// changes, and when it is right, until ctx ends. It returns nil.
func (e *edge) followClock(ctx context.Context) error {
	tick := time.NewTicker(clockLooks)
	defer tick.Stop()
	var seen, told time.Duration
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		before := seen
		if seen = e.clockOffset(); seen != before || seen == told {
			continue
		}
		told = seen
		side := "ahead"
		if told < 0 {
			side = "behind"
		}
		if told == 0 {
			e.log.Info("this host's clock is right again")
		} else {
			e.log.Warn("this host's clock differs from the database's; set both by NTP (chrony)", zap.Duration(side, told.Abs()))
		}
	}
}
