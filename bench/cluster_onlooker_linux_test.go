package bench

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"
)

// TestAnOnlookerKeepsTheNodeCookie: when another edge takes its connections, the
// stream goes by a hop to the edge of its first ticket, though both have a tunnel
// of the agent.
func TestAnOnlookerKeepsTheNodeCookie(t *testing.T) {
	o, _ := small(t)
	o.Agents, o.Sessions, o.Viewers = 1, 1, 1
	r := &clusterRun{options: o, sessions: map[string]string{}, broken: make(chan error, 1), report: &ClusterReport{}}
	defer r.close()
	if err := r.open(t.Context(), t.TempDir()); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(r.phase(t.Context(), phaseAgents, "", r.connect), r.phase(t.Context(), phaseCreate, "", r.create)); err != nil {
		t.Fatal(err)
	}
	r.viewers = newAudience(r.cluster, o.Seed)
	session := slices.Collect(maps.Keys(r.sessions))[0]
	one, err := newOnlooker(r.viewers, session, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i, carried := range []float64{0, 1} {
		one.entry = i
		looking, leave := context.WithCancel(t.Context())
		left := make(chan struct{})
		go func() {
			defer close(left)
			one.run(looking)
		}()
		err := r.viewers.until(t.Context(), "the viewer sees nothing", one.sees)
		if err != nil {
			t.Error(err)
		}
		metrics, err := r.cluster.metrics(t.Context(), r.cluster.edges[0])
		if n := metrics["streamspace_hop_streams_active"]; err != nil || n != carried {
			t.Errorf("at edge %d: edge 1 carries %g streams of another, %v", i+1, n, err)
		}
		leave()
		<-left
		one.lost(i, context.Cause(looking))
	}
}
