package reactor

import (
	"net"
	"testing"
	"time"
)

func TestSilenceOfAPeer(t *testing.T) {
	long := 90 * time.Second
	for name, test := range map[string]struct {
		state  Peer
		silent time.Duration
	}{
		"nothing was sent":                     {Peer{LastAck: long}, 0},
		"on its way":                           {Peer{Queued: true, LastAck: long}, 0},
		"sent again and again":                 {Peer{Queued: true, Unanswered: true, LastAck: long}, long},
		"a kernel that can't be asked says no": {Peer{}, 0},
	} {
		if got := test.state.SilentFor(); got != test.silent {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// A peer that lives and reads nothing owes nothing, however long it takes.
func TestTheKernelKnowsWhatIsQueuedForAPeer(t *testing.T) {
	both(t, func(t *testing.T, r *Reactor) {
		near, far := tcpPair(t)
		defer far.Close()
		end := newTestEnd()
		loop := r.Loop()
		onLoop(loop, func() {
			end.conn = loop.Add(near, end)
			end.conn.Pause()
			if peer := end.conn.Peer(); peer.Queued {
				t.Errorf("idle: %+v", peer)
			}
			for !end.conn.Pending() {
				if err := end.conn.Write(make([]byte, 64<<10)); err != nil {
					t.Error(err)
					return
				}
			}
			if peer := end.conn.Peer(); !peer.Queued || peer.SilentFor() > 30*time.Second {
				t.Errorf("full: %+v", peer)
			}
		})
	})
}

func TestKeepAliveFindsTheSocketBelowTLS(t *testing.T) {
	near, far := tcpPair(t)
	defer near.Close()
	defer far.Close()
	KeepAlive(over{over{near}})
	KeepAlive(over{nil}) // no socket: nothing happens
	if tcpConn(over{over{near}}) != near {
		t.Error("not found")
	}
}

// over is a connection over another, as TLS is.
type over struct{ net.Conn }

func (o over) NetConn() net.Conn { return o.Conn }
