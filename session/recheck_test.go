package session

import (
	"testing"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// TestARowThatContradictsALiveTunnelIsCorrected within a beat, though nobody
// tells this edge of the row.
func TestARowThatContradictsALiveTunnelIsCorrected(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		h := w.join("a")
		s := w.create()
		w.want(s.ID, store.Running, "")
		for range 2 {
			_, err := w.store.UpdateSession(t.Context(), s.ID, func(row *store.Session) error {
				row.State, row.Reason = store.Unreachable, "its agent has not connected since the edge started"
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			pass(recheckEvery)
			w.want(s.ID, store.Running, "")
		}
		w.drop(h)
		pass(4 * recheckEvery)
		w.want(s.ID, store.Unreachable, "the connection broke") // while there is no tunnel the row is right
	})
}
