package tunnel

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
)

func TestAnAgentHasATunnelToEachHome(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	c.homesAre("a", "b")
	a, b := c.nodes["a"], c.nodes["b"]
	o := c.options("a")
	o.Hello = helloWith(o.Hello(), Report{Session: "s", State: SessionRunning})
	agent := startAgent(t, o)
	for _, n := range []*testNode{a, b} {
		if up := n.next("up"); !up.hello.Homes || len(up.hello.Sessions) != 1 {
			t.Errorf("%s got the hello %+v", n.home.Node, up.hello)
		}
		roundTrip(t, mustOpen(t, n.testEdge, agent.id, request(1)), "through "+n.home.Node)
	}
	agent.Report(Report{Session: "s", State: SessionFailed, Reason: "it crashed"})
	for _, n := range []*testNode{a, b} {
		if r := n.next("state").report; r.State != SessionFailed || r.Reason != "it crashed" {
			t.Errorf("%s was told %+v", n.home.Node, r)
		}
	}
	bye := Bye{Reason: "shut down", Final: true}
	if err := agent.Leave(deadlined(t), bye); err != nil {
		t.Errorf("leave: %v", err)
	}
	for _, n := range []*testNode{a, b} {
		if down := n.next("down").down; down.Bye == nil || *down.Bye != bye {
			t.Errorf("%s heard %+v", n.home.Node, down)
		}
	}
	c.nodes["c"].quiet()
}

func helloWith(hello Hello, sessions ...Report) func() Hello {
	hello.Sessions = sessions
	return func() Hello { return hello }
}

// TestAHomeThatIsKilledIsReplaced while the streams over the other one run on.
func TestAHomeThatIsKilledIsReplaced(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	c.homesAre("a", "b")
	agent := startAgent(t, c.options("a"))
	c.nodes["a"].next("up")
	c.nodes["b"].next("up")
	stream := mustOpen(t, c.nodes["b"].testEdge, agent.id, request(1))
	roundTrip(t, stream, "before")

	c.nodes["a"].gate.shut()
	c.nodes["a"].next("down")
	roundTrip(t, stream, "between")
	c.homesAre("b", "c")
	c.nodes["b"].hub.Rehome(0)
	c.nodes["c"].next("up")
	roundTrip(t, stream, "after")
	c.nodes["b"].quiet()

	// It is back under its name, and a home again: nothing of before is in its way.
	c.nodes["a"].gate.open()
	c.homesAre("a", "b")
	c.nodes["b"].hub.Rehome(0)
	c.nodes["c"].hub.Rehome(0)
	c.nodes["a"].next("up")
	c.nodes["c"].next("down")
	roundTrip(t, stream, "in the end")
}

// TestADrainingEdgeKeepsItsStreams: the agent has its new home before it leaves
// the old one, and leaves that when the last stream has ended.
func TestADrainingEdgeKeepsItsStreams(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	c.homesAre("a", "b")
	agent := startAgent(t, c.options("a"))
	c.nodes["a"].next("up")
	c.nodes["b"].next("up")
	first := mustOpen(t, c.nodes["a"].testEdge, agent.id, request(1))
	second := mustOpen(t, c.nodes["a"].testEdge, agent.id, request(2))
	c.homesAre("b", "c")
	c.rehome()
	c.nodes["c"].next("up")
	roundTrip(t, first, "over the old home")
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "one stream is left", func() bool { return agent.runningStreams("a") == 1 })
	roundTrip(t, second, "over the old home")
	c.nodes["a"].quiet()
	if !c.nodes["a"].hub.Connected(agent.id) {
		t.Error("the tunnel to the draining edge has ended, and a stream runs over it")
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	if down := c.nodes["a"].next("down").down; down.Bye == nil || down.Bye.Final {
		t.Errorf("the draining edge heard %+v", down)
	}
	c.nodes["b"].quiet()
	c.nodes["c"].quiet()
}

// TestATunnelThatIsNoHomesStaysUntilTheHomesAreThere, whatever the only word is
// that an edge has.
func TestATunnelThatIsNoHomesStaysUntilTheHomesAreThere(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	c.nodes["c"].gate.shut()
	c.homesAre("a", "b")
	agent := startAgent(t, c.options("a"))
	c.nodes["a"].next("up")
	c.nodes["b"].next("up")
	c.homesAre("b", "c")
	c.rehome()
	names := func(node string) bool { // that b and c are the homes
		l := agent.book.links[node]
		return l != nil && len(l.homes) == 2 && l.homes["c"].Node == "c"
	}
	eventually(t, "both have told it and c is tried in vain", func() bool {
		agent.mu.Lock()
		defer agent.mu.Unlock()
		k := agent.book.keepers["c"]
		return names("a") && names("b") && k != nil && k.failed
	})
	c.homesAre() // an edge that leaves and knows no other
	c.nodes["a"].hub.Rehome(0)
	eventually(t, "a has told it", func() bool {
		agent.mu.Lock()
		defer agent.mu.Unlock()
		return agent.book.links["a"] != nil && len(agent.book.links["a"].homes) == 0
	})
	agent.mu.Lock()
	if agent.book.links["a"].retired || agent.book.links["b"].retired {
		t.Error("a tunnel is given up while a home is missing")
	}
	agent.mu.Unlock()
	c.nodes["c"].gate.open()
	c.nodes["c"].next("up")
	c.nodes["a"].next("down")
	c.nodes["b"].quiet()
}

func TestWhenAllHomesAreGoneTheAgentComesBack(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	c.homesAre("a", "b")
	agent := startAgent(t, c.options("a", "c"))
	c.nodes["a"].next("up")
	c.nodes["b"].next("up")
	c.nodes["c"].gate.shut()
	c.nodes["a"].gate.shut()
	c.nodes["b"].gate.shut()
	c.nodes["a"].next("down")
	c.nodes["b"].next("down")
	agent.Report(Report{Session: "s", State: SessionFailed, Reason: "while nobody heard it"})
	c.nodes["a"].gate.open()
	c.nodes["b"].gate.open()
	for _, name := range []string{"a", "b"} {
		if !c.nodes[name].hub.Connected(agent.id) {
			c.nodes[name].next("up")
		}
	}
	told := func(n *testNode) bool {
		for {
			select {
			case h := <-n.events:
				if h.kind == "state" && h.report.Reason == "while nobody heard it" {
					return true
				}
			default:
				return false
			}
		}
	}
	eventually(t, "an edge is told what happened meanwhile", func() bool { return told(c.nodes["a"]) || told(c.nodes["b"]) })
}

// TestHomesThatChangeWhileConnecting: what is no home any more is not waited for.
func TestHomesThatChangeWhileConnecting(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	release := c.nodes["b"].gate.hold()
	defer release()
	c.homesAre("a", "b")
	agent := startAgent(t, c.options("a"))
	c.nodes["a"].next("up")
	c.nodes["b"].gate.passes()
	interrupted := make(chan struct{})
	agent.mu.Lock()
	cancel := agent.book.dialing["b"]
	agent.book.dialing["b"] = sync.OnceFunc(func() { close(interrupted); cancel() })
	agent.mu.Unlock()
	c.homesAre("a", "c")
	c.nodes["a"].hub.Rehome(0)
	select {
	case <-interrupted:
	case <-time.After(hang):
		t.Fatal("the connect to b goes on")
	}
	c.nodes["c"].next("up")
	eventually(t, "b is given up", func() bool {
		agent.mu.Lock()
		defer agent.mu.Unlock()
		return agent.book.keepers["b"] == nil && agent.book.dialing["b"] == nil
	})
	release()
	c.nodes["b"].quiet()
	c.nodes["a"].quiet()
}

func TestAHomeWithAnotherKeyIsNotTrusted(t *testing.T) {
	c := newCluster(t, "a", "b")
	right := c.nodes["b"].home
	c.nodes["b"].home.Pin = "sha256:" + strings.Repeat("0", 64)
	c.homesAre("a", "b")
	agent := startAgent(t, c.options("a"))
	c.nodes["a"].next("up")
	eventually(t, "b is tried in vain", func() bool {
		agent.mu.Lock()
		defer agent.mu.Unlock()
		return agent.book.keepers["b"] != nil && agent.book.keepers["b"].failed
	})
	c.nodes["b"].quiet()
	c.nodes["b"].home = right
	c.homesAre("a", "b")
	c.nodes["a"].hub.Rehome(0)
	c.nodes["b"].next("up")
	c.nodes["a"].quiet()
}

func TestAHomeWithoutAPinIsCheckedAsTheConfigSays(t *testing.T) {
	c := newCluster(t, "a", "b")
	c.nodes["a"].home.Pin, c.nodes["b"].home.Pin = "", ""
	c.homesAre("a", "b")
	o := c.options("a")
	o.Pinned = nil
	startAgent(t, o)
	c.nodes["a"].next("up")
	c.nodes["b"].next("up")
}

func TestHomesThatCannotBeAreLeftOut(t *testing.T) {
	c := newCluster(t, "a", "b")
	c.tellFirst(Home{Node: "", URL: "https://x"}, Home{Node: "x", URL: "x"}, Home{Node: "y", URL: "ftp://y"}, Home{Node: "z"}, Home{Node: "plain", URL: "http://plain"})
	agent := startAgent(t, c.options("a"))
	c.nodes["a"].next("up")
	c.nodes["b"].next("up")
	agent.mu.Lock()
	defer agent.mu.Unlock()
	if len(agent.book.wanted) != 2 {
		t.Errorf("wanted: %v", agent.book.wanted)
	}
}

// TestOfTwoTunnelsToOneEdgeTheNewerCounts, in whatever order their welcomes come.
func TestOfTwoTunnelsToOneEdgeTheNewerCounts(t *testing.T) {
	c := newCluster(t, "a")
	client := NewClient(c.options("a"))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	client.running, client.waiting = ctx, context.Background()
	client.graceTimer = time.AfterFunc(hang, func() {})
	defer client.graceTimer.Stop()
	seed, err := newDialer(c.nodes["a"].home, client.o, client.dial)
	if err != nil {
		t.Fatal(err)
	}
	link := func(generation uint64) *link {
		reports, _ := client.outbox.open()
		return newLink(client, seed, nil, uuid.NewString(), Welcome{Node: "a", Generation: generation}, reports)
	}
	older, newer, late := link(2), link(3), link(1)
	if err := errors.Join(client.arrived(older), client.arrived(newer)); err != nil {
		t.Fatal(err)
	}
	if err := client.arrived(late); !errors.Is(err, errReplaced) {
		t.Errorf("the late one: %v", err)
	}
	if err := client.departed(older, peerError{Errorf(CodeSuperseded, "anew")}); !errors.Is(err, errReplaced) {
		t.Errorf("the older one ends with %v", err)
	}
	if client.book.links["a"] != newer {
		t.Error("the end of the older took the newer")
	}
	if err := client.departed(newer, errLeft); !errors.Is(err, errLeft) || len(client.book.links) != 0 {
		t.Errorf("the newer one ends with %v, and %d are left", err, len(client.book.links))
	}
	last := link(4)
	if err := client.arrived(last); err != nil {
		t.Fatal(err)
	}
	last.retired = true // else its end is told as a tunnel that is missed
	if err := client.departed(last, errLeft); !errors.Is(err, errReplaced) {
		t.Errorf("one in whose place are those to other edges ends with %v", err)
	}
}

func TestAnAgentRemovedByOneEdgeEndsForAll(t *testing.T) {
	c := newCluster(t, "a", "b")
	agent := startAgent(t, c.options("a"))
	c.nodes["a"].next("up")
	c.nodes["b"].next("up")
	c.nodes["b"].hub.Disconnect(agent.id, Errorf(CodeAgentRemoved, "an operator removed this agent"))
	err := <-agent.result
	wantCode(t, err, CodeAgentRemoved)
	agent.result <- err
	c.nodes["a"].next("down")
}

// TestLeaveTellsWhoIsThere and does not wait for a home that does not answer.
func TestLeaveTellsWhoIsThere(t *testing.T) {
	c := newCluster(t, "a", "b")
	release := c.nodes["b"].gate.hold()
	defer release()
	agent := startAgent(t, c.options("a"))
	c.nodes["a"].next("up")
	c.nodes["b"].gate.passes()
	began := time.Now()
	if err := agent.Leave(deadlined(t), Bye{Reason: "restart"}); err != nil {
		t.Errorf("leave: %v", err)
	}
	if lasted := time.Since(began); lasted >= dialTimeout {
		t.Errorf("it took %v", lasted)
	}
	if down := c.nodes["a"].next("down").down; down.Bye == nil {
		t.Errorf("a heard %+v", down)
	}
	if err := <-agent.result; err != nil {
		t.Errorf("run: %v", err)
	}
	agent.result <- nil
}
