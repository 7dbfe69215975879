package main

import (
	"time"

	"go.uber.org/zap"
)

// inWork is what an edge that drains still has.
type inWork struct{ requests, upgraded, viewers int }

func (w inWork) fields() []zap.Field {
	return []zap.Field{zap.Int("requests", w.requests), zap.Int("upgraded", w.upgraded), zap.Int("viewers", w.viewers)}
}

// inWork counts requests to pools, connections that were upgraded from them, and
// viewers.
func (e *edge) inWork() inWork {
	w := inWork{viewers: e.viewers.Active()}
	for _, p := range e.balancer.Pools() {
		for _, u := range p.Upstreams {
			w.upgraded += u.Upgraded
		}
	}
	w.requests = max(e.balancer.Active()-w.upgraded, 0) // the two are not counted at the same moment
	return w
}

// drainTold is how often a drain says what is left.
const drainTold = 5 * time.Second

// tellDrain logs what is left until the returned function is called, which logs
// how the drain ended: with everything done, or with what is cut off now.
func tellDrain(log *zap.Logger, left func() inWork) (ended func()) {
	stop, stopped := make(chan struct{}), make(chan struct{})
	began := time.Now()
	go func() {
		defer close(stopped)
		tick := time.NewTicker(drainTold)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				log.Info("draining goes on", left().fields()...)
			}
		}
	}()
	return func() {
		close(stop)
		<-stopped
		took := zap.Duration("took", time.Since(began))
		if cut := left(); cut != (inWork{}) {
			log.Warn("the drain's time is over; what is left is cut off", append(cut.fields(), took)...)
			return
		}
		log.Info("drained", took)
	}
}
