package api

import (
	"encoding/json"
	"net/http"

	"github.com/streamspace-dev/streamspace-edge/api/auth"
)

// Health is how the parts of the edge are at this moment.
type Health struct {
	Version  string
	Database string // "connected", or in a word what is wrong
	Redis    string // the same, or "disabled"
	Agents   int    // that are connected to this edge
	Draining bool
}

const (
	connected = "connected"
	disabled  = "disabled"
)

// Status is one word for all of it: draining, degraded (a part is down) or
// healthy.
func (h Health) Status() string {
	switch {
	case h.Draining:
		return "draining"
	case h.Database != connected, h.Redis != connected && h.Redis != disabled:
		return "degraded"
	default:
		return "healthy"
	}
}

// HTTPStatus is 200 while the edge should get requests, else 503: without the
// database it can't serve, without Redis it can.
func (h Health) HTTPStatus() int {
	if h.Draining || h.Database != connected {
		return http.StatusServiceUnavailable
	}
	return http.StatusOK
}

// MarshalJSON writes what GET /health answers.
func (h Health) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Status   string `json:"status"`
		Version  string `json:"version"`
		Database string `json:"database"`
		Redis    string `json:"redis"`
		Agents   int    `json:"agents"`
	}{h.Status(), h.Version, h.Database, h.Redis, h.Agents})
}

func (s *server) health(w http.ResponseWriter, r *http.Request, _ auth.Caller) error {
	h := s.o.Health(r.Context())
	return s.writeJSON(w, h.HTTPStatus(), h)
}
