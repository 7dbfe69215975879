package hop

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// errLeaving is why a stream ends that is handed over.
var errLeaving = errors.New("this edge is leaving")

// carried is an open stream of another edge.
type carried struct{ end context.CancelCauseFunc }

// carrying is the context of a stream that opens now; leave is called once it
// has ended.
func (h *Hop) carrying() (ctx context.Context, leave func()) {
	ctx, end := context.WithCancelCause(h.ctx)
	c := &carried{end}
	h.mu.Lock()
	h.carried[c] = true
	h.mu.Unlock()
	return ctx, func() {
		h.mu.Lock()
		delete(h.carried, c)
		h.mu.Unlock()
		end(nil)
	}
}

// HandOver ends the streams that are carried now, spread over window so that
// their viewers do not all come back in the same instant; it returns when it has
// or ctx has ended. Drain comes before it, and the other edges know by then that
// this one leaves: by that they know what to tell the viewers.
func (h *Hop) HandOver(ctx context.Context, window time.Duration) {
	h.mu.Lock()
	leaving := make([]*carried, 0, len(h.carried))
	for c := range h.carried { // in an order of chance
		leaving = append(leaving, c)
	}
	h.mu.Unlock()
	slot := window / time.Duration(max(1, len(leaving)))
	timer := time.NewTimer(0)
	defer timer.Stop()
	begin := time.Now()
	for i, c := range leaving {
		timer.Reset(time.Until(begin.Add(time.Duration(i)*slot + rand.N(slot+1))))
		select {
		case <-timer.C:
			c.end(errLeaving)
		case <-ctx.Done():
			return
		}
	}
}
