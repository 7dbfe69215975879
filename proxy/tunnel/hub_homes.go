package tunnel

import (
	"math/rand/v2"
	"slices"
	"time"
)

// Rehome tells each agent its homes where they are others than it was told
// last, at a moment of its own within jitter (0: at once), so that a new edge does
// not get its share all at the same time. It returns at once. Call it whenever
// what Options.Homes answers may have changed; of several calls the soonest
// moment counts. Agents that know nothing of homes are left alone.
func (h *Hub) Rehome(jitter time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, t := range h.tunnels {
		t.rehomeWithin(jitter)
	}
}

func (t *tunnel) rehomeWithin(jitter time.Duration) {
	by := time.Now()
	if jitter > 0 {
		by = by.Add(rand.N(jitter))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rehomeBy.IsZero() || by.Before(t.rehomeBy) {
		t.rehomeBy = by
	}
	select {
	case t.rehome <- struct{}{}:
	default:
	}
}

func (t *tunnel) knowsHomes() bool { return t.hub.o.Homes != nil && t.hello.Homes }

func (t *tunnel) homes() []Home {
	if !t.knowsHomes() {
		return nil
	}
	homes := t.hub.o.Homes(t.agentID)
	return homes[:min(len(homes), MaxHomes)]
}

// tellHomes sends the agent's homes when they have changed, until the tunnel
// ends. told is what the welcome said.
func (t *tunnel) tellHomes(told []Home) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-t.rehome:
		case <-timer.C:
		case <-t.channel.ctx.Done():
			return
		}
		wait, due := t.rehomeDue()
		if wait > 0 {
			timer.Reset(wait)
		}
		if !due {
			continue
		}
		homes := t.homes()
		if slices.Equal(homes, told) {
			continue
		}
		if t.channel.send(t.channel.ctx, Envelope{Homes: &Homes{List: homes}}) != nil {
			return
		}
		told = slices.Clone(homes)
		t.hub.o.Metrics.rehomes.Inc()
	}
}

// rehomeDue tells whether it is time, and otherwise how long to wait; 0: until
// it is asked for.
func (t *tunnel) rehomeDue() (wait time.Duration, due bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rehomeBy.IsZero() {
		return 0, false
	}
	if wait = time.Until(t.rehomeBy); wait > 0 {
		return wait, false
	}
	t.rehomeBy = time.Time{}
	return 0, true
}
