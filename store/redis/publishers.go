package redis

import "time"

// verdict is what is to be done with a message.
type verdict int

const (
	next   verdict = iota // it follows what was heard
	gap                   // something before it is lost
	ignore                // it was heard before, or is this edge's own
	deaf                  // others are heard, this edge itself is not
)

// publishers are the edges that are heard on one connection, and how far.
type publishers struct {
	self  string
	quiet time.Duration // beats come more often than this
	since time.Time     // of the connection
	own   time.Time     // when this edge was heard last
	last  map[string]heard
}

type heard struct {
	number uint64
	at     time.Time
}

func newPublishers(self string, quiet time.Duration, now time.Time) *publishers {
	return &publishers{self: self, quiet: quiet, since: now, own: now, last: map[string]heard{}}
}

// judge takes a beat for what it is: the number of the last event again.
func (p *publishers) judge(from string, number uint64, isEvent bool, now time.Time) verdict {
	if from == p.self {
		p.own = now
		p.forget(now)
		return ignore
	}
	if now.Sub(p.own) > p.quiet {
		return deaf
	}
	before, known := p.last[from]
	if !known && now.Sub(p.since) <= p.quiet { // it may be old; all was read when the connection began
		p.last[from] = heard{number, now}
		return next
	}
	p.last[from] = heard{max(number, before.number), now} // before is 0 for an edge that has just come
	switch {
	case isEvent && number <= before.number: // sent again, because the answer got lost
		return ignore
	case isEvent && number == before.number+1, !isEvent && number <= before.number:
		return next
	default:
		return gap
	}
}

// forget drops those that have gone, so that the map does not grow with each
// edge that ever was.
func (p *publishers) forget(now time.Time) {
	for id, h := range p.last {
		if now.Sub(h.at) > 10*p.quiet {
			delete(p.last, id)
		}
	}
}
