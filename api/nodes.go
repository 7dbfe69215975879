package api

import (
	"context"
	"net/http"

	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/api/auth"
)

// Node is one edge of the cluster.
type Node struct {
	ID        string `json:"id"`
	Status    string `json:"status"`  // "online", "draining" or "unreachable": it does not answer this edge
	Drained   bool   `json:"drained"` // by an operator: it stays "draining" until it is resumed
	Version   string `json:"version"`
	Advertise string `json:"advertise"` // its own address; empty when the config names none
	Streams   int    `json:"streams"`   // viewers that are connected to it

	ClockOffset float64 `json:"clock_offset"` // seconds that its clock is ahead of the database's; 0 when they are a second apart at most
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

// changeNode answers an operator's word on an edge.
func (s *server) changeNode(to string, change func(ctx context.Context, id string) (Node, error)) handler {
	return func(w http.ResponseWriter, r *http.Request, caller auth.Caller) error {
		if err := decodeBody(r, fields{}); err != nil {
			return err
		}
		n, err := change(r.Context(), r.PathValue("id"))
		if err != nil {
			return err
		}
		s.o.Log.Info("an operator has set an edge", zap.String("node", n.ID), zap.String("to", to), zap.String("key", caller.KeyID), zap.String("key_name", caller.Name))
		return s.writeJSON(w, http.StatusAccepted, n)
	}
}
