package api

import (
	"net/http"

	"github.com/streamspace-dev/streamspace-edge/api/auth"
)

// Node is one edge of the cluster.
type Node struct {
	ID        string `json:"id"`
	Status    string `json:"status"` // "online", "draining" or "unreachable": it does not answer this edge
	Version   string `json:"version"`
	Advertise string `json:"advertise"` // its own address; empty when the config names none
	Streams   int    `json:"streams"`   // viewers that are connected to it
}

func (s *server) listNodes(w http.ResponseWriter, r *http.Request, _ auth.Caller) error {
	nodes, err := s.o.Nodes(r.Context())
	if err != nil {
		return err
	}
	if nodes == nil {
		nodes = []Node{}
	}
	return s.writeJSON(w, http.StatusOK, struct {
		Nodes []Node `json:"nodes"`
	}{nodes})
}
