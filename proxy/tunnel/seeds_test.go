package tunnel

import (
	"net"
	"slices"
	"testing"
)

// TestAnotherSeedLeadsToNewHomes where all that the agent knew are gone for good.
func TestAnotherSeedLeadsToNewHomes(t *testing.T) {
	c := newCluster(t, "a", "b", "c", "d")
	c.homesAre("a", "b")
	startAgent(t, c.options("a", "c"))
	c.nodes["a"].next("up")
	c.nodes["b"].next("up")
	c.homesAre("c", "d")
	c.nodes["a"].gate.shut()
	c.nodes["b"].gate.shut()
	c.nodes["c"].next("up")
	c.nodes["d"].next("up")
}

// TestASeedThatLeadsToAHomeIsThatHome: no second tunnel goes there.
func TestASeedThatLeadsToAHomeIsThatHome(t *testing.T) {
	c := newCluster(t, "a", "b")
	o := c.options("a")
	o.Edges = []string{"https://" + newGate(t, c.nodes["a"].url).address}
	agent := startAgent(t, o)
	c.nodes["a"].next("up")
	c.nodes["b"].next("up")
	c.rehome()
	roundTrip(t, mustOpen(t, c.nodes["a"].testEdge, agent.id, request(1)), "over a")
	c.nodes["a"].quiet()
	c.nodes["b"].quiet()
}

// TestASeedThatAnswersLateEndsNoTunnel: it has led to a home that was reached by
// its own address meanwhile.
func TestASeedThatAnswersLateEndsNoTunnel(t *testing.T) {
	c := newCluster(t, "a")
	seed := newGate(t, c.nodes["a"].url)
	o := c.options("a")
	o.Edges = []string{"https://" + seed.address}
	agent := startAgent(t, o)
	c.nodes["a"].next("up")
	for len(seed.came) > 0 {
		<-seed.came
	}
	release := seed.hold()
	defer release()
	c.nodes["a"].gate.shut()
	c.nodes["a"].hub.Disconnect(agent.id, Errorf(CodeTimeout, "a test"))
	c.nodes["a"].next("down")
	seed.passes() // and is held
	c.nodes["a"].gate.open()
	c.nodes["a"].next("up")
	release()
	eventually(t, "the seed is given up", func() bool {
		agent.mu.Lock()
		defer agent.mu.Unlock()
		return len(agent.book.dialing) == 0
	})
	c.nodes["a"].quiet()
}

// TestABalancerAsSeedDoesNotScatterStreams: each edge's stream connections come
// to it, not to whichever the balancer takes next.
func TestABalancerAsSeedDoesNotScatterStreams(t *testing.T) {
	c := newClusterWith(t, func(home Home, o *HubOptions) { o.URL, o.Pin = home.URL, home.Pin }, "a", "b", "c")
	c.homesAre("b", "c")
	balancer := newGate(t, c.nodes["a"].url, c.nodes["b"].url, c.nodes["c"].url)
	o := c.options("a")
	o.Edges = []string{"https://" + balancer.address}
	c.nodes["b"].gate.shut() // so that the tunnel to a stays
	agent := startAgent(t, o)
	c.nodes["a"].next("up")
	roundTrip(t, mustOpen(t, c.nodes["a"].testEdge, agent.id, request(1)), "over a")
	if n := len(balancer.came); n != 1 {
		t.Errorf("%d connections came to the balancer, want that of the control channel", n)
	}
}

func TestAnEdgesOwnAddressThatDoesNotWorkIsNotInsistedOn(t *testing.T) {
	c := newCluster(t, "a")
	seed := c.nodes["a"].home.URL
	c.nodes["a"].home.URL = "https://127.0.0.1:1" // nobody listens
	c.homesAre("a")
	o := c.options("a")
	o.Edges = []string{seed}
	agent := startAgent(t, o)
	c.nodes["a"].next("up")
	roundTrip(t, mustOpen(t, c.nodes["a"].testEdge, agent.id, request(1)), "by the seed's address")
}

// TestAnOldAgentIsToldNoHomes: it would take them for a broken protocol.
func TestAnOldAgentIsToldNoHomes(t *testing.T) {
	var homes []Home
	e := newEdge(t, func(o *HubOptions) { o.Homes = func(string) []Home { return homes } })
	homes = []Home{{Node: "edge-of-the-test", URL: e.url}}
	a := welcomedRawAgent(t, e, "")
	e.next("up")
	if a.welcome.Homes != nil {
		t.Errorf("welcome with %v", a.welcome.Homes)
	}
	homes = nil
	e.hub.Rehome(0)
	a.say(Envelope{Beat: &Beat{Seq: 1}})
	if m := a.hear(); m.Beat == nil {
		t.Errorf("got %+v, want a beat", m)
	}
}

// TestAnEdgeWithoutHomesKeepsItsAgent: one that is older, or alone.
func TestAnEdgeWithoutHomesKeepsItsAgent(t *testing.T) {
	e := newTLSEdge(t)
	a, _ := connected(t, e, func(o *ClientOptions) { o.Open = vncServer(t, echoServer) })
	e.hub.Rehome(0)
	roundTrip(t, mustOpen(t, e, a.id, request(1)), "as before")
	e.hub.Disconnect(a.id, Errorf(CodeTimeout, "a test"))
	e.next("down")
	e.next("up")
}

func TestSeedsAreForWhenNoHomeAnswers(t *testing.T) {
	homes := map[string]Home{"a": {}, "b": {}}
	answers := func(a, b bool) map[string]*homeKeeper {
		return map[string]*homeKeeper{"a": {failed: !a}, "b": {failed: !b}}
	}
	for name, c := range map[string]struct {
		book homeBook
		want bool
	}{
		"at the start":                    {homeBook{}, true},
		"a tunnel is up":                  {homeBook{links: map[string]*link{"x": {}}}, false},
		"a home may still answer":         {homeBook{wanted: homes, keepers: answers(false, true), grace: true}, false},
		"none answers":                    {homeBook{wanted: homes, keepers: answers(false, false), grace: true}, true},
		"one takes too long to answer":    {homeBook{wanted: homes, keepers: answers(false, true)}, true},
		"an edge that names none is gone": {homeBook{grace: true}, true},
	} {
		if got := (&Client{book: c.book}).isLost(); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestADeadSeedIsPassedOver where the next one answers.
func TestADeadSeedIsPassedOver(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	e := newEdge(t)
	connected(t, e, func(o *ClientOptions) { o.Edges = slices.Insert(o.Edges, 0, "http://"+closed.Addr().String()) })
}
