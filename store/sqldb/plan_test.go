package sqldb

import (
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/streamspace-dev/streamspace-edge/store"
)

func TestNoQueryReadsTheWholeTableOrSortsIt(t *testing.T) {
	db := openNew(t)
	list := func(f store.SessionFilter) string {
		text, _, err := listQuery(f)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	moving := []store.State{store.Unreachable, store.Pending, store.Stopping, store.Starting} // in any order
	after := cursor{created: 1, id: uuid.NewString()}.String()
	for name, c := range map[string]struct{ text, index string }{
		"all":                {list(store.SessionFilter{}), "sessions_created"},
		"all, further on":    {list(store.SessionFilter{Cursor: after}), "sessions_created"},
		"by owner":           {list(store.SessionFilter{Org: "acme", Owner: "ann"}), "sessions_owner"},
		"by owner, live":     {list(store.SessionFilter{Org: "acme", Owner: "ann", States: store.States()[:6], Cursor: after}), "sessions_owner"},
		"by agent":           {list(store.SessionFilter{AgentID: "agent-1"}), "sessions_agent"},
		"by agent, live":     {list(store.SessionFilter{AgentID: "agent-1", States: store.States()[:6], Cursor: after}), "sessions_agent"},
		"moving":             {list(store.SessionFilter{States: moving}), "sessions_moving"},
		"active by agent":    {countActive, "sessions_active"},
		"on one agent":       {listOnAgent, "sessions_active"},
		"live of an owner":   {countOwned, "sessions_owned"},
		"ended to be purged": {purgeEnded, "sessions_ended"},
	} {
		type step struct {
			id, parent, unused int
			detail             string
		}
		steps, err := all(t.Context(), db.writer, func(s *step) []any { return []any{&s.id, &s.parent, &s.unused, &s.detail} },
			"EXPLAIN QUERY PLAN "+c.text, make([]any, strings.Count(c.text, "?"))...)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var plan []string
		for _, s := range steps {
			plan = append(plan, s.detail)
		}
		text := strings.Join(plan, "; ")
		if !strings.Contains(text, "INDEX "+c.index) || strings.Contains(text, "TEMP B-TREE") || strings.HasSuffix(text, "SCAN sessions") {
			t.Errorf("%s: the plan is %q, want the index %s", name, text, c.index)
		}
	}
}
