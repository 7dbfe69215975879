package listen

import (
	"net"
	"sync/atomic"
	"time"
)

// WhileMoving as a server's timeout lets a connection read or write for as long
// as bytes move: no more than Options.Body or Write pass between two of them.
// Any other timeout is one for the whole, as ever. It is a hundred years.
const WhileMoving = 100 * 365 * 24 * time.Hour

// deadline is that of one direction of a connection. The socket gets it when
// somebody waits for the socket: a server sets two for reads and one for writes
// with each request, and most are replaced before anybody waits.
type deadline struct {
	waiting atomic.Bool // somebody is about to wait for the socket, or does
	// wanted is what was asked for and set what the socket has, in nanoseconds of
	// UNIX time, or none; wanted may be whileMoving.
	wanted, set atomic.Int64
}

// What a deadline is instead of a time.
const (
	none        = 0
	whileMoving = -1
)

// want notes a deadline of a connection that is there since then. It tells the
// two kinds apart without asking the clock: no connection lives for fifty years.
func (d *deadline) want(at, since time.Time) {
	switch {
	case at.IsZero():
		d.wanted.Store(none)
	case at.Sub(since) > WhileMoving/2:
		d.wanted.Store(whileMoving)
	default:
		d.wanted.Store(at.UnixNano())
	}
}

// arm gives the socket what is wanted, unless it is there to within what later
// allows. patience is for whileMoving.
func (d *deadline) arm(socket net.Conn, patience time.Duration, apply func(net.Conn, time.Time) error) error {
	for {
		wanted := d.wanted.Load()
		by := wanted
		switch before := d.set.Load(); {
		case wanted == whileMoving:
			by = time.Now().Add(patience).UnixNano()
			if by >= before && !later(before, by, patience) {
				return nil
			}
		case wanted == before:
			return nil
		case wanted > before && before != none && !later(before, wanted, time.Until(time.Unix(0, wanted))):
			return nil
		}
		at := time.Time{}
		if by != none {
			at = time.Unix(0, by)
		}
		if err := apply(socket, at); err != nil {
			return err
		}
		d.set.Store(by)
		if d.wanted.Load() == wanted { // else another one came, and may have been set before this one
			return nil
		}
	}
}

// later tells whether it is worth its cost to move a deadline that much: not for
// a quarter of the time that it leaves, and not for less than a second.
func later(before, by int64, wait time.Duration) bool {
	return by-before > int64(min(time.Second, wait/4))
}
