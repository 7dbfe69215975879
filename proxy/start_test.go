package proxy

import (
	"net/http"
	"sync"
	"testing"
)

// TestAnEndThatComesWithTheViewerIsAnEnd: a session may be ended at the moment in
// which a viewer of it is let in; its stream has begun before it ends.
func TestAnEndThatComesWithTheViewerIsAnEnd(t *testing.T) {
	server := startVNC(t, echo)
	var e *edge
	e = startEdge(t, Options{Authorize: byTicket(&e)}, server.addr)
	done := make(chan struct{})
	var ending sync.WaitGroup
	ending.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				e.End("s1", TakenDown)
			}
		}
	})
	for range 300 {
		v, response := e.ask("s1.org.ann")
		if response.StatusCode != http.StatusSwitchingProtocols {
			t.Errorf("%s", response.Status)
		}
		v.wantClose(TakenDown)
	}
	close(done)
	ending.Wait()
}
