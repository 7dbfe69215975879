package api

import (
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/api/auth"
	"github.com/streamspace-dev/streamspace-edge/store"
)

// Pool is a group of the balancer's upstreams as it is now.
type Pool struct {
	Name      string     `json:"name"`
	Policy    string     `json:"policy"`
	Waiting   int        `json:"waiting"`           // requests that wait for room
	Panic     bool       `json:"panic,omitempty"`   // so many are down that all are used, whatever their health
	Removed   bool       `json:"removed,omitempty"` // not in the config any more; it only drains
	Upstreams []Upstream `json:"upstreams"`
}

// Upstream is a backend server of a pool as it is now.
type Upstream struct {
	ID        string     `json:"id"`
	URL       string     `json:"url"`
	State     string     `json:"state"`  // "up", "down", "ejected", "draining" or "disabled"
	Reason    string     `json:"reason"` // for a person; may be empty
	Weight    int        `json:"weight"`
	Active    int        `json:"active"`               // requests and upgraded connections
	Upgraded  int        `json:"upgraded"`             // of them
	DrainEnds *time.Time `json:"drain_ends,omitempty"` // when who is still there is sent elsewhere
	Removed   bool       `json:"removed,omitempty"`    // not in the config any more; it only drains
}

func (s *server) listPools(w http.ResponseWriter, _ *http.Request, _ auth.Caller) error {
	return s.writeJSON(w, http.StatusOK, struct {
		Pools []Pool `json:"pools"`
	}{append([]Pool{}, s.o.Pools()...)})
}

// getPool answers the pool of that name. One of the config comes before one that
// a reload has removed and that still serves somebody.
func (s *server) getPool(w http.ResponseWriter, r *http.Request, _ auth.Caller) error {
	name, pools := r.PathValue("pool"), s.o.Pools()
	var names []string
	for _, p := range pools {
		if p.Name == name {
			return s.writeJSON(w, http.StatusOK, p)
		}
		names = append(names, p.Name)
	}
	if len(names) == 0 {
		return store.Errorf(store.NotFound, "there is no pool %q; the config has none", name)
	}
	return store.Errorf(store.NotFound, "there is no pool %q; there are: %s", name, strings.Join(names, ", "))
}

// longestDrain bounds a drain's timeout: a date that is meant for "never" is a
// disabled upstream's.
const longestDrain = duration(30 * 24 * time.Hour)

// setUpstream answers an operator's word on an upstream; a drain's may say how
// long it takes.
func (s *server) setUpstream(setting string) handler {
	return func(w http.ResponseWriter, r *http.Request, caller auth.Caller) error {
		timeout, may := duration(-1), fields{}
		if setting == "draining" {
			may["timeout"] = &timeout
		}
		if err := decodeBody(r, may); err != nil {
			return err
		}
		switch {
		case timeout < 0: // not given
			timeout = 0
		case timeout < duration(time.Millisecond) || timeout > longestDrain:
			return store.Errorf(store.Invalid, "timeout %s is out of range; 1ms to %s, or leave it out for the pool's", timeout, longestDrain)
		}
		pool, upstream := r.PathValue("pool"), r.PathValue("upstream")
		u, err := s.o.SetUpstream(pool, upstream, setting, time.Duration(timeout))
		if err != nil {
			return err
		}
		s.o.Log.Info("an operator has set an upstream", zap.String("pool", pool), zap.String("upstream", upstream), zap.String("to", setting),
			zap.String("key", caller.KeyID), zap.String("key_name", caller.Name))
		return s.writeJSON(w, http.StatusAccepted, u)
	}
}

// reload reads the config again. What is wrong with it is told, and nothing
// changes then.
func (s *server) reload(w http.ResponseWriter, _ *http.Request, _ auth.Caller) error {
	changed, err := s.o.Reload()
	if err != nil {
		return err
	}
	return s.writeJSON(w, http.StatusOK, struct {
		Reloaded []string `json:"reloaded"`
	}{append([]string{}, changed...)})
}
