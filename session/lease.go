package session

import "time"

// Where what an agent has lost is started again elsewhere, the agent must have
// ended it before: each beat of its tunnel is answered with a lease, and when that
// is over without another one the agent ends its desktops by itself.
//
// An edge starts a session again LostAfter after some edge has last heard of the
// agent, at the earliest, and the agent counts from when it sent what was heard.
// Between the two ends are leaseMargin and the rates of two clocks.
const (
	// leaseMargin is for the agent to notice, which it does every second, and for
	// desktops to end: they are asked, and killed 3 s later.
	leaseMargin = 5 * time.Second
	// leaseDrift is one part of how many clocks may differ by: Linux steers one by
	// 500 in a million at most (adjtimex(2)), so two are apart by 1 in 1000; twice that.
	leaseDrift = 500
	// leastLostAfter leaves three beats of a tunnel (5 s each) when the margin, and
	// the age of what an edge knows, up to 10 s, are off.
	leastLostAfter = 30 * time.Second
)

// Lease is how long from now what runs at an agent that this edge hears of may
// live without being heard of again. 0: for ever, as it is not started again.
// Negative: this edge can't say.
//
// An edge among several vouches for no longer than the others know of its agents:
// they see its announcements, or it has seen that no session of its agents is
// stored as unreachable, which is what others write before they start it again.
func (m *Manager) Lease() time.Duration {
	if !m.o.RestartLost {
		return 0
	}
	lease := m.limits.lostAfter - leaseMargin - m.limits.lostAfter/leaseDrift
	if !m.clustered() {
		return lease
	}
	m.mu.Lock()
	known := m.checked
	m.mu.Unlock()
	if m.o.Announced != nil {
		known = latest(known, m.o.Announced())
	}
	if known.IsZero() {
		return -1
	}
	if lease -= time.Since(known); lease > 0 {
		return lease
	}
	return -1
}

func (m *Manager) noteChecked(began time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.checked = began
}
