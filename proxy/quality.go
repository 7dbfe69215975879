package proxy

import (
	"encoding/binary"
	"math"
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// sameUpdate joins what the server sends in pieces: bytes that follow others
	// within it belong to one update.
	sameUpdate = 4 * time.Millisecond

	// longestGap is the longest time between two updates, or between an input and
	// the next update, that says something of the stream rather than of a picture
	// that does not change.
	longestGap = 2 * time.Second
)

// quality is how well a stream serves its viewer, measured without looking at
// pixels. The times are the loop's; the rest may be read anywhere.
type quality struct {
	input   time.Time // the first input since the last update
	updated time.Time // the newest bytes of the server
	pinged  time.Time
	ping    uint64 // the payload of the newest ping

	response, gap, rtt histogram
	stalls             atomic.Uint64
}

// Quality is how well a stream has served its viewer up to now.
type Quality struct {
	Stream, Ticket       string // their ids
	Viewer               string // Grant.Viewer
	Mode                 Mode
	Since                time.Time
	RTT                  Spread // from a WebSocket ping to its answer
	Response             Spread // from an input to the next bytes of the server
	Gap                  Spread // between updates, up to 2 s: longer, and nothing changed
	Stalls               uint64 // times that the viewer took nothing although there was something for it
	ToViewer, FromViewer uint64 // bytes of RFB
}

// Quality tells of the streams of a session that are open now.
func (p *Proxy) Quality(session string) []Quality {
	found := p.viewersOf(session)
	told := make([]Quality, len(found))
	for i, s := range found {
		q := &s.quality
		told[i] = Quality{
			Stream: s.id, Ticket: s.grant.Ticket, Viewer: s.grant.Viewer, Mode: s.grant.Mode, Since: s.asked,
			RTT: q.rtt.spread(), Response: q.response.spread(), Gap: q.gap.spread(),
			Stalls: q.stalls.Load(), ToViewer: uint64(s.toViewer.Load()), FromViewer: uint64(s.toServer.Load()),
		}
	}
	return told
}

func (q *quality) noteInput(now time.Time) {
	if q.input.IsZero() {
		q.input = now
	}
}

// noteUpdate is told of bytes of the server.
func (q *quality) noteUpdate(now time.Time, m *Metrics) {
	if !q.input.IsZero() {
		if response := now.Sub(q.input); response <= longestGap {
			m.observe(&q.response, m.response, response)
		}
		q.input = time.Time{}
	}
	if gap := now.Sub(q.updated); gap > sameUpdate && gap <= longestGap {
		m.observe(&q.gap, m.gap, gap)
	}
	q.updated = now
}

// nextPing is the payload of a ping that is sent now.
func (q *quality) nextPing(now time.Time) []byte {
	q.pinged = now
	q.ping++
	return binary.BigEndian.AppendUint64(nil, q.ping)
}

// notePong is told of an answer; only the newest ping's counts.
func (q *quality) notePong(payload []byte, now time.Time, m *Metrics) {
	if len(payload) == 8 && binary.BigEndian.Uint64(payload) == q.ping && !q.pinged.IsZero() {
		m.observe(&q.rtt, m.rtt, now.Sub(q.pinged))
		q.pinged = time.Time{}
	}
}

func (m *Metrics) observe(h *histogram, all prometheus.Observer, d time.Duration) {
	h.observe(d)
	all.Observe(d.Seconds())
}

// Spread is the middle of some durations and what one in twenty exceeds. Each is
// within a fifth of the truth. Count 0: there were none.
type Spread struct {
	Count    uint64
	P50, P95 time.Duration
}

const (
	finest  = 125 * time.Microsecond
	buckets = 37 // half octaves, up to 32 s
)

// histogram counts durations in half octaves of finest: small enough to have one
// in each stream. One goroutine counts, others may look.
type histogram struct{ counts [buckets]atomic.Uint32 }

func (h *histogram) observe(d time.Duration) { h.counts[bucketOf(d)].Add(1) }

// bucketOf counts from 0: what is shorter than finest. Bucket i ends at
// finest * 2^(i/2).
func bucketOf(d time.Duration) int {
	if d < finest {
		return 0
	}
	octave := bits.Len64(uint64(d/finest)) - 1
	i := 2*octave + 1
	if float64(d) >= float64(finest<<octave)*math.Sqrt2 {
		i++
	}
	return min(i, buckets-1)
}

func (h *histogram) spread() (s Spread) {
	var counts [buckets]uint32
	for i := range counts {
		counts[i] = h.counts[i].Load()
		s.Count += uint64(counts[i])
	}
	s.P50, s.P95 = quantile(&counts, s.Count, 0.50), quantile(&counts, s.Count, 0.95)
	return s
}

// quantile is the geometric middle of the bucket that holds it.
func quantile(counts *[buckets]uint32, all uint64, q float64) time.Duration {
	rank := uint64(math.Ceil(q * float64(all)))
	for i, n := range counts {
		if rank <= uint64(n) && rank > 0 {
			return time.Duration(float64(finest) * math.Exp2(float64(i)/2-0.25))
		}
		rank -= min(rank, uint64(n))
	}
	return 0
}
