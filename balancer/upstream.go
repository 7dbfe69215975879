package balancer

import (
	"context"
	"crypto/tls"
	"time"
)

// Setting is what an operator wants of an upstream.
type Setting string

const (
	Enabled  Setting = "enabled"
	Draining Setting = "draining" // nobody new; who has its cookie stays
	Disabled Setting = "disabled" // nobody, at once; what runs goes on
)

// upstream is one backend server of a pool. Its numbers are guarded by the
// pool's mutex, but for those that say otherwise.
type upstream struct {
	id        string
	metrics   *upstreamMetrics
	config    UpstreamConfig
	links     *links
	mark      Mark
	cookie    issued          // the latest one for it
	ctx       context.Context // of its upgraded connections
	end       context.CancelCauseFunc
	address   string      // "host:port"
	tls       *tls.Config // nil: plain
	stopCheck func()      // nil: it is not checked

	active   int  // requests and upgraded connections that it has now
	upgraded int  // of them
	held     *int // active of all that have its id and URL: a reload that changes how the server is met does not empty it

	setting    Setting
	drainEnds  time.Time // when Draining becomes Disabled and upgraded connections end; those of what is removed end in any case
	down       string    // why its check holds it for down; empty: it is up, or not checked
	asked      int       // the weight that it asks for; noWish: its own
	leaving    bool      // it says that it drains
	outUntil   time.Time // it failed too many requests
	readySince time.Time // when it last became usable; zero: from the beginning
	removed    bool      // it is not in the config any more
	replaced   bool      // removed, and its id is another one's: it gets nothing more
}

const noWish = -1

// server tells those apart that are not the same server of a pool.
func (u *upstream) server() [2]string { return [2]string{u.id, u.config.URL} }

// usable tells whether new clients may be sent there, apart from room.
func (u *upstream) usable() bool {
	return u.setting == Enabled && !u.leaving && u.asked != 0 && !u.removed
}

// stays tells whether a client that has the upstream's cookie may come back. One
// that was not checked yet has not been found down: an edge that starts, or whose
// config was reloaded, does not part clients from their upstreams. Nor do checks
// that the pool does not believe.
func (u *upstream) stays(by trust) bool {
	return u.setting != Disabled && (by.panics || u.down == "" || u.down == firstCheck)
}

// known is what the checks have found so far.
func (u *upstream) known() health {
	switch u.down {
	case "":
		return healthUp
	case firstCheck:
		return healthUnknown
	}
	return healthDown
}

// succeed takes over what operators, checks and the server itself have said of
// the one that u is put in the place of; nil: of nobody.
func (u *upstream) succeed(before *upstream) (known health) {
	if before == nil {
		return healthUnknown
	}
	u.setting, u.drainEnds = before.setting, before.drainEnds
	if before.config.URL != u.config.URL {
		return healthUnknown
	}
	u.down, u.asked, u.leaving, u.readySince, u.outUntil = before.down, before.asked, before.leaving, before.readySince, before.outUntil
	return before.known()
}

// weight is its share at now, in hundredths: while it starts slowly it grows
// from a hundredth of its own to the whole.
func (u *upstream) weight(now time.Time, slowStart time.Duration) int {
	full := 100 * u.config.Weight
	if u.asked != noWish {
		full = 100 * u.asked
	}
	if since := now.Sub(u.readySince); slowStart > 0 && !u.readySince.IsZero() && since < slowStart {
		full = int(float64(full) * float64(since) / float64(slowStart))
	}
	return max(full, 1)
}

func (u *upstream) full() bool {
	return u.config.MaxConnections > 0 && *u.held >= u.config.MaxConnections
}

// take counts one that is sent there.
func (u *upstream) take() {
	u.active++
	*u.held++
}

// leave counts one off.
func (u *upstream) leave() {
	u.active--
	*u.held--
}
