package balancer

import (
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/accesslog"
)

// mostWarnings is how many refusals the log has a line for in each second: they
// come as fast as clients like. The access log has all.
const mostWarnings = 10

// warnings bound the lines about refusals.
type warnings struct {
	mu     sync.Mutex
	second int64
	told   int // in that second
	hidden int // since somebody was last told how many
}

// may tells whether there is room for a line at now.
func (w *warnings) may(now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if second := now.Unix(); second != w.second {
		w.second, w.told = second, 0
	}
	if w.told < mostWarnings {
		w.told++
		return true
	}
	w.hidden++
	return false
}

// missed is how many had no line, once the second that had too many is over.
func (w *warnings) missed(now time.Time) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now.Unix() != w.second {
		n, w.hidden = w.hidden, 0
	}
	return n
}

// warn tells of a refusal.
func (b *Balancer) warn(s *serving, e *accesslog.Entry, now time.Time) {
	if !b.warnings.may(now) {
		return
	}
	upstream := s.upstream
	if n := len(s.wish.tried); upstream == nil && n > 0 {
		upstream = s.wish.tried[n-1]
	}
	tried := zap.Skip()
	if upstream != nil {
		tried = zap.String("upstream", upstream.id)
	}
	b.log.Warn("request refused", zap.String("request", s.id), zap.String("pool", s.pool.name), tried,
		zap.Int("status", s.status), zap.String("code", s.refused.code), zap.String("detail", s.refused.detail), zap.Stringer("client", e.Client),
		zap.ByteString("method", e.Method), zap.ByteString("path", e.ShownPath()), zap.NamedError("cause", s.refused.cause))
}

func (b *Balancer) tellMissed(now time.Time) {
	if n := b.warnings.missed(now); n > 0 {
		b.log.Warn("more requests were refused than the log tells; the access log has all of them", zap.Int("requests", n))
	}
}
