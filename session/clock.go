package session

import "time"

// Instants in rows are by the store's clock, which all edges share. Waits are by
// this edge's monotonic clock, so that who sets its time of day ends no session.

// storeNow is the time of day by the store's clock.
func (m *Manager) storeNow() time.Time { return time.Now().Add(m.o.Store.ClockAhead()) }

// here is t, an instant of a row, by the clock of this edge. ahead is
// store.Store.ClockAhead.
func here(t, now time.Time, ahead time.Duration) time.Time {
	if t.IsZero() {
		return t
	}
	return now.Add(t.Round(0).Add(-ahead).Sub(now))
}

// there is t, an instant by the clock of this edge, as rows have it.
func there(t, now time.Time, ahead time.Duration) time.Time {
	if t.IsZero() {
		return t
	}
	return now.Add(t.Sub(now)).Add(ahead).UTC().Truncate(time.Microsecond)
}
