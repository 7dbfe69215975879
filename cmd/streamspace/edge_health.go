package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/api"
	"github.com/streamspace-dev/streamspace-edge/store"
)

// databaseConnected is the database's word in /health while it takes writes.
const databaseConnected = "connected"

// health asks every part; it never answers from memory.
func (e *edge) health(asked context.Context) api.Health {
	ctx, cancel := context.WithTimeout(asked, 2*time.Second) // below the 5 s that load balancers commonly wait
	defer cancel()
	h := api.Health{Version: version, Database: databaseConnected, Redis: "disabled", Agents: e.hub.Agents(), Draining: e.standsAside()}
	err := e.store.Ping(ctx)
	if err != nil {
		h.Database = "unavailable"
		if errors.Is(err, store.ErrDiskFull) {
			h.Database = "disk_full"
		}
	}
	if asked.Err() == nil { // who hangs up leaves a question without an answer
		e.databaseHealth.tell(e.log, h.Database, err)
	}
	if e.config.Redis != nil {
		h.Redis = "connected"
		if err := e.coord.Ping(ctx); err != nil {
			h.Redis = "disconnected"
		}
	}
	return h
}

// databaseHealth has the log tell once when the database stops taking writes, and
// once when it takes them again, however often balancers and edges ask /health.
type databaseHealth struct {
	mu    sync.Mutex
	wrong string    // the database's word; empty: it takes writes
	since time.Time // that it takes none
}

// tell takes the database's word and, unless that is databaseConnected, why.
func (d *databaseHealth) tell(log *zap.Logger, word string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case word == databaseConnected:
		if d.wrong != "" {
			log.Info("the database takes writes again", zap.Duration("after", time.Since(d.since)))
			d.wrong = ""
		}
	case word != d.wrong:
		if d.wrong == "" {
			d.since = time.Now()
		}
		d.wrong = word
		log.Warn("the database takes no writes; until it does, /health is 503, what needs it is refused and streams go on", zap.Error(err))
	}
}
