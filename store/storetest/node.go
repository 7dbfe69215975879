package storetest

import (
	"context"
	"slices"
	"testing"

	"github.com/streamspace-dev/streamspace-edge/store"
)

func nodeBehaviours() []behaviour {
	return []behaviour{
		{"edges are drained and resumed, each for itself", nodeDrain},
		{"an edge without an id can't be drained", nodeInvalid},
		{"of two who drain an edge at once, one has", nodeRace},
	}
}

func nodeDrain(t *testing.T, s store.Store) {
	ctx := context.Background()
	wantDrained(t, s)
	for _, step := range []struct {
		id               string
		drained, changed bool
		want             []string
	}{
		{"edge-2", true, true, []string{"edge-2"}},
		{"edge-10", true, true, []string{"edge-10", "edge-2"}},
		{"Edge-2", true, true, []string{"Edge-2", "edge-10", "edge-2"}},
		{"edge-2", true, false, []string{"Edge-2", "edge-10", "edge-2"}},
		{"edge-2", false, true, []string{"Edge-2", "edge-10"}},
		{"edge-2", false, false, []string{"Edge-2", "edge-10"}},
		{"edge-2", true, true, []string{"Edge-2", "edge-10", "edge-2"}},
	} {
		changed, err := s.SetNodeDrained(ctx, step.id, step.drained)
		if err != nil || changed != step.changed {
			t.Errorf("SetNodeDrained(%s, %v): %v, %v", step.id, step.drained, changed, err)
		}
		wantDrained(t, s, step.want...)
	}
}

func wantDrained(t *testing.T, s store.Store, want ...string) {
	t.Helper()
	if ids, err := s.DrainedNodes(context.Background()); err != nil || !slices.Equal(ids, want) {
		t.Errorf("DrainedNodes: %v, %v; want %v", ids, err, want)
	}
}

func nodeInvalid(t *testing.T, s store.Store) {
	for _, drained := range []bool{true, false} {
		if _, err := s.SetNodeDrained(context.Background(), "", drained); store.CodeOf(err) != store.Invalid {
			t.Errorf("SetNodeDrained(\"\", %v): %v", drained, err)
		}
	}
}

func nodeRace(t *testing.T, s store.Store) {
	const callers = 8
	for _, drained := range []bool{true, false} {
		answers := make(chan bool, callers)
		for range callers {
			go func() {
				changed, err := s.SetNodeDrained(context.Background(), "edge-1", drained)
				if err != nil {
					t.Error(err)
				}
				answers <- changed
			}()
		}
		firsts := 0
		for range callers {
			if <-answers {
				firsts++
			}
		}
		if firsts != 1 {
			t.Errorf("%d of %d have changed it to %v", firsts, callers, drained)
		}
	}
}
