package e2e

import (
	"maps"
	"net/http"
	"testing"
)

// TestClusterIsOne: what is done at one edge is so at all of them.
func TestClusterIsOne(t *testing.T) {
	f := startFleet(t)
	d := f.populate()
	f.nothingLost(d)

	console := d.consoles[0]
	for i, in := range f.edges { // one has the agent's tunnel and one has not
		ticket := f.edges[(i+1)%len(f.edges)].ticket(console.ID, "control")
		viewer, err := in.view(testContext(t), ticket)
		if err != nil {
			t.Fatalf("edge %d refuses a ticket of another: %v", i+1, err)
		}
		if err := verify(viewer, uint64(i+1), f.plan.picture); err != nil {
			t.Errorf("edge %d: %v", i+1, err)
		}
		if again, err := f.edges[(i+1)%len(f.edges)].view(testContext(t), ticket); err == nil {
			_ = again.Close()
			t.Errorf("a ticket that was used at edge %d is taken by another", i+1)
		}
		_ = viewer.Close()
		in.visit(testContext(t), d.real[0].ID)
	}
	if n := f.edges[f.homeOf(console.AgentID, false)].metric("streamspace_hop_dials_total"); n == 0 {
		t.Error("no stream has gone by a hop")
	}

	served := map[string]string{} // by any: what asks for a hop is another edge than what is asked
	for _, in := range f.edges {
		maps.Copy(served, in.served())
	}
	for name, described := range documentedMetrics(t) {
		if ofCluster(name) && served[name] != described {
			t.Errorf("%s is documented as %q and served as %q", name, described, served[name])
		}
	}
	for name := range served {
		if ofCluster(name) && documentedMetrics(t)[name] == "" {
			t.Errorf("%s is not documented", name)
		}
	}

	var key struct{ ID, Secret string }
	f.edges[0].call("POST", "/api/v1/keys", map[string]string{"name": "one", "role": "user", "owner": "u"}, http.StatusCreated, &key)
	for i, in := range f.edges {
		if status, answer, err := in.tryAs(key.Secret, "GET", "/api/v1/me", nil, nil); err != nil || status != http.StatusOK {
			t.Errorf("edge %d answers a key of another with %d %s (%v)", i+1, status, answer, err)
		}
	}
	f.edges[1].call("DELETE", "/api/v1/keys/"+key.ID, nil, http.StatusNoContent, nil)
	for i, in := range f.edges {
		eventually(t, "a key that was deleted elsewhere is good for nothing", func() error {
			status, _, err := in.tryAs(key.Secret, "GET", "/api/v1/me", nil, nil)
			return statusIs(http.StatusUnauthorized, i, status, err)
		})
	}

	watched := f.edges[0].watching(testContext(t), d.real[1].ID)
	f.edges[2].call("DELETE", "/api/v1/sessions/"+d.real[1].ID, nil, http.StatusAccepted, nil)
	wantEnd(t, watched, "4410 session_ended")
	for _, in := range f.edges {
		in.becomes(d.real[1].ID, "terminated")
	}
	noProcesses(t, d.real[1].ID)
	d.real = append(d.real[:1], d.real[2:]...)
	f.endAll(d)
}
