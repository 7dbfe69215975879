package e2e

import (
	"fmt"
	"testing"

	"github.com/streamspace-dev/streamspace-edge/e2e/chaos"
)

// TestClusterPassesByAHomeThatSwallowsPackets: a viewer whose cookie names it gets
// the picture through the agent's other home by what opening the stream finds
// alone. The checks of the edges never find anything here, and the agent's tunnel
// and the leases are well.
func TestClusterPassesByAHomeThatSwallowsPackets(t *testing.T) {
	plan := fleetPlan{consoles: 1, picture: consoleBytes, check: smallFleet().check, linked: true, redis: redisAlone, blind: true}
	f := startFleetOf(t, plan)
	d := f.populate()
	console := d.consoles[0]
	homes := f.twoHomes(console.AgentID)
	named, other := homes[0], homes[1]
	landed := fleetSize - named - other // the third
	carried := func(by int) bool { return f.carriedBy(by)[fmt.Sprint(console.ID, landed)] }
	const unreachable = `streamspace_hop_dials_total{result="unreachable"}`

	k := newKeeping(t)
	ticket := k.ticket(f.edges[named], console.ID)
	f.links.homes[named].Set(edgeName(landed), chaos.Trouble{Hold: chaos.BothWays})
	k.look(f.edges[landed], ticket)
	if n := f.edges[landed].metric(unreachable); n != 1 {
		t.Errorf("edge %d has found %g times that a home can't be reached; the cookie names one that it can't", landed+1, n)
	}
	if carried(named) || !carried(other) {
		t.Errorf("the stream has gone by the home that can't be reached (%v) or not by the other (%v)", carried(named), !carried(other))
	}
	f.isTold(named, "online")

	f.links.homes[named].Set(edgeName(landed), chaos.Trouble{})
	k.look(f.edges[landed], k.ticket(f.edges[named], console.ID))
	if !carried(named) {
		t.Error("when packets arrive again the cookie is not followed")
	}
	f.endAll(d)
}
