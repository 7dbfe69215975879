package hop

import (
	"context"
	"testing"
	"time"
)

// TestStreamsAreHandedOver: all that is carried ends, without the edge's end.
func TestStreamsAreHandedOver(t *testing.T) {
	eachTransport(t, func(t *testing.T, plain bool) {
		to := startHome(t, plain, vncServer(t, false, greetAndEcho))
		from := startViewerEdge(t)
		to.HandOver(deadlined(t), time.Hour) // nobody is there to wait for
		for range 3 {
			wantBytes(t, mustDial(t, from, to), "RFB 003.008\n")
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		to.HandOver(ended, time.Hour)
		if to.Active() != 3 {
			t.Fatalf("%d active, when there was no time to end any", to.Active())
		}
		to.Drain()
		to.HandOver(deadlined(t), 20*time.Millisecond)
		for deadline := time.Now().Add(hang); to.Active() > 0; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d go on", to.Active())
			}
		}
	})
}
