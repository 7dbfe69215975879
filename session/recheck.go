package session

import (
	"context"

	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// recheck asks for a look at sessions that the store has as unreachable although
// their agents have tunnels here. This edge writes no such row, but another one
// may have, which had no tunnel and has left since: then nothing else would ever
// ask for that look.
func (m *Manager) recheck(ctx context.Context) {
	filter := store.SessionFilter{States: []store.State{store.Unreachable}, Limit: store.MaxPage}
	for {
		page, next, err := m.o.Store.Sessions(ctx, filter)
		if err != nil {
			if ctx.Err() == nil {
				m.o.Log.Warn("unreachable sessions could not be looked for; trying again in a few seconds", zap.Error(err))
			}
			return
		}
		for _, s := range page {
			if m.connected(s.AgentID) {
				m.queue.kick(s.ID)
			}
		}
		if next == "" {
			return
		}
		filter.Cursor = next
	}
}
