package hop

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/streamspace-dev/streamspace-edge/proxy/tunnel"
)

// TestStreamsOfOtherEdgesHavePlaces: as many as there are, however many edges ask
// at once, and each is free again, whatever becomes of the stream.
func TestStreamsOfOtherEdgesHavePlaces(t *testing.T) {
	const most, rush = 3, 20
	refused := tunnel.Errorf(tunnel.CodeVNCRefused, "refused")
	var taken atomic.Int32
	var refuses atomic.Bool
	server := vncServer(t, false, greetAndEcho)
	open := func(ctx context.Context, agent string, o tunnel.OpenRequest) (net.Conn, error) {
		if refuses.Load() {
			return nil, refused
		}
		return server(ctx, agent, o)
	}
	to := startHome(t, false, open, func(o *Options) {
		o.Carry = func() (func(), error) {
			if taken.Add(1) > most {
				taken.Add(-1)
				return nil, tunnel.Errorf(tunnel.CodeNodeFull, "full")
			}
			return func() { taken.Add(-1) }, nil
		}
	})
	free := func() {
		t.Helper()
		waitUntil(t, "all places are free", func() bool { return taken.Load() == 0 })
	}
	from := startViewerEdge(t)
	var all sync.WaitGroup
	var mu sync.Mutex
	var in []net.Conn
	for range rush {
		all.Go(func() {
			conn, err := from.Dial(deadlined(t), to.peer, "agent", request)
			if err != nil {
				wantCode(t, err, tunnel.CodeNodeFull)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			in = append(in, conn)
		})
	}
	all.Wait()
	if len(in) != most || to.Active() != most {
		t.Errorf("%d streams, %d active, of %d", len(in), to.Active(), most)
	}
	for _, conn := range in {
		wantBytes(t, conn, "RFB 003.008\n")
		_ = conn.Close()
	}
	free()

	refuses.Store(true)
	for range 2 * most {
		_, err := from.Dial(deadlined(t), to.peer, "agent", request)
		wantCode(t, err, tunnel.CodeVNCRefused)
	}
	free()
}
