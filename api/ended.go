package api

import (
	"net/http"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// Ended is a request that was answered, or an upgraded connection that is over.
type Ended struct {
	Came      time.Time
	RequestID string
	Route     string // as in the metrics
	Status    int
	Bytes     int64      // of the answer's body as it was sent
	Code      store.Code // of the problem that it was answered with; "": none
}

// over tells who wants to know of a request's end.
func (w *recorder) over(r *http.Request) {
	if w.s.o.Ended == nil {
		return
	}
	w.s.o.Ended(r, Ended{w.began, w.Header().Get(requestIDHeader), w.s.routeName(w.r), w.status, int64(w.bytes), w.code})
}
