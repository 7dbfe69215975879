package api

import (
	"slices"
	"time"
)

// Stream is one viewer of a session that is connected now, and how well its
// stream serves it: what Options.Streams tells and GET /api/v1/sessions/{id}
// answers. Counts and quantiles are of the whole stream, from its start to now.
type Stream struct {
	ID     string    `json:"id"`     // as in the log's lines on the stream
	Viewer string    `json:"viewer"` // whose it is: the owner of the key that asked for its ticket; empty when that is not known
	Ticket string    `json:"ticket"` // the id of the ticket that opened it: by this a viewer knows its own
	Mode   string    `json:"mode"`   // auth.ModeControl or auth.ModeView
	Since  time.Time `json:"since"`  // when it was opened

	RTT      *Quantiles `json:"rtt_ms"`      // from a WebSocket ping to its pong; nil: none has come back yet
	Response *Quantiles `json:"response_ms"` // from an input to the next update sent to the viewer; nil: no input yet
	Gap      *Quantiles `json:"gap_ms"`      // between one update and the next; nil: fewer than two yet

	Stalls          uint64 `json:"stalls"`          // times that the viewer took nothing although there was something for it
	BytesToViewer   uint64 `json:"bytes_to_viewer"` // of RFB, without WebSocket and TLS around it, as is the next
	BytesFromViewer uint64 `json:"bytes_from_viewer"`
}

// Quantiles are of durations, in milliseconds: finite and not negative.
type Quantiles struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
}

// sessionWithStreams is the answer about one session.
type sessionWithStreams struct {
	session
	Streams []Stream `json:"streams"`
}

// streamsOf lists the oldest stream first. The caller has checked that the
// session may be seen.
func (s *server) streamsOf(sessionID string) []Stream {
	if s.o.Streams == nil {
		return []Stream{}
	}
	streams := append([]Stream{}, s.o.Streams(sessionID)...)
	slices.SortStableFunc(streams, func(a, b Stream) int { return a.Since.Compare(b.Since) })
	for i := range streams {
		streams[i].Since = streams[i].Since.UTC().Truncate(time.Millisecond) // as moment
	}
	return streams
}
