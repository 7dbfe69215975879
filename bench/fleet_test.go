package bench

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// pair is VNC servers that speak WebSocket and viewers that come straight to
// them.
type pair struct {
	servers *vncServer
	fleet   *fleet
	faults  chan error
}

func newPair(t *testing.T, server serverPlan, viewers int) *pair {
	t.Helper()
	p := &pair{faults: make(chan error, 1000)}
	fail := func(err error) { p.faults <- err }
	server.WebSocket, server.Seed, server.Rates = true, 3, rates{40_000, 50_000}
	var err error
	if p.servers, err = startVNCServer(server, fail); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.servers.close)
	p.fleet = newFleet(fleetPlan{Door: door{Address: p.servers.addresses()[0]}, Work: server.Work, Seed: 3, Viewers: viewers, AtOnce: 4}, fail)
	t.Cleanup(p.fleet.close)
	return p
}

func (p *pair) ok(t *testing.T) {
	t.Helper()
	select {
	case err := <-p.faults:
		t.Fatal(err)
	default:
	}
}

// eventually waits for what comes by itself.
func eventually(t *testing.T, what string, true func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !true(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

func TestEachWorkMovesWhatItShouldAndEndsWithTheLastByte(t *testing.T) {
	for _, c := range []struct {
		work            string
		updates, inputs bool
	}{
		{workBulk, true, false}, {workEcho, true, true}, {workDesktop, true, true}, {workHold, true, false}, {workIdle, false, false},
	} {
		t.Run(c.work, func(t *testing.T) {
			p := newPair(t, serverPlan{Work: c.work}, 5)
			if err := p.fleet.connect(t.Context()); err != nil {
				t.Fatal(err)
			}
			eventually(t, "not all are connected", func() bool { return p.servers.counts().Open == 5 })
			if err := p.fleet.start(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "nothing moves", func() bool {
				counts := p.fleet.counts()
				return (!c.updates || counts.Updates > 20) && (!c.inputs || counts.Inputs > 5)
			})
			if err := p.fleet.stop(); err != nil {
				t.Fatal(err)
			}
			counts := p.fleet.counts()
			if got := p.servers.counts().Inputs; got != counts.Inputs {
				t.Errorf("%d inputs were sent, %d came", counts.Inputs, got)
			}
			if c.updates != (counts.Updates > 0) || c.inputs != (counts.Inputs > 0) {
				t.Errorf("%d updates, %d inputs", counts.Updates, counts.Inputs)
			}
			if c.work == workEcho && counts.Delays.TotalCount() != counts.Updates {
				t.Errorf("%d delays of %d answers", counts.Delays.TotalCount(), counts.Updates)
			}
			p.ok(t)
			eventually(t, "viewers that left are still there", func() bool { return p.servers.counts().Open == 0 })
		})
	}
}

func TestAWrongByteIsToldWithItsPlace(t *testing.T) {
	p := newPair(t, serverPlan{Work: workDesktop, Corrupt: 4}, 1)
	if err := p.fleet.connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.fleet.start(); err != nil {
		t.Fatal(err)
	}
	if err := <-p.faults; !strings.Contains(err.Error(), "WRONG BYTES") || !strings.Contains(err.Error(), "in update 4") {
		t.Error(err)
	}
}

func TestALostStreamIsTold(t *testing.T) {
	p := newPair(t, serverPlan{Work: workIdle}, 2)
	if err := p.fleet.connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.servers.close()
	if err := <-p.faults; !strings.Contains(err.Error(), "lost its stream") {
		t.Error(err)
	}
}

func TestAStormCountsItsVisits(t *testing.T) {
	p := newPair(t, serverPlan{Work: workStorm}, 40)
	took, err := p.fleet.storm(t.Context())
	if n := p.fleet.counts().Delays.TotalCount(); err != nil || n != 40 || took <= 0 {
		t.Errorf("%d visits in %s, %v", n, took, err)
	}
	p.ok(t)
}

func TestARefusedViewerSaysWhy(t *testing.T) {
	p := newPair(t, serverPlan{Work: workIdle}, 1)
	p.servers.close()
	if err := p.fleet.connect(t.Context()); err == nil || !strings.Contains(err.Error(), "viewer 0") {
		t.Error(err)
	}
}

func TestInParallelStopsAtTheFirstFault(t *testing.T) {
	var done atomic.Int64
	err := inParallel(t.Context(), 2, 1000, func(ctx context.Context, i int) error {
		done.Add(1)
		if i == 3 {
			return errClosed
		}
		if i > 3 {
			<-ctx.Done() // which the fault ends
		}
		return nil
	})
	if err != errClosed || done.Load() > 5 {
		t.Errorf("%v after %d", err, done.Load())
	}
}
