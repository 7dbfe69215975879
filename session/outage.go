package session

import (
	"context"
	"time"

	"go.uber.org/zap"
)

// outage has the log tell once that something has begun to fail, and once that it
// no longer does, however often it is tried meanwhile. It is of one goroutine.
type outage struct {
	log          *zap.Logger
	failed, over string
	since        time.Time // zero: all is well
}

// tell takes what a try came to. One that ctx has ended says nothing.
func (o *outage) tell(ctx context.Context, err error) {
	switch {
	case ctx.Err() != nil:
	case err != nil && o.since.IsZero():
		o.since = time.Now()
		o.log.Warn(o.failed, zap.Error(err))
	case err == nil && !o.since.IsZero():
		o.log.Info(o.over, zap.Duration("after", time.Since(o.since)))
		o.since = time.Time{}
	}
}
