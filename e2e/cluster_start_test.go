package e2e

import (
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/streamspace-dev/streamspace-edge/e2e/chaos"
)

// amid is something that happens to one victim as a piece of its bytes is on its way.
type amid struct {
	name string
	// way are the links whose pieces count, for which caller; pieces is how many at most.
	way    func(f *fleet, victim int) (links []link, caller string)
	pieces int
	what   chaos.Trouble
	burst  int // sessions created when what has begun, beside those of all the time
	// strike is done then; what ends after it.
	strike func(f *fleet, victim int)
	heal   func(f *fleet, victim int)
}

func byTunnels(f *fleet, victim int) ([]link, string) { return f.links.homes, agentName(victim) }
func byStore(f *fleet, victim int) ([]link, string)   { return f.links.database, edgeName(victim) }

// loseAcks cuts off an agent that has been told something and can't answer.
func loseAcks(f *fleet, victim int) {
	time.Sleep(700 * time.Millisecond)
	for _, l := range f.links.homes {
		l.Set(agentName(victim), chaos.Trouble{Reset: true})
	}
	time.Sleep(2500 * time.Millisecond)
}

func nothing(*fleet, int) {}

// TestCreatesSurviveWhatDiesAmidThem: sessions are created and ended all the time,
// and an edge or an agent dies, stands still or is cut off as its nth message is on
// its way: to the database, or between agent and edge.
func TestCreatesSurviveWhatDiesAmidThem(t *testing.T) {
	const seed, rounds = 7, 10
	black := chaos.Trouble{Hold: chaos.BothWays}
	kinds := []amid{
		{"an agent whose acks are lost", byTunnels, 12, chaos.Trouble{Hold: chaos.ToServer}, 8, loseAcks, nothing},
		{"an edge killed", byStore, 40, black, 0, func(f *fleet, i int) { f.edges[i].process.kill() }, (*fleet).startEdge},
		{"an agent killed", byTunnels, 12, black, 0, func(f *fleet, i int) { f.agents[i].kill() }, (*fleet).startAgent},
		{"an edge that stands still", byStore, 40, black, 0, func(f *fleet, i int) {
			f.edges[i].process.suspend(func() { time.Sleep(2 * time.Second) })
		}, nothing},
		{"an edge without its database", byStore, 40, chaos.Trouble{Reset: true}, 0, func(*fleet, int) { time.Sleep(time.Second) }, nothing},
	}
	plan := smallFleet()
	plan.consoles, plan.viewers, plan.linked = 1, 0, true
	f := startFleetOf(t, plan)
	d := f.populate()
	w := f.witness(d, seed)
	r := &chaosRun{t: t, f: f, d: d, w: w}
	random := rand.New(rand.NewPCG(seed, 5))
	for n := range rounds {
		k, victim := kinds[n%len(kinds)], random.IntN(fleetSize)
		pieces := random.IntN(k.pieces)
		t.Logf("%s: %s: %d, after %d pieces", time.Now().Format(time.TimeOnly), k.name, victim+1, pieces)
		k.happen(w, random, victim, pieces)
	}
	w.end()
	f.settled()
	r.running()
	w.Write(func(h *chaos.History) {
		h.Final = r.final(h)
	})
	history := w.History()
	for _, v := range chaos.Check(history) {
		t.Error(v)
	}
	if made := len(history.Sessions) - len(r.all()); made < rounds || len(history.Samples) < rounds {
		t.Errorf("nothing was tried: %d sessions, %d samples", made, len(history.Samples))
	} else {
		t.Logf("%d sessions were created, %d samples taken", made, len(history.Samples))
	}
	f.endAll(d)
}

func (k amid) happen(w *witnesses, random *rand.Rand, victim, pieces int) {
	f := w.f
	f.t.Helper()
	links, caller := k.way(f, victim)
	begun := make(chan struct{}, len(links))
	over := make(chan struct{})
	var waiting sync.WaitGroup
	defer waiting.Wait()
	defer close(over)
	for _, l := range links {
		on := l.SetAfter(caller, pieces, k.what)
		waiting.Go(func() {
			select {
			case <-on:
				begun <- struct{}{}
			case <-over:
			}
		})
	}
	select {
	case <-begun:
	case <-time.After(patience):
		f.t.Fatalf("%s says nothing", caller)
	}
	for _, l := range links {
		l.Set(caller, k.what)
	}
	var ids []string
	for range k.burst {
		var s desktop
		if w.ask(random, "POST", "/api/v1/sessions", map[string]any{"runtime": "demo"}, nil, &s) == http.StatusAccepted {
			ids = append(ids, s.ID)
			w.Session(s.ID, func(*chaos.Session) {})
		}
	}
	k.strike(f, victim)
	for _, l := range links {
		l.Set(caller, chaos.Trouble{})
	}
	k.heal(f, victim)
	f.settled()
	for _, id := range ids { // long enough there to be seen, wherever it is
		f.working()[0].becomes(id, "running")
		f.working()[0].call("DELETE", "/api/v1/sessions/"+id, nil, http.StatusAccepted, nil)
		w.Session(id, func(s *chaos.Session) { s.Ran, s.Ended = true, true })
	}
}
