package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
)

// setNode drains or resumes an edge by the API of another.
func (f *fleet) setNode(i int, word, status string) {
	f.t.Helper()
	var n node
	f.edges[(i+1)%len(f.edges)].call("POST", fmt.Sprintf("/api/v1/nodes/edge-%d/%s", i+1, word), nil, http.StatusAccepted, &n)
	if want := fmt.Sprintf("edge-%d", i+1); n.ID != want || word == "drain" && n.Status != status {
		f.t.Errorf("the answer to %s is %+v", word, n)
	}
}

// isTold waits until every edge tells that one is as it should be.
func (f *fleet) isTold(i int, status string) {
	f.t.Helper()
	for _, in := range f.working() {
		eventually(f.t, fmt.Sprintf("%s tells that edge %d is %s", in.URL, i+1, status), func() error {
			nodes, err := in.nodes()
			if err == nil && !slices.ContainsFunc(nodes, func(n node) bool { return n.ID == fmt.Sprintf("edge-%d", i+1) && n.Status == status }) {
				err = fmt.Errorf("it knows %v", nodes)
			}
			return err
		})
	}
}

// isAside waits until an edge has neither viewers nor agents and says so to who
// would send some.
func (f *fleet) isAside(i int) {
	f.t.Helper()
	f.isTold(i, "draining")
	in := f.edges[i]
	eventually(f.t, "its health sends everybody elsewhere", func() error {
		status, _, err := in.try("GET", "/health", nil, nil)
		return statusIs(http.StatusServiceUnavailable, i, status, err)
	})
	eventually(f.t, "it has neither viewers nor agents", func() error {
		if own, carried := in.metric("streamspace_vnc_connections_active"), in.metric("streamspace_hop_streams_active"); own+carried != 0 {
			return fmt.Errorf("it has %g viewers and carries %g streams for others", own, carried)
		}
		hosts, err := in.hosts()
		for _, h := range hosts {
			if slices.Contains(h.Homes, fmt.Sprintf("edge-%d", i+1)) {
				return fmt.Errorf("an agent is still there: %+v", h)
			}
		}
		return err
	})
}

// TestClusterWithAnEdgeThatIsDrained by an operator: its viewers and agents go
// elsewhere and it stays so, also when it is started again. That it is resumed
// all know without Redis.
func TestClusterWithAnEdgeThatIsDrained(t *testing.T) {
	inCluster(t, func(f *fleet, d desktops, a *audience) {
		victim := f.carrier()
		in := f.edges[victim]
		carriedFor := f.carriedBy(victim)
		f.setNode(victim, "drain", "draining")
		f.isAside(victim)
		a.allSee()
		own := func(w *watcher, e ending) bool { return e.at == victim && e.told == "1012 node_draining" }
		carried := func(w *watcher, e ending) bool {
			return e.at != victim && carriedFor[fmt.Sprint(w.id, e.at)] && e.told == "1012 node_draining"
		}
		a.toldBoth(own, carried)
		if in.process.ended() {
			t.Fatal("it has ended")
		}
		f.isDriven() // at the drained edge's API, too
		if viewer, err := in.view(testContext(t), in.ticket(d.consoles[0].ID, "control")); err == nil {
			_ = viewer.Close()
			t.Error("it takes a viewer")
		}

		f.leaves(victim)
		in.process = start(t, "edge", "--config", f.edgeFile(victim))
		f.isAside(victim)

		f.redis.Kill()
		f.setNode(victim, "resume", "online")
		f.isTold(victim, "online")
		in.serves(f.edgeFolder(0))
		in.visit(testContext(t), d.real[0].ID)
		f.redis.Run()
	})
}
