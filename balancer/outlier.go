package balancer

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	defaultFailures = 5
	defaultEject    = 10 * time.Second
	defaultMaxEject = 5 * time.Minute
	defaultMaxOut   = 0.5
)

// PassiveConfig is how a pool judges its upstreams by the requests that they
// served.
type PassiveConfig struct {
	// Failures in a row, failed connects and 5xx answers but 501 and 505 alike, take
	// an upstream out; 0: 5.
	Failures int
	// Eject is how long an upstream is out the first time, and how much longer each
	// further time in a row; 0: 10 s. MaxEject bounds that; 0: 5 min, or Eject if
	// that is more. Up to 10% is added, so that not all return at once.
	Eject, MaxEject time.Duration
	// MaxOut is the share of the pool that may be out at once, above 0 and up to 1;
	// 0: 0.5. Of two or more upstreams one may always be out.
	MaxOut float64
	// Panic is the share of the pool, up to 1, below which so few are usable that
	// all are used, whatever is known of their health: many that seem to be down are
	// more often a fault of the checks, and the few left would be overrun. 0: never.
	Panic float64
}

func (c PassiveConfig) withDefaults() PassiveConfig {
	if c.Failures == 0 {
		c.Failures = defaultFailures
	}
	if c.Eject == 0 {
		c.Eject = defaultEject
	}
	if c.MaxEject == 0 {
		c.MaxEject = max(defaultMaxEject, c.Eject)
	}
	if c.MaxOut == 0 {
		c.MaxOut = defaultMaxOut
	}
	return c
}

// Validate tells everything that is wrong with the config.
func (c PassiveConfig) Validate() []Fault {
	var faults []Fault
	add := func(key, format string, args ...any) {
		faults = append(faults, Fault{Key: key, Text: fmt.Sprintf(format, args...)})
	}
	if c.Failures < 0 {
		add("failures", "%d is too small; it is a number of failures in a row, %d unless given", c.Failures, defaultFailures)
	}
	switch full := c.withDefaults(); {
	case c.Eject < 0:
		add("eject", "%s is negative; leave it out for %s", c.Eject, defaultEject)
	case c.MaxEject < 0:
		add("max_eject", "%s is negative; leave it out for %s", c.MaxEject, defaultMaxEject)
	case full.MaxEject < full.Eject:
		add("max_eject", "%s is shorter than eject, %s; raise it or lower that", full.MaxEject, full.Eject)
	}
	if !(c.MaxOut >= 0 && c.MaxOut <= 1) { // also not a number
		add("max_out", "%g is out of range; it is a share of the pool above 0 and up to 1, %g unless given", c.MaxOut, defaultMaxOut)
	}
	if !(c.Panic >= 0 && c.Panic <= 1) {
		add("panic", "%g is out of range; it is a share of the pool from 0, which turns it off, to 1", c.Panic)
	}
	return faults
}

// panics tells, by how many upstreams of all are usable, whether all are to be
// used.
func (c PassiveConfig) panics(usable, all int) bool {
	return float64(usable) < c.Panic*float64(all)
}

// outliers are the upstreams of one pool that are out because requests to them
// failed. Safe for concurrent use.
type outliers struct {
	random func() float64 // from 0 to below 1

	mu     sync.Mutex
	config PassiveConfig // with defaults
	pool   map[string]*outlier
}

// outlier is what is remembered of one upstream.
type outlier struct {
	failures  int // in a row
	ejections int // in a row
	length    time.Duration
	until     time.Time // the end of the last ejection
}

// newOutliers takes a valid config and the ids of the pool's upstreams.
func newOutliers(c PassiveConfig, ids []string) *outliers {
	o := &outliers{random: rand.Float64}
	o.update(c, ids)
	return o
}

// update changes the config and the pool. Upstreams that stay keep their record,
// and stay out for as long as they were told.
func (o *outliers) update(c PassiveConfig, ids []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	pool := make(map[string]*outlier, len(ids))
	for _, id := range ids {
		if pool[id] = o.pool[id]; pool[id] == nil {
			pool[id] = new(outlier)
		}
	}
	o.config, o.pool = c.withDefaults(), pool
}

// forget makes an upstream one that nothing is known of: its id is another
// server's from now on.
func (o *outliers) forget(id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.pool, id)
}

// note takes the result of one request: ok is false for a failed connect and for
// a 5xx. ejected tells that this result took the upstream out; until is when the
// last ejection of it ends or ended, zero if there was none or it is forgotten.
// Results of an upstream that is out, or not of the pool, change nothing: they
// are of requests that began before, or are served for want of a better one.
func (o *outliers) note(id string, ok bool, now time.Time) (ejected bool, until time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	u := o.pool[id]
	switch {
	case u == nil:
		return false, time.Time{}
	case now.Before(u.until):
		return false, u.until
	case ok:
		u.failures = 0
		if backFor := now.Sub(u.until); backFor >= u.length { // and still good: it starts anew
			*u = outlier{}
		}
		return false, u.until
	}
	u.failures++
	if u.failures < o.config.Failures || !o.mayEject(now) {
		return false, u.until
	}
	u.failures = 0
	u.ejections++
	u.length = o.ejection(u.ejections)
	u.until = now.Add(u.length)
	return true, u.until
}

// mayEject tells whether one more upstream may be out.
func (o *outliers) mayEject(now time.Time) bool {
	const rounding = 1e-9 // 0.29 * 100 is a little less than 29
	most := int(o.config.MaxOut*float64(len(o.pool)) + rounding)
	if len(o.pool) >= 2 {
		most = max(most, 1)
	}
	out := 0
	for _, u := range o.pool {
		if now.Before(u.until) {
			out++
		}
	}
	return out < most
}

// ejection is how long the nth in a row lasts.
func (o *outliers) ejection(n int) time.Duration {
	length := o.config.MaxEject
	if time.Duration(n) <= length/o.config.Eject { // else the product is more, and may be too much for a Duration
		length = o.config.Eject * time.Duration(n)
	}
	return length + time.Duration(o.random()*float64(length)/10)
}
