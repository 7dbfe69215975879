package e2e

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"
)

// Bounds of TestClusterLimits: of each edge, and of a session at all of them.
const (
	fleetStreams   = 4
	fleetOfSession = 7 // more than come of one session before there is no room
)

// rush has that many viewers come at once, at these edges and of these sessions
// in turn. It returns those who see their console; the others must have been told
// that there is no room, and the edges must tell of nobody else.
func (f *fleet) rush(viewers int, edges []int, sessions []string) (in []net.Conn) {
	f.t.Helper()
	ctx := testContext(f.t)
	tickets := make([]string, viewers)
	for i := range tickets {
		tickets[i] = f.edges[i%len(f.edges)].ticket(sessions[i%len(sessions)], "control")
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	for i, ticket := range tickets {
		all.Go(func() {
			conn, err := f.edges[edges[i%len(edges)]].view(ctx, ticket)
			if err == nil {
				err = verify(conn, uint64(i+1), consoleBytes)
			}
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				in = append(in, conn)
			case websocket.CloseStatus(err) == websocket.StatusTryAgainLater, strings.Contains(err.Error(), "status 503"), strings.Contains(err.Error(), "status 429"):
			default:
				f.t.Errorf("viewer %d: %v", i, err)
			}
		})
	}
	all.Wait()
	return in
}

// streamsAre waits until every edge tells that these carry so many.
func (f *fleet) streamsAre(want ...int) {
	f.t.Helper()
	for _, in := range f.working() {
		eventually(f.t, fmt.Sprintf("the edges carry %v streams", want), func() error {
			nodes, err := in.nodes()
			if err != nil {
				return err
			}
			var got []int
			for _, n := range nodes {
				got = append(got, n.Streams)
			}
			if !slices.Equal(got, want) {
				return fmt.Errorf("%s tells %v", in.URL, got)
			}
			return nil
		})
	}
}

// TestClusterLimits: an edge that is full passes viewers on to the agent's other
// edge, until that is full, too; and what one session may have is for all edges
// together.
func TestClusterLimits(t *testing.T) {
	plan := smallFleet()
	plan.blind = true // an edge slow to answer a check would be left for the third
	plan.more = fmt.Sprintf("vnc: {max_streams: %d, max_streams_per_session: %d}", fleetStreams, fleetOfSession)
	f := startFleetOf(t, plan)
	d := f.populate()
	agent := d.consoles[0].AgentID
	var sessions []string
	for _, c := range d.consoles {
		if c.AgentID == agent {
			sessions = append(sessions, c.ID)
		}
	}
	away := f.homeOf(agent, false) // of three edges the agent is at two
	home := (away + 1) % fleetSize
	want := []int{fleetStreams, fleetStreams, fleetStreams}
	want[away] = 0

	in := f.rush(3*fleetStreams, []int{home}, sessions)
	if len(in) != 2*fleetStreams {
		t.Errorf("%d viewers were let in at one edge, of %d for which two have room", len(in), 2*fleetStreams)
	}
	f.streamsAre(want...)
	if n := f.edges[home].metric("streamspace_vnc_connections_active"); n != 2*fleetStreams {
		t.Errorf("the edge where they came has %g viewers", n)
	}
	if late := f.rush(2*fleetSize, []int{0, 1, 2}, sessions); len(late) != 0 {
		t.Errorf("%d viewers were let in where there is no room", len(late))
	}
	ticket := f.edges[away].ticket(sessions[0], "control")
	eventually(t, "where there is no room a viewer gets 503", func() error { // 429 while those who were just refused give back their places
		conn, err := f.edges[away].view(testContext(t), ticket)
		if err == nil {
			_ = conn.Close()
			t.Fatal("a viewer was let in where there is no room")
		}
		if !strings.Contains(err.Error(), "status 503") {
			return err
		}
		return nil
	})
	for _, conn := range in {
		_ = conn.Close()
	}
	eventually(t, "the ticket that was refused opens a stream when there is room", func() error {
		conn, err := f.edges[away].view(testContext(t), ticket)
		if err != nil {
			return err
		}
		defer conn.Close()
		return verify(conn, 1, consoleBytes)
	})
	f.gaugesAreZero()
	f.streamsAre(0, 0, 0)

	in = f.rush(5*fleetSize, []int{0, 1, 2}, sessions[:1])
	if len(in) != fleetOfSession {
		t.Errorf("%d viewers of one session, of %d", len(in), fleetOfSession)
	}
	for i, conn := range in {
		if err := echo(conn, []byte("still there")); err != nil {
			t.Errorf("viewer %d: %v", i, err)
		}
		_ = conn.Close()
	}
	f.gaugesAreZero()
	f.streamsAre(0, 0, 0)
	f.endAll(d)
}
