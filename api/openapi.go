package api

import (
	_ "embed"
	"net/http"

	"github.com/streamspace-dev/streamspace-edge/api/auth"
)

// description is never written to.
//
//go:embed openapi.yaml
var description []byte

func (s *server) openAPI(w http.ResponseWriter, _ *http.Request, _ auth.Caller) error {
	w.Header().Set("Content-Type", "application/yaml")
	_, err := w.Write(description)
	if err != nil {
		s.o.Log.Debug("openapi.yaml could not be written")
	}
	return nil
}
